// The mapping itself; one table, most specific code first.
#include "plugins/sqlite/errors.hpp"

#include <string>

namespace headgate::sqlite {
namespace {

struct Meaning {
  int rc;  // extended, or primary (then it stands for every extended code of it)
  sdk::Code code;
  const char* sqlstate;
  int retry;
  bool breaker;
};

using C = sdk::Code;
constexpr Meaning kMeanings[] = {
    {SQLITE_CONSTRAINT_UNIQUE, C::exists, "23505", HG_RETRY_NEVER, false},
    {SQLITE_CONSTRAINT_PRIMARYKEY, C::exists, "23505", HG_RETRY_NEVER, false},
    {SQLITE_CONSTRAINT_ROWID, C::exists, "23505", HG_RETRY_NEVER, false},
    {SQLITE_CONSTRAINT_FOREIGNKEY, C::constraint, "23503", HG_RETRY_NEVER, false},
    {SQLITE_CONSTRAINT_CHECK, C::constraint, "23514", HG_RETRY_NEVER, false},
    {SQLITE_CONSTRAINT_NOTNULL, C::constraint, "23502", HG_RETRY_NEVER, false},
    {SQLITE_CONSTRAINT_DATATYPE, C::constraint, "42804", HG_RETRY_NEVER, false},
    {SQLITE_CONSTRAINT_TRIGGER, C::constraint, "P0001", HG_RETRY_NEVER, false},
    {SQLITE_CONSTRAINT, C::constraint, "23000", HG_RETRY_NEVER, false},
    {SQLITE_BUSY_SNAPSHOT, C::conflict, "40001", HG_RETRY_BACKOFF, false},
    {SQLITE_BUSY, C::conflict, "55P03", HG_RETRY_BACKOFF, false},
    {SQLITE_LOCKED, C::conflict, "55006", HG_RETRY_BACKOFF, false},
    {SQLITE_READONLY_DBMOVED, C::unavailable, "58030", HG_RETRY_NEW_CONNECTION, true},
    {SQLITE_READONLY, C::denied, "25006", HG_RETRY_NEVER, false},
    {SQLITE_PERM, C::denied, "42501", HG_RETRY_NEVER, false},
    {SQLITE_AUTH, C::denied, "42501", HG_RETRY_NEVER, false},
    {SQLITE_FULL, C::store_error, "53100", HG_RETRY_NEVER, false},  // reads and deletes go on
    {SQLITE_NOMEM, C::store_error, "53200", HG_RETRY_NEVER, true},
    {SQLITE_IOERR_NOMEM, C::store_error, "53200", HG_RETRY_NEVER, true},
    {SQLITE_IOERR, C::store_error, "58030", HG_RETRY_NEVER, true},
    {SQLITE_CORRUPT, C::store_error, "XX001", HG_RETRY_NEVER, true},
    {SQLITE_NOTADB, C::unavailable, "XX001", HG_RETRY_NEVER, true},
    {SQLITE_CANTOPEN, C::unavailable, "58030", HG_RETRY_BACKOFF, true},
    {SQLITE_PROTOCOL, C::conflict, "55P03", HG_RETRY_BACKOFF, false},
    {SQLITE_INTERRUPT, C::cancelled, "57014", HG_RETRY_NEVER, false},
    {SQLITE_TOOBIG, C::too_large, "54000", HG_RETRY_NEVER, false},
    {SQLITE_MISMATCH, C::constraint, "42804", HG_RETRY_NEVER, false},
    {SQLITE_SCHEMA, C::conflict, "40001", HG_RETRY_BACKOFF, false},
    {SQLITE_RANGE, C::invalid, "07001", HG_RETRY_NEVER, false},
};

// SQLITE_ERROR says what is wrong only in words.
struct Words {
  std::string_view part;
  const char* sqlstate;
};
constexpr Words kWords[] = {
    {"syntax error", "42601"},
    {"incomplete input", "42601"},
    {"unrecognized token", "42601"},
    {"no such table", "42P01"},
    {"no such view", "42P01"},
    {"no such index", "42704"},
    {"no such trigger", "42704"},
    {"no such column", "42703"},
    {"has no column named", "42703"},
    {"ambiguous column", "42702"},
    {"duplicate column", "42701"},
    {"no such function", "42883"},
    {"wrong number of arguments", "42883"},
    {"no such collation", "42704"},
    {"already exists", "42P07"},
    {"already another table or index", "42P07"},
    {"integer overflow", "22003"},
    {"malformed JSON", "22032"},
    {"JSON path error", "2203C"},
    {"too many", "54000"},
    {"too large", "54000"},
    {"too big", "54000"},
    {"too deep", "54001"},
    {"cannot start a transaction", "25001"},
    {"no such savepoint", "3B001"},
    {"no transaction is active", "25P01"},
    {"may not be modified", "42809"},
    {"cannot modify", "42809"},
    {"values for", "42601"},
    {"foreign key mismatch", "42830"},
    {"datatype mismatch", "42804"},
    {"not authorized", "42501"},
    {"prohibited", "42501"},
};

}  // namespace

bool ends_transaction(int rc) {
  switch (rc & 0xff) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_NOMEM:
    case SQLITE_BUSY:
    case SQLITE_INTERRUPT:
    case SQLITE_CONSTRAINT:
      return true;
    default:
      return false;
  }
}

sdk::Error error_from(int rc, std::string_view message) {
  sdk::Error e(C::store_error, sdk::Outcome::rejected, std::string(message));
  e.vendor_code = rc;
  e.sqlstate = "HV000";
  for (const Meaning& m : kMeanings) {
    if (m.rc != rc && !(m.rc < 256 && m.rc == (rc & 0xff))) continue;
    e.code = m.code;
    e.sqlstate = m.sqlstate;
    e.retry = m.retry;
    e.breaker = m.breaker;
    return e;
  }
  for (const Words& w : kWords) {
    if (message.find(w.part) == std::string_view::npos) continue;
    e.sqlstate = w.sqlstate;
    if (e.sqlstate == "42501") e.code = C::denied;
    if (e.sqlstate == "42P01") e.code = C::not_found;  // PROTOCOL.md, "Codes": a table
    break;
  }
  return e;
}

sdk::Error error_from(sqlite3* db, int rc) {
  const char* words = db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
  if (db != nullptr && (sqlite3_extended_errcode(db) & 0xff) != (rc & 0xff))
    words = sqlite3_errstr(rc);
  return error_from(rc, words);
}

}  // namespace headgate::sqlite
