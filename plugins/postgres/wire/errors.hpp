// errors: what a SQLSTATE means to a caller, by where it came: the retry contract's table as code.
//
// The same SQLSTATE means different things before and after a statement's CommandComplete, at
// COMMIT, as a warning. What the server said is never the whole truth; where we were is the other
// half. Logins are libpq's (login.cpp). Threads: pure functions.
#pragma once
#include <cstdint>
#include <string_view>

#include "plugins/postgres/wire/clean_text.hpp"
#include "plugins/postgres/wire/messages.hpp"
#include "plugins/sdk/driver.hpp"

namespace headgate::postgres::wire {

// Where the connection was when it heard the error, or lost its server.
enum class Where : std::uint8_t {
  idle,       // nothing in flight
  unsent,     // a call was taken up, no byte of it has been written
  prepare,    // Parse, Describe or Bind: execution has not begun
  statement,  // Execute is under way, its CommandComplete has not come
  completed,  // CommandComplete has come, ReadyForQuery has not: the implicit commit is under way
  commit,     // COMMIT was sent
  rollback    // ROLLBACK was sent
};

struct Situation {
  Where where = Where::statement;
  bool in_transaction = false;  // in the caller's own BEGIN
  bool read_pool = false;       // a pool (or transaction) that is read-only by our own wish
  bool cancelled = false;       // we sent a cancel for this statement
  bool caller_gone = false;     // ... because of the caller's cancel and not of its deadline
};

// What to do and say. The texts of `error` are safe to show; its detail holds names, never values.
struct Verdict {
  sdk::Code code = sdk::Code::store_error;
  sdk::Outcome outcome = sdk::Outcome::unknown;
  int retry = HG_RETRY_NEVER;
  bool breaker = false;
  bool broken = false;         // the connection must be closed
  bool prepare_again = false;  // 26000, 42P05, 0A000 cached plan: forget the statement, once more
  bool primary_moved = false;  // 25006 on a writer: drop this generation of connections
  bool lease_failed = false;   // the interactive transaction can only be rolled back
  bool statement_timeout = false;  // 57014 that we did not ask for
};

// An ErrorResponse. `routine` is the notice's R field.
Verdict judge(std::string_view sqlstate, bool fatal, std::string_view routine, const Situation& s);
inline Verdict judge(const Notice& n, const Situation& s) {
  return judge(n.sqlstate, n.fatal(), n.routine, s);
}

// The connection ended, by EOF, reset, our own timeout or a ProtocolFault, with no answer.
Verdict judge_lost(const Situation& s);

// What a NoticeResponse changes. A notice is never an error of the statement; it can take certainty
// away from what follows.
enum class NoticeEffect : std::uint8_t {
  none,
  warning,         // for meta.warnings
  not_replicated,  // COMMIT stands, a standby may lack it: 01000 "canceling wait for synchronous
                   // replication" and the like
  going_down       // 57P01, 57P02 as a warning: whatever ends without ReadyForQuery is unknown
};
NoticeEffect effect_of(const Notice& n);

// The sdk::Error of a verdict with the server's own words: message (with the hint), sqlstate, and
// detail {severity, hint, position, schema, table, column, data_type, constraint}, names alone: the
// server's DETAIL is left out, since it shows values of rows. The primary message of a few data
// errors quotes the value it could not read: that quotation is cut out of it.
sdk::Error error_of(const Verdict& v, const Notice& n);
sdk::Error error_of_lost(const Verdict& v, std::string_view why);

}  // namespace headgate::postgres::wire
