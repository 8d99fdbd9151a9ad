// Prepared: one statement on one connection; PreparedCache: those of a connection, by text.
//
// A statement is parsed and described in one round trip; types of the database that nobody knows
// yet take one more. Then the connection knows how to send its parameters and how to read its rows.
//
// Owner: the connection. Threads: the loop's.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "plugins/postgres/statements.hpp"
#include "plugins/postgres/wire/catalog.hpp"
#include "plugins/postgres/wire/frontend.hpp"
#include "plugins/postgres/wire/result.hpp"

namespace headgate::postgres {

struct Prepared {
  enum class State : std::uint8_t { fresh, parsing, ready };
  StatementPtr statement;
  State state = State::fresh;
  bool named_on_server = false;  // the server may have it under its name
  std::uint32_t generation = 0;  // grows when it is prepared again
  std::uint32_t users = 0;       // exchanges in flight that point here
  std::uint64_t used = 0;
  std::vector<wire::TypePtr> types;      // of the parameters
  std::vector<wire::TypePtr> row_types;  // of the columns
  wire::ResultPlan plan;
  // While it is being described.
  std::vector<wire::Oid> oids, unknown;
  std::vector<std::uint8_t> row_description;

  [[nodiscard]] std::string_view name() const { return statement->name.data(); }
};

class PreparedCache {
 public:
  explicit PreparedCache(std::size_t max) : max_(max) {}

  // The statement of this key and text, or null. Marks it as used.
  Prepared* find(std::uint64_t key, std::string_view source);
  // Makes an entry. What does not fit any more is closed on the server by messages in `out`, which
  // need a Sync after them: `*closed` says how many.
  Prepared& add(StatementPtr statement, wire::OutBuffer& out, std::uint32_t* closed);
  // The server has forgotten all of them (DISCARD ALL).
  void clear() { entries_.clear(); }
  // Every statement is prepared anew before it runs again.
  void forget_all();
  // It is prepared anew before it runs again.
  static void forget(Prepared& p);

  // Parse and Describe; no Sync.
  static void write_prepare(wire::OutBuffer& out, Prepared& p);
  // ParameterDescription, RowDescription or NoData of it. True: the message was of that kind.
  static bool take(Prepared& p, const wire::Message& m);
  // After the round trip: false when types must be looked up first (p.unknown).
  static bool settle(Prepared& p, wire::TypeCatalog& types);
  // The look-up of p.unknown, without a Sync.
  static void write_lookup(wire::OutBuffer& out, const Prepared& p, int server_version);

  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  std::size_t max_;
  std::uint64_t clock_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Prepared>> entries_;
};

// A parameter that did not fit its type: the table may have been made anew with other types since
// the statement was prepared.
bool may_be_stale(const sdk::Error& e);

// Bind with the call's parameters, and Execute; no Sync. `params`: a msgpack list or map, or empty.
// `where` begins the messages. Throws Error (invalid); nothing has been appended then.
void write_run(wire::OutBuffer& out, const Prepared& p, proto::Bytes params,
               std::string_view where = {});

}  // namespace headgate::postgres
