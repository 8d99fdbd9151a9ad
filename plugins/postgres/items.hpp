// Item: one statement that a verb comes down to, with its parameters.
//
// query, execute, run, copy_out, explain and the introspection verbs are all one statement; their
// bodies are read here, once for route() and once where they run. Threads: any.
#pragma once
#include <string_view>
#include <vector>

#include "plugins/postgres/statements.hpp"
#include "plugins/sdk/driver.hpp"

namespace headgate::postgres {

class PostgresDriver;

struct Item {
  StatementPtr statement;
  proto::Bytes params{};          // a msgpack list or map, or empty; lent by the body, or `own`
  std::vector<std::uint8_t> own;  // parameters made here
  bool idempotent = false;        // by its nature
  bool declared_shared = false;   // a named statement marked `-- shared`
  bool declared_read = false;     // a named statement that says `-- access: read`
  bool plan = false;              // the answer is {plan: the one value}
};

// Verbs that are one statement.
bool is_single(std::string_view verb);

// Reads the body. Throws Error (invalid, unsupported, not_found). `touches` may be null.
Item read_item(PostgresDriver& driver, std::string_view verb, proto::Bytes body,
               const hg_call& call, const sdk::Touches* touches);

// copy_in's and copy_out's `"schema"."table" ("a", "b")`.
std::string quoted(std::string_view name);
std::string quoted_table(std::string_view table);

}  // namespace headgate::postgres
