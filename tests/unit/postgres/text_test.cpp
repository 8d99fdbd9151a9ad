// What the scanner finds in a statement's text: places, words, the end of the first statement.
#include "plugins/postgres/text.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "plugins/postgres/statements.hpp"
#include "plugins/sdk/sql.hpp"

namespace headgate::postgres {
namespace {

TEST(Text, QuestionMarksBecomeNumbers) {
  const Scan s = scan("select ?, '?', \"?\", $a$ ? $a$ -- ?\n, ? /* ? /* ? */ */", false);
  EXPECT_EQ(s.style, Places::question);
  EXPECT_EQ(s.places, 2u);
  EXPECT_EQ(s.text, "select $1, '?', \"?\", $a$ ? $a$ -- ?\n, $2 /* ? /* ? */ */");
}

TEST(Text, DollarPlacesLeaveTheOperatorAlone) {
  const Scan s = scan("select a ? $2 from t where b = $1", false);
  EXPECT_EQ(s.style, Places::dollar);
  EXPECT_EQ(s.places, 2u);
  EXPECT_EQ(s.text, "select a ? $2 from t where b = $1");
}

TEST(Text, OperatorsWithQuestionMarks) {
  EXPECT_EQ(scan("select a ?? 'x', a ?| b, a ?& c, a @? d, ?", false).text,
            "select a ? 'x', a ?| b, a ?& c, a @? d, $1");
  EXPECT_EQ(scan("select a=?,b<?", false).text, "select a=$1,b<$2");
}

TEST(Text, NamesAreNumberedOnce) {
  const Scan s = scan("select :a, :b::int, x[1:2], ':c', :a", true);
  EXPECT_EQ(s.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(s.text, "select $1, $2::int, x[1:2], ':c', $1");
}

TEST(Text, EscapesInStrings) {
  EXPECT_EQ(scan("select E'\\'?', ?", false).text, "select E'\\'?', $1");
  EXPECT_EQ(scan("select 'a\\', ?", false).text, "select 'a\\', $1");
  EXPECT_EQ(scan("select 'a''?', ?", false).places, 1u);
}

TEST(Text, TheFirstWordAndTheEnd) {
  EXPECT_EQ(scan("  /* x */ -- y\n SELECT 1", false).first, "select");
  EXPECT_EQ(scan("((select 1))", false).first, "select");
  EXPECT_TRUE(scan(" ; -- nothing", false).empty);
  EXPECT_FALSE(scan("select 1; -- a comment", false).second);
  EXPECT_TRUE(scan("select 1; delete from t", false).second);
  EXPECT_FALSE(scan("select ';'", false).second);
}

TEST(Text, WhatIsBoundToASession) {
  for (const char* sql :
       {"select set_config('a.b', 'c', false)", "select pg_advisory_lock(1)", "select lastval()",
        "select * into temp x from t", "select \"set_config\"('a.b', '1', false)",
        "select pg_catalog.currval('s')", "select lo_open(1, 2)"})
    EXPECT_TRUE(scan(sql, false).session) << sql;
  EXPECT_FALSE(scan("select 'set_config' from t", false).session);
}

TEST(Text, CallsOfUnknownFunctions) {
  EXPECT_TRUE(scan("select f(1)", false).calls);
  EXPECT_TRUE(scan("select s.f (1)", false).calls);
  EXPECT_FALSE(scan("insert into t (a, b) values (1, 2)", false).calls);
  EXPECT_FALSE(scan("select count(*) from t where a in (1, 2) and (b or c)", false).calls);
}

TEST(Text, WhatIsRefused) {
  const auto refusal = [](const char* sql) { return Statement(sql, false, 1).refusal; };
  for (const char* sql :
       {"", ";", "begin", "COMMIT", "  /* x */ end", "rollback to a", "copy t from stdin",
        "listen x", "set transaction read write", "SET LOCAL transaction_read_only = off",
        "set session characteristics as transaction read write", "select 1; select 2"})
    EXPECT_NE(refusal(sql), "") << sql;
  for (const char* sql : {"select 1;", "set search_path = x", "create table t (begin_at date)"})
    EXPECT_EQ(refusal(sql), "") << sql;
}

TEST(Text, SlowStatementsComeBack) {
  const Statement s("select 1", false, 1);
  EXPECT_TRUE(s.plain && s.quiet && !s.is_slow());
  s.set_slow();
  for (int i = 0; i < 7; ++i) s.ran(100, 20'000);
  EXPECT_TRUE(s.is_slow());
  s.ran(30'000, 20'000);
  for (int i = 0; i < 8; ++i) s.ran(100, 20'000);
  EXPECT_FALSE(s.is_slow());
}

TEST(Text, OneSlowRunMovesNothing) {
  const Statement s("select 1", false, 1);
  s.ran_slowly(0, 30'000);
  EXPECT_FALSE(s.is_slow());
  for (std::uint32_t i = 0; i + 1 < kStrikeRuns; ++i) s.ran_quickly();
  s.ran_slowly(1'000'000, 1'030'000);
  EXPECT_TRUE(s.is_slow()) << "slow again within its last runs";
}

TEST(Text, SlowRunsFarApartMoveNothing) {
  const Statement s("select 1", false, 1);
  for (std::uint64_t at = 0; at < 10'000'000; at += 1'000'000) {
    s.ran_slowly(at, at + 30'000);
    for (std::uint32_t i = 0; i < kStrikeRuns; ++i) s.ran_quickly();
    EXPECT_FALSE(s.is_slow());
  }
  for (int i = 0; i < 100; ++i) s.ran_quickly();  // the memory of it does not go below nothing
  s.ran_slowly(20'000'000, 20'030'000);
  EXPECT_FALSE(s.is_slow());
}

TEST(Text, OneStallSeenOnManyConnectionsIsOneStrike) {
  const Statement s("select 1", false, 1);
  for (std::uint64_t i = 0; i < 10; ++i) s.ran_slowly(1'000 + i, 50'000 + i);
  EXPECT_FALSE(s.is_slow());
  s.ran_slowly(50'000, 80'000);  // began after the first had been noticed
  EXPECT_TRUE(s.is_slow());
}

TEST(Text, AMoveForgetsTheStrikes) {
  const Statement s("select 1", false, 1);
  s.ran_slowly(0, 30'000);
  s.set_slow();
  for (int i = 0; i < 8; ++i) s.ran(100, 20'000);
  EXPECT_FALSE(s.is_slow());
  s.ran_slowly(100'000, 130'000);
  EXPECT_FALSE(s.is_slow()) << "it begins anew";
}

TEST(Text, StrikesFromManyThreads) {
  const Statement s("select 1", false, 1);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) i % 64 == 0 ? s.ran_slowly(1, 2) : s.ran_quickly();
    });
  for (std::thread& t : threads) t.join();
  EXPECT_FALSE(s.is_slow()) << "all of them began before any was noticed";
}

TEST(Text, LikeStatementsHaveOneDigest) {
  EXPECT_EQ(sdk::sql_digest("select * from t where a = 1"),
            sdk::sql_digest("select  * from t where a = 27 ;"));
  EXPECT_NE(sdk::sql_digest("select a from t"), sdk::sql_digest("select b from t"));
}

}  // namespace
}  // namespace headgate::postgres
