// The retry contract's table for PostgreSQL, row by row, at every place.
#include "plugins/postgres/wire/errors.hpp"

#include <gtest/gtest.h>

#include "tests/unit/postgres_wire/support.hpp"

namespace headgate::postgres::wire::test {
namespace {

using C = sdk::Code;
using O = sdk::Outcome;

Situation at(Where where, bool in_transaction = false) {
  Situation s;
  s.where = where;
  s.in_transaction = in_transaction;
  return s;
}

void expect(const Verdict& v, C code, O outcome, int retry, bool breaker = false) {
  EXPECT_EQ(proto::name(v.code), proto::name(code));
  EXPECT_EQ(proto::name(v.outcome), proto::name(outcome));
  EXPECT_EQ(v.retry, retry);
  EXPECT_EQ(v.breaker, breaker);
}

Verdict statement(const char* state, bool fatal = false) {
  return judge(state, fatal, "", at(Where::statement));
}

TEST(WireErrors, RolledBackAndRejectedByClass) {
  for (const char* state : {"40001", "40P01"})
    expect(statement(state), C::conflict, O::rolled_back, HG_RETRY_BACKOFF);
  expect(statement("23505"), C::exists, O::rejected, HG_RETRY_NEVER);
  expect(statement("23503"), C::constraint, O::rejected, HG_RETRY_NEVER);
  expect(statement("42601"), C::store_error, O::rejected, HG_RETRY_NEVER);
  expect(statement("42P01"), C::not_found, O::rejected, HG_RETRY_NEVER);
  expect(statement("42501"), C::denied, O::rejected, HG_RETRY_NEVER);
  expect(statement("22012"), C::store_error, O::rejected, HG_RETRY_NEVER);
  expect(statement("53100"), C::store_error, O::rejected, HG_RETRY_NEVER, true);
  expect(statement("58030"), C::store_error, O::rejected, HG_RETRY_NEVER, true);
  expect(statement("57014"), C::deadline, O::rolled_back, HG_RETRY_NEVER);
  EXPECT_TRUE(statement("57014").statement_timeout);
  Situation cancelled = at(Where::statement);
  cancelled.cancelled = cancelled.caller_gone = true;
  expect(judge("57014", false, "", cancelled), C::cancelled, O::rolled_back, HG_RETRY_NEVER);
}

TEST(WireErrors, ShutdownBeforeCommandComplete) {
  const Verdict v = statement("57P01", true);
  expect(v, C::unavailable, O::rolled_back, HG_RETRY_NEW_CONNECTION, true);
  EXPECT_TRUE(v.broken);
  for (const Where w : {Where::statement, Where::completed, Where::commit})
    expect(judge("57P02", true, "", at(w)), C::unavailable, O::unknown, HG_RETRY_NEW_CONNECTION,
           true);
  for (const char* state : {"08006", "08007", "40003"})
    EXPECT_EQ(statement(state).outcome, O::unknown) << state;
}

TEST(WireErrors, AfterCommandCompleteAndAtCommit) {
  for (const Where w : {Where::completed, Where::commit}) {
    for (const char* state : {"57P01", "57P02", "08006", "40003", "XX000"})
      EXPECT_EQ(judge(state, true, "", at(w)).outcome, O::unknown) << state;
    EXPECT_EQ(judge("57P01", false, "", at(w)).outcome, O::unknown);
    EXPECT_EQ(judge("23503", false, "", at(w)).outcome, O::rolled_back);
    EXPECT_EQ(judge("23503", false, "", at(w)).code, C::constraint);
    EXPECT_EQ(judge("40001", false, "", at(w)).outcome, O::rolled_back);
  }
  EXPECT_EQ(judge("40001", false, "", at(Where::completed)).retry, HG_RETRY_BACKOFF);
  EXPECT_EQ(judge("40001", false, "", at(Where::commit)).retry, HG_RETRY_NEVER);
  EXPECT_EQ(judge("40001", false, "", at(Where::commit)).code, C::transaction_aborted);
}

TEST(WireErrors, PrepareAgain) {
  for (const char* state : {"26000", "42P05"}) {
    expect(judge(state, false, "", at(Where::prepare)), C::store_error, O::rejected,
           HG_RETRY_SAME_CONNECTION);
    EXPECT_TRUE(judge(state, false, "", at(Where::prepare)).prepare_again);
  }
  EXPECT_TRUE(judge("0A000", false, "RevalidateCachedQuery", at(Where::prepare)).prepare_again);
  EXPECT_FALSE(judge("0A000", false, "transformStmt", at(Where::prepare)).prepare_again);
}

TEST(WireErrors, ThePrimaryHasMoved) {
  const Verdict v = statement("25006");
  expect(v, C::unavailable, O::rejected, HG_RETRY_OTHER_ENDPOINT);
  EXPECT_TRUE(v.primary_moved);
  Situation s = at(Where::statement);
  s.read_pool = true;
  expect(judge("25006", false, "", s), C::denied, O::rejected, HG_RETRY_NEVER);
}

TEST(WireErrors, InsideATransactionNothingIsRepeated) {
  for (const char* state : {"40001", "57P01", "25006", "26000", "22012", "08006"}) {
    const Verdict v = judge(state, state[0] == '5', "", at(Where::statement, true));
    EXPECT_EQ(v.retry, HG_RETRY_NEVER) << state;
    EXPECT_TRUE(v.lease_failed) << state;
  }
  EXPECT_EQ(judge("40001", false, "", at(Where::statement, true)).code, C::transaction_aborted);
  EXPECT_EQ(judge("57P01", true, "", at(Where::statement, true)).code, C::transaction_aborted);
  EXPECT_EQ(judge("22012", false, "", at(Where::statement, true)).code, C::store_error);
}

TEST(WireErrors, Lost) {
  const auto outcome = [](Where w, bool tx) { return judge_lost(at(w, tx)).outcome; };
  EXPECT_EQ(outcome(Where::unsent, false), O::not_sent);
  EXPECT_EQ(outcome(Where::statement, false), O::unknown);
  EXPECT_EQ(outcome(Where::completed, false), O::unknown);
  EXPECT_EQ(outcome(Where::commit, true), O::unknown);
  EXPECT_EQ(outcome(Where::statement, true), O::rolled_back);
  EXPECT_EQ(outcome(Where::rollback, true), O::rolled_back);
  EXPECT_TRUE(judge_lost(at(Where::statement)).broken);
}

TEST(WireErrors, Notices) {
  Notice n;
  n.severity = "WARNING";
  n.sqlstate = "57P01";
  EXPECT_EQ(effect_of(n), NoticeEffect::going_down);
  n.sqlstate = "57P02";
  EXPECT_EQ(effect_of(n), NoticeEffect::going_down);
  n.sqlstate = "01000";
  n.routine = "SyncRepWaitForLSN";
  EXPECT_EQ(effect_of(n), NoticeEffect::not_replicated);
  n.routine = "";
  EXPECT_EQ(effect_of(n), NoticeEffect::warning);
  n.severity = "NOTICE";
  EXPECT_EQ(effect_of(n), NoticeEffect::none);
}

TEST(WireErrors, NoValueInAMessage) {
  Reader reader;
  int seen = 0;
  feed(reader, read_file(recorded_path("conversations/errors.bin")), SIZE_MAX,
       [&](const Message& m) {
         if (m.tag != Tag::error_response) return;
         const Notice n = read_notice(m.payload);
         const sdk::Error e = error_of(judge(n, at(Where::statement)), n);
         EXPECT_EQ(e.sqlstate, n.sqlstate);
         EXPECT_EQ(e.message.find("no number"), std::string::npos) << e.message;
         EXPECT_EQ(e.message.find("again"), std::string::npos) << e.message;
         EXPECT_EQ(proto::check(e.detail), proto::Shape::good);
         ++seen;
       });
  EXPECT_EQ(seen, 5);
  Notice n;
  n.sqlstate = "22P02";
  n.message = "invalid input syntax for type integer: \"a\"b\"";
  EXPECT_EQ(error_of({}, n).message, "invalid input syntax for type integer: \"...\"");
  n.message = "bad \xff\n text \"cut";
  EXPECT_EQ(error_of({}, n).message, "bad \xef\xbf\xbd  text \"...\"");
  EXPECT_EQ(clean_text("\xc3\xbc\xc3\xbc", 3), "\xc3\xbc");
}

}  // namespace
}  // namespace headgate::postgres::wire::test
