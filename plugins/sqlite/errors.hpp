// errors: what a SQLite result code means to a caller: code, outcome, retry, SQLSTATE.
//
// SQLite has no SQLSTATE; the ones given are PostgreSQL's for the same fault, so that a program
// can ask every SQL store the same question. Threads: pure functions of a connection's last error.
#pragma once
#include <sqlite3.h>

#include <string_view>

#include "plugins/sdk/driver.hpp"

namespace headgate::sqlite {

// The error for `rc` (an extended result code) of the last call on `db`, with SQLite's own words,
// which name tables and columns but never values. Outcome: rejected; the connections that undo
// more than one statement say so themselves.
sdk::Error error_from(sqlite3* db, int rc);
// The same with other words.
sdk::Error error_from(int rc, std::string_view message);

// After these the whole transaction may be gone: ask sqlite3_get_autocommit.
bool ends_transaction(int rc);

}  // namespace headgate::sqlite
