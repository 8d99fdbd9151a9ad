// SQL text cut into statements.
#include "proto/statements.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace headgate::proto {
namespace {

using testing::ElementsAre;

TEST(Statements, AreCutAtSemicolonsThatEndThem) {
  Cut c = cut("select 1; select ';' ; -- a; b\n select \"x;\" /* ; */ , `;`, [;]; select 3");
  EXPECT_THAT(c.statements,
              ElementsAre("select 1", "select ';'", "-- a; b\n select \"x;\" /* ; */ , `;`, [;]"));
  EXPECT_EQ(c.rest, "select 3");
  c = cut("select $$a;b$$, $t$ ; $$ ; $t$; select $1; -- nothing\n /* ; */ ;;");
  EXPECT_THAT(c.statements, ElementsAre("select $$a;b$$, $t$ ; $$ ; $t$", "select $1"));
  EXPECT_EQ(c.rest, "");
  c = cut("select 'it''s; fine'; select 'open;");
  EXPECT_THAT(c.statements, ElementsAre("select 'it''s; fine'"));
  EXPECT_EQ(c.rest, "select 'open;");
  c = cut(R"(select E'it\'s; one', 'a\'; select e'')");
  EXPECT_THAT(c.statements, ElementsAre(R"(select E'it\'s; one', 'a\')"));
  EXPECT_EQ(c.rest, "select e''");
}

TEST(Statements, TriggersAndFunctionsAreOne) {
  const std::string trigger =
      "CREATE TEMP TRIGGER t AFTER INSERT ON x BEGIN\n"
      "  UPDATE x SET a = CASE WHEN 1 THEN 2 END; DELETE FROM y;\nEND";
  EXPECT_THAT(cut(trigger + "; select 1;").statements, ElementsAre(trigger, "select 1"));
  EXPECT_THAT(cut("create table trigger_x (a); begin; end;").statements,
              ElementsAre("create table trigger_x (a)", "begin", "end"));
  const std::string function = "create function f() returns int begin atomic select 1; end";
  EXPECT_THAT(cut(function + "; select 2").statements, ElementsAre(function));
  EXPECT_THAT(cut("create table j (id int, atomic boolean); select 1;").statements,
              ElementsAre("create table j (id int, atomic boolean)", "select 1"));
  const std::string rule = "create rule r as on insert to t do also (select 1; select 2)";
  EXPECT_THAT(cut(rule + "; select ')';").statements, ElementsAre(rule, "select ')'"));
  EXPECT_THAT(cut("select ARRAY['x];y']; select 1)); select 2;").statements,
              ElementsAre("select ARRAY['x];y']", "select 1))", "select 2"));
}

TEST(Statements, Kinds) {
  EXPECT_TRUE(is_query("  -- x\n (select 1)"));
  EXPECT_TRUE(is_query("VALUES (1)"));
  EXPECT_FALSE(is_query("insert into t values (1)"));
  EXPECT_FALSE(is_query("with x as (select 1) insert into t select * from x"));
  EXPECT_TRUE(is_query("with x as (select 'insert' -- delete\n) select * from x"));
  EXPECT_FALSE(is_query("WITH x AS (DELETE FROM t RETURNING a) SELECT * FROM x"));
  EXPECT_FALSE(is_query(""));
  EXPECT_EQ(first_word("/* a */ Commit;"), "COMMIT");
}

}  // namespace
}  // namespace headgate::proto
