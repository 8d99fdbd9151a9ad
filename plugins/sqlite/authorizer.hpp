// Authorizer is SQLite's question "may this statement be compiled?", answered for callers.
//
// A caller's text may read and write tables, make and drop what persists, and nothing else: no
// transaction control (the verbs do that), no PRAGMA, no ATTACH, no temp objects, no loading of
// code, and nothing named headgate_*. Statements of ours may do everything.
//
// Owner:   a Database, which sets `trust` around every prepare and step (SQLite compiles again when
//          the schema has changed). Threads: the connection's worker.
#pragma once
#include <sqlite3.h>

#include <optional>
#include <string>
#include <string_view>

#include "plugins/sdk/driver.hpp"

namespace headgate::sqlite {

enum class Trust { caller, internal };

class Authorizer {
 public:
  void install(sqlite3* db);

  // Before a text is compiled: forgets what the last one was denied for. The text is looked at
  // where SQLite's question leaves out a name (ALTER TABLE ... RENAME TO).
  void begin(std::string_view sql) {
    sql_ = sql;
    refusal_.reset();
  }

  // For VACUUM, about which SQLite asks nothing.
  void deny_vacuum();

  // Why the last compilation was denied; empty when the authorizer had no part in it.
  [[nodiscard]] const std::optional<sdk::Error>& refusal() const { return refusal_; }

  Trust trust = Trust::caller;

 private:
  int ask(int action, const char* a, const char* b, const char* db);
  int deny(std::string why);
  int deny_transaction(std::string_view what);
  std::string_view sql_;
  std::optional<sdk::Error> refusal_;
};

}  // namespace headgate::sqlite
