// The sql kind end to end on the bare host: statements, parameters, values, schema, batch, copy.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <limits>

#include "proto/values.hpp"
#include "tests/unit/sqlite/bare_host.hpp"

namespace headgate::sqlite::test {
namespace {

using ::testing::HasSubstr;

Json sql(const std::string& text) { return {{"sql", text}}; }
Json sql(const std::string& text, Json params) {
  return {{"sql", text}, {"params", std::move(params)}};
}

class Sql : public ::testing::Test {
 protected:
  Reply must(std::string_view verb, const Json& body, const CallOptions& o = {}) {
    Reply r = store.call(verb, body, o);
    EXPECT_TRUE(r.ok()) << verb << " " << body.dump(-1, ' ', false, Json::error_handler_t::replace)
                        << ": " << r.message;
    return r;
  }
  Json one(const std::string& text, Json params = nullptr) {
    Reply r = must("query", params.is_null() ? sql(text) : sql(text, params));
    return r.ok() && !r.body["rows"].empty() ? r.body["rows"][0][0] : Json("no row");
  }
  void refused(const Reply& r, int code, const char* state, const char* part) {
    EXPECT_EQ(r.code, code) << r.message;
    EXPECT_EQ(r.sqlstate, state) << r.message;
    EXPECT_THAT(r.message, HasSubstr(part));
    EXPECT_NE(r.outcome, HG_APPLIED);
    EXPECT_NE(r.outcome, HG_UNKNOWN);
  }
  BareStore store{
      plugin_of(make_sql_kind),
      {.statements = {{"all", "-- all rows\n-- access: read\nSELECT n FROM t ORDER BY n"},
                      {"add", "-- access: write\nINSERT INTO t(n) VALUES (:n)"},
                      {"free", "INSERT INTO t(n) VALUES (?)"},
                      {"liar", "-- access: read\nDELETE FROM t"}}}};
};

TEST_F(Sql, RowsAndColumns) {
  must("execute",
       sql("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT NOT NULL, price DECIMAL(10,2))"));
  Reply r = must("execute", sql("INSERT INTO t(name, price) VALUES (?, ?), ('b', 3)", {"a", 1.5}));
  EXPECT_EQ(r.rows_affected, 2);
  EXPECT_EQ(r.last_id, 2);
  EXPECT_EQ(r.body, (Json{{"columns", nullptr}, {"rows", nullptr}}));
  r = must("query", sql("SELECT id, name, price, id + 1 AS next FROM t ORDER BY id"));
  const Json columns =
      Json::parse(R"j([["id","INTEGER",false,null,null],["name","TEXT",false,null,null],)j"
                  R"j(["price","DECIMAL(10,2)",true,10,2],["next",null,null,null,null]])j");
  EXPECT_EQ(r.body["columns"], columns);
  EXPECT_EQ(r.body["rows"].size(), 2u);
  EXPECT_EQ(r.body["rows"][1][1], "b");
  EXPECT_EQ(r.rows_affected, -1);
  r = must("query", sql("SELECT * FROM t WHERE id = 99"));
  EXPECT_EQ(r.body["columns"].size(), 3u);
  EXPECT_EQ(r.body["rows"], Json::array());
  EXPECT_EQ(must("execute", sql("UPDATE t SET name = 'x'")).rows_affected, 2);
  EXPECT_EQ(must("execute", sql("CREATE TABLE u (a)")).rows_affected, 0);
  EXPECT_EQ(must("execute", sql("DELETE FROM t WHERE id = 1")).rows_affected, 1);
  r = must("execute", sql("INSERT INTO t(name) VALUES ('r') RETURNING id, name"));
  EXPECT_EQ(r.body["rows"], (Json{{3, "r"}}));
  EXPECT_EQ(r.rows_affected, 1);
}

TEST_F(Sql, ParameterStyles) {
  EXPECT_EQ(one("SELECT ? || ?", {"a", "b"}), "ab");
  EXPECT_EQ(one("SELECT ?2 || ?1", {"a", "b"}), "ba");
  EXPECT_EQ(one("SELECT $2 || $1 || $2", {"a", "b"}), "bab");
  EXPECT_EQ(one("SELECT :x || @y || $z", Json{{"x", "1"}, {"y", "2"}, {"z", "3"}}), "123");
  refused(store.call("query", sql("SELECT ?, ?", {1})), HG_INVALID, "07001",
          "takes 2 parameters and 1 was given");
  refused(store.call("query", sql("SELECT 1", {1, 2})), HG_INVALID, "07001",
          "takes 0 parameters and 2 were given");
  refused(store.call("query", sql("SELECT ?")), HG_INVALID, "07001",
          "takes 1 parameter and none was given");
  refused(store.call("query", sql("SELECT $3", {1, 2})), HG_INVALID, "07001", "takes 3 parameters");
  refused(store.call("query", sql("SELECT :a", {1})), HG_INVALID, "07001", "give a map");
  refused(store.call("query", sql("SELECT ?", Json{{"a", 1}})), HG_INVALID, "07001", "give a list");
  refused(store.call("query", sql("SELECT :a, :b", Json{{"a", 1}})), HG_INVALID, "07001",
          "`b` is missing");
  refused(store.call("query", sql("SELECT :a", Json{{"a", 1}, {"c", 1}})), HG_INVALID, "07001",
          "no parameter `c`");
  refused(store.call("query", sql("SELECT ?, :a", {1})), HG_INVALID, "42601", "mixes");
  EXPECT_EQ(store.call("query", sql("SELECT 1", 5)).code, HG_INVALID);
  refused(store.call("query", sql("SELECT ?", {Json::array({1})})), HG_INVALID, "42804",
          "parameter 1: a list");
  refused(store.call("query", sql("SELECT ?", {Json::object()})), HG_INVALID, "42804",
          "parameter 1: a map");
  EXPECT_EQ(one("SELECT ?", {"'; DROP TABLE t; --"}), "'; DROP TABLE t; --");
}

TEST_F(Sql, PlainValuesComeBackAsTheyWere) {
  const double inf = std::numeric_limits<double>::infinity();
  for (const Json& v :
       {Json(nullptr), Json(0), Json(-1), Json(INT64_MAX), Json(INT64_MIN), Json(1.5), Json(-0.0),
        Json(1e308), Json(inf), Json(-inf), Json(""), Json("äöü€😀"), Json(std::string("a\0b", 3)),
        bin(""), bin(std::string("\0\xff", 2))})
    EXPECT_EQ(one("SELECT ?", {v}), v);
  EXPECT_EQ(one("SELECT typeof(?)", {bin("")}), "blob");
  EXPECT_EQ(one("SELECT typeof(?)", {""}), "text");
  EXPECT_EQ(one("SELECT ?", {true}), 1);
  refused(store.call("query", sql("SELECT ?", {Json(UINT64_MAX)})), HG_INVALID, "22003",
          "does not fit");
  refused(store.call("query", sql("SELECT ?", {std::nan("")})), HG_INVALID, "22003", "NaN");
  refused(store.call("query", sql("SELECT ?", {ext(8, std::string("\1\0\0\0\0\0\0\0\0", 9))})),
          HG_INVALID, "22003", "does not fit");
  refused(store.call("query", sql("SELECT ?", {ext(6, "short")})), HG_INVALID, "22P02",
          "malformed");
  refused(store.call("query", sql("SELECT ?", {ext(17, "x")})), HG_INVALID, "42804",
          "no form for ext type 17");
  refused(store.call("query", sql("SELECT CAST(x'ff' AS TEXT)")), HG_STORE_ERROR, "22021",
          "column 1 of row 1");
}

Json as_ext(const auto& value) {
  proto::VectorOut out;
  proto::Writer w(&out);
  proto::write(w, value);
  return Json::from_msgpack(out.view().begin(), out.view().end());
}

TEST_F(Sql, DeclaredTypesRoundTrip) {
  must("execute", sql("CREATE TABLE t (b BOOLEAN, d DATE, ti TIME, ts TIMESTAMP, tz TIMESTAMP, n "
                      "DECIMAL(10,2), "
                      "big DECIMAL_TEXT(40,10), u UUID, j JSON_TEXT, i INTERVAL, plain TEXT)"));
  proto::Uuid uuid;
  for (std::uint8_t i = 0; i < 16; ++i) uuid.bytes[i] = static_cast<std::uint8_t>(i * 17);
  const Json row = {true,
                    as_ext(proto::Date{-1}),
                    as_ext(proto::TimeOfDay{1'500'000}),
                    as_ext(proto::LocalTimestamp{86'400'000'001}),
                    as_ext(proto::Timestamp{1'000'000, 5}),
                    as_ext(proto::Decimal{false, 2, "1250"}),
                    as_ext(proto::Decimal{true, 10, "123456789012345678901234567890"}),
                    as_ext(uuid),
                    as_ext(proto::Json{R"({"a":[1,2.50]})"}),
                    as_ext(proto::Interval{14, 3, 500'000}),
                    as_ext(uuid)};
  must("execute", sql("INSERT INTO t VALUES (?,?,?,?,?,?,?,?,?,?,?)", row));
  Reply r = must("query", sql("SELECT * FROM t"));
  for (std::size_t i = 0; i + 1 < row.size(); ++i)
    EXPECT_EQ(r.body["rows"][0][i], row[i]) << r.body["columns"][i][0];
  EXPECT_EQ(r.body["rows"][0][10],
            "00112233-4455-6677-8899-aabbccddeeff");  // a TEXT column stays text
  for (const bool minus : {false, true}) {
    const Json local = as_ext(proto::LocalTimestamp{minus ? proto::LocalTimestamp::kMinusInfinity
                                                          : proto::LocalTimestamp::kInfinity});
    const Json instant = as_ext(proto::Timestamp{
        minus ? proto::Timestamp::kMinusInfinity : proto::Timestamp::kInfinity, 0});
    must("execute", sql("UPDATE t SET ts = ?, tz = ?", {local, instant}));
    r = must("query", sql("SELECT ts, tz FROM t"));
    EXPECT_EQ(r.body["rows"][0][0], local);
    EXPECT_EQ(r.body["rows"][0][1], instant);
    EXPECT_EQ(one("SELECT ts || ' ' || tz FROM t"),
              minus ? "-infinity -infinityZ" : "infinity infinityZ");
  }
  // What is not valid for its type comes back plainly, unchanged.
  must("execute", sql("UPDATE t SET b = 2, d = '2026-02-30', u = 'x', j = '{', n = 'abc', ts = "
                      "'2026-01-31 08:15:00'"));
  r = must("query", sql("SELECT b, d, u, j, n, ts FROM t"));
  EXPECT_EQ(r.body["rows"][0][0], 2);
  EXPECT_EQ(r.body["rows"][0][1], "2026-02-30");
  EXPECT_EQ(r.body["rows"][0][2], "x");
  EXPECT_EQ(r.body["rows"][0][3], "{");
  EXPECT_EQ(r.body["rows"][0][4], "abc");
  EXPECT_EQ(r.body["rows"][0][5], as_ext(*proto::parse_local_timestamp("2026-01-31T08:15:00")));
}

TEST_F(Sql, OneStatementAndNoTransactionControl) {
  EXPECT_EQ(one("SELECT 1 ; -- the end\n /* really */ ;"), 1);
  EXPECT_EQ(one("/* first */ -- then\n SELECT 1"), 1);
  refused(store.call("query", sql("SELECT 1; SELECT 2")), HG_INVALID, "42601", "one statement");
  refused(store.call("execute", sql("CREATE TABLE a(x); DROP TABLE a")), HG_INVALID, "42601",
          "second one begins after byte 18");
  EXPECT_EQ(store.call("query", sql(" -- nothing")).code, HG_INVALID);
  EXPECT_EQ(store.call("query", sql("")).code, HG_INVALID);
  for (const auto& [text, verb] :
       std::map<std::string, std::string>{{"BEGIN", "`begin`"},
                                          {"begin immediate", "`begin`"},
                                          {"COMMIT", "`commit`"},
                                          {"END", "`commit`"},
                                          {"ROLLBACK", "`rollback`"},
                                          {"SAVEPOINT a", "`savepoint`"},
                                          {"RELEASE a", "`release`"},
                                          {"ROLLBACK TO a", "`rollback_to`"}}) {
    refused(store.call("execute", sql(text)), HG_INVALID, "0A000", verb.c_str());
    refused(store.call("query", sql(text)), HG_INVALID, "0A000", verb.c_str());
  }
  for (const char* text :
       {"PRAGMA journal_mode=DELETE", "SELECT * FROM pragma_table_info('t')", "ATTACH 'x' AS y",
        "DETACH main", "CREATE TEMP TABLE q(x)", "CREATE TABLE temp.q(x)",
        "CREATE TEMP VIEW v AS SELECT 1", "SELECT load_extension('x')",
        "SELECT * FROM headgate_idempotency", "DELETE FROM Headgate_Idempotency",
        "CREATE TABLE headgate_x(a)", "SELECT * FROM sqlite_stmt",
        "CREATE INDEX headgate_i ON headgate_idempotency(key)",
        "CREATE TRIGGER tr AFTER INSERT ON headgate_idempotency BEGIN SELECT 1; END",
        "DROP TABLE headgate_idempotency", "ALTER TABLE headgate_idempotency RENAME TO x"}) {
    Reply r = store.call("execute", sql(text));
    EXPECT_EQ(r.code, HG_DENIED) << text << ": " << r.message;
  }
  must("execute", sql("CREATE TABLE t(n)"));
  EXPECT_EQ(store.call("execute", sql("ALTER TABLE t RENAME TO HEADGATE_y")).code, HG_DENIED);
  must("execute", sql("ALTER TABLE t RENAME TO u"));
  // What would name our tables later is refused when it is made, and where another program made it.
  for (const char* text :
       {"CREATE VIEW v AS SELECT * FROM headgate_idempotency",
        "CREATE TRIGGER tr AFTER INSERT ON u BEGIN DELETE FROM [Headgate_idempotency]; END",
        "CREATE TRIGGER tr AFTER INSERT ON u BEGIN INSERT INTO u SELECT key FROM "
        "main.\"headgate_idempotency\"; END",
        "CREATE TABLE w(k REFERENCES headgate_idempotency(key))"})
    refused(store.call("execute", sql(text)), HG_DENIED, "42501", "belong to the gateway");
  must("execute", sql("CREATE TRIGGER tr AFTER INSERT ON u BEGIN DELETE FROM u WHERE n = "
                      "'my_headgate_x'; END"));
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open((store.dir() + "/store.db").c_str(), &other), SQLITE_OK);
  EXPECT_EQ(sqlite3_exec(other,
                         "CREATE VIEW v AS SELECT * FROM headgate_idempotency; CREATE TRIGGER late "
                         "AFTER INSERT ON u BEGIN DELETE FROM headgate_idempotency; END",
                         nullptr, nullptr, nullptr),
            SQLITE_OK);
  sqlite3_close(other);
  EXPECT_EQ(store.call("query", sql("SELECT * FROM v")).code, HG_DENIED);
  EXPECT_EQ(store.call("execute", sql("INSERT INTO u VALUES (1)")).code, HG_DENIED);
  for (const char* text : {"VACUUM", "/* x */ vacuum;", "VACUUM INTO '/tmp/stolen.db'"})
    for (const char* verb : {"execute", "query"})
      refused(store.call(verb, sql(text)), HG_DENIED, "42501", "VACUUM");
  EXPECT_FALSE(
      store.call("execute", sql("INSERT INTO sqlite_schema VALUES ('table','x','x',0,'')")).ok());
}

TEST_F(Sql, ErrorsHaveTheirSqlstate) {
  must("execute", sql("CREATE TABLE p (id INTEGER PRIMARY KEY)"));
  must("execute", sql("CREATE TABLE c (id INTEGER PRIMARY KEY, u UNIQUE, n NOT NULL DEFAULT 1, k "
                      "CHECK (k < 5), "
                      "f REFERENCES p(id), g DEFAULT 1)"));
  must("execute", sql("CREATE TABLE st (i INTEGER) STRICT"));
  must("execute", sql("INSERT INTO c(u) VALUES (1)"));
  refused(store.call("execute", sql("INSERT INTO c(u) VALUES (1)")), HG_EXISTS, "23505", "c.u");
  refused(store.call("execute", sql("INSERT INTO c(id) VALUES (1)")), HG_EXISTS, "23505", "c.id");
  refused(store.call("execute", sql("INSERT INTO c(n) VALUES (NULL)")), HG_CONSTRAINT, "23502",
          "c.n");
  refused(store.call("execute", sql("INSERT INTO c(k) VALUES (9)")), HG_CONSTRAINT, "23514",
          "k < 5");
  refused(store.call("execute", sql("INSERT INTO c(f) VALUES (9)")), HG_CONSTRAINT, "23503",
          "FOREIGN KEY");
  refused(store.call("execute", sql("INSERT INTO st VALUES ('x')")), HG_CONSTRAINT, "42804",
          "st.i");
  refused(store.call("query", sql("SELEC 1")), HG_STORE_ERROR, "42601", "syntax");
  refused(store.call("query", sql("SELECT * FROM nowhere")), HG_NOT_FOUND, "42P01", "nowhere");
  refused(store.call("query", sql("SELECT absent FROM p")), HG_STORE_ERROR, "42703", "absent");
  refused(store.call("query", sql("SELECT \"text\"")), HG_STORE_ERROR, "42703", "text");
  refused(store.call("query", sql("SELECT nofunc(1)")), HG_STORE_ERROR, "42883", "nofunc");
  refused(store.call("query", sql("SELECT abs(-9223372036854775807 - 1)")), HG_STORE_ERROR, "22003",
          "overflow");
  refused(store.call("query", sql("SELECT zeroblob(1000000000)")), HG_TOO_LARGE, "54000",
          "too big");
  for (const Reply& r : {store.call("execute", sql("INSERT INTO c(u) VALUES (1)"))}) {
    EXPECT_EQ(r.outcome, HG_REJECTED);
    EXPECT_EQ(r.retry, HG_RETRY_NEVER);
    EXPECT_EQ(r.vendor_code, 2067);
  }
}

TEST_F(Sql, ReadAccess) {
  must("execute", sql("CREATE TABLE t(n)"));
  // A query that writes goes to the writer, once.
  Reply r = must("query", sql("INSERT INTO t VALUES (1) RETURNING n"));
  EXPECT_EQ(r.hops, 1);
  EXPECT_EQ(r.body["rows"], (Json{{1}}));
  const CallOptions read{.access = HG_ACCESS_READ};
  EXPECT_EQ(must("query", sql("SELECT count(*) FROM t"), read).body["rows"][0][0], 1);
  refused(store.call("query", sql("INSERT INTO t VALUES (1)"), read), HG_DENIED, "25006", "writes");
  refused(store.call("query", sql("INSERT INTO t VALUES (1)"), {.read_only = true}), HG_DENIED,
          "25006", "writes");
  refused(store.call("execute", sql("INSERT INTO t VALUES (1)"), read), HG_DENIED, "25006",
          "writes");
  refused(store.call("run", {{"name", "free"}, {"params", {1}}}, read), HG_DENIED, "25006",
          "writes");
  EXPECT_EQ(store.call("run", {{"name", "add"}, {"params", {{"n", 1}}}}, read).code, HG_DENIED);
  EXPECT_EQ(one("SELECT count(*) FROM t"), 1);
}

TEST_F(Sql, NamedStatements) {
  must("execute", sql("CREATE TABLE t(n)"));
  EXPECT_EQ(must("run", {{"name", "add"}, {"params", {{"n", 7}}}}).rows_affected, 1);
  EXPECT_EQ(must("run", {{"name", "free"}, {"params", {8}}}).hops, 1);
  EXPECT_EQ(must("run", {{"name", "all"}}).body["rows"], (Json{{7}, {8}}));
  EXPECT_THAT(BareStore::touched(), ::testing::ElementsAre("run 3 all"));
  EXPECT_EQ(store.call("run", {{"name", "none"}}).code, HG_NOT_FOUND);
  EXPECT_EQ(store.call("run", {{"name", "liar"}}).code, HG_DENIED);
  EXPECT_EQ(one("SELECT count(*) FROM t"), 2);
  EXPECT_THROW(
      BareStore(plugin_of(make_sql_kind), {.statements = {{"x", "-- access: maybe\nSELECT 1"}}}),
      std::runtime_error);
}

TEST_F(Sql, ExecuteManyIsAllOrNothing) {
  must("execute", sql("CREATE TABLE t(n UNIQUE, s)"));
  Reply r =
      must("execute_many", sql("INSERT INTO t VALUES (?, ?)", {{1, "a"}, {2, "b"}, {3, "c"}}));
  EXPECT_EQ(r.rows_affected, 3);
  r = store.call("execute_many",
                 sql("INSERT INTO t VALUES (?, ?)", {{4, "a"}, {5, "b"}, {2, "c"}}));
  refused(r, HG_EXISTS, "23505", "set 2: ");
  refused(store.call("execute_many", sql("INSERT INTO t VALUES (?, ?)", {{4, "a"}, {5}})),
          HG_INVALID, "07001", "set 1: ");
  EXPECT_EQ(one("SELECT count(*) FROM t"), 3);
  EXPECT_EQ(must("execute_many", sql("UPDATE t SET s = :s WHERE n = :n",
                                     {{{"n", 1}, {"s", "z"}}, {{"n", 9}, {"s", "z"}}}))
                .rows_affected,
            1);
  EXPECT_EQ(must("execute_many", sql("DELETE FROM t", Json::array())).rows_affected, 0);
  EXPECT_EQ(store.call("execute_many", sql("SELECT 1", {Json::array()})).code, HG_INVALID);
}

TEST_F(Sql, Transactions) {
  must("execute", sql("CREATE TABLE t(n UNIQUE)"));
  Reply b = must("begin", Json::object());
  ASSERT_EQ(b.lease, HG_LEASE_OPEN);
  const CallOptions tx{.lease = b.lease_id};
  must("execute", sql("INSERT INTO t VALUES (1)"), tx);
  EXPECT_EQ(must("query", sql("SELECT count(*) FROM t"), tx).body["rows"][0][0], 1);
  EXPECT_EQ(one("SELECT count(*) FROM t"), 0);  // nobody else sees it
  must("savepoint", {{"name", "a\"b"}}, tx);
  must("execute", sql("INSERT INTO t VALUES (2)"), tx);
  must("rollback_to", {{"name", "a\"b"}}, tx);
  must("release", {{"name", "a\"b"}}, tx);
  refused(store.call("release", {{"name", "q"}}, tx), HG_STORE_ERROR, "3B001",
          "no such savepoint: q");
  // A statement that fails is undone; the transaction lives.
  Reply r = store.call("execute_many", sql("INSERT INTO t VALUES (?)", {{5}, {1}}), tx);
  EXPECT_EQ(r.code, HG_EXISTS);
  EXPECT_EQ(r.lease, HG_LEASE_OPEN);
  must("execute", sql("INSERT INTO t VALUES (3)"), tx);
  r = must("commit", Json::object(), tx);
  EXPECT_EQ(r.lease, HG_LEASE_NONE);
  EXPECT_EQ(must("query", sql("SELECT n FROM t ORDER BY n")).body["rows"], (Json{{1}, {3}}));
  // Rolled back.
  b = must("begin", {{"isolation", "read_committed"}, {"deferrable", false}});
  must("execute", sql("DELETE FROM t"), {.lease = b.lease_id});
  must("rollback", Json::object(), {.lease = b.lease_id});
  EXPECT_EQ(one("SELECT count(*) FROM t"), 2);
  // Its expiry.
  b = must("begin", Json::object());
  must("execute", sql("DELETE FROM t"), {.lease = b.lease_id});
  EXPECT_TRUE(store.reset(b.lease_id).ok());
  EXPECT_EQ(store.call("commit", Json::object(), {.lease = b.lease_id}).code,
            HG_TRANSACTION_EXPIRED);
  EXPECT_EQ(one("SELECT count(*) FROM t"), 2);
  EXPECT_EQ(store.call("commit", Json::object()).code, HG_INVALID);
  EXPECT_EQ(store.call("begin", {{"isolation", "dirty"}}).code, HG_INVALID);
}

TEST_F(Sql, TransactionThatTheStoreEnds) {
  must("execute", sql("CREATE TABLE t(n UNIQUE)"));
  must("execute", sql("CREATE TABLE k(r REFERENCES t(n) DEFERRABLE INITIALLY DEFERRED)"));
  must("execute", sql("INSERT INTO t VALUES (1)"));
  Reply b = must("begin", Json::object());
  CallOptions tx{.lease = b.lease_id};
  must("execute", sql("INSERT INTO t VALUES (2)"), tx);
  Reply r = store.call("execute", sql("INSERT OR ROLLBACK INTO t VALUES (1)"), tx);
  EXPECT_EQ(r.code, HG_EXISTS);
  EXPECT_EQ(r.outcome, HG_ROLLED_BACK);
  EXPECT_EQ(r.lease, HG_LEASE_FAILED);
  r = store.call("execute", sql("INSERT INTO t VALUES (3)"), tx);
  refused(r, HG_TRANSACTION_ABORTED, "25P02", "rolled back");
  EXPECT_EQ(r.lease, HG_LEASE_FAILED);
  r = store.call("commit", Json::object(), tx);
  EXPECT_EQ(r.code, HG_TRANSACTION_ABORTED);
  EXPECT_EQ(r.lease, HG_LEASE_NONE);
  EXPECT_EQ(one("SELECT count(*) FROM t"), 1);
  // A deferred key may be mended before the commit, and ends the transaction when it is not.
  b = must("begin", Json::object());
  tx.lease = b.lease_id;
  must("execute", sql("INSERT INTO k VALUES (9)"), tx);
  must("execute", sql("INSERT INTO t VALUES (9)"), tx);
  must("commit", Json::object(), tx);
  b = must("begin", Json::object());
  tx.lease = b.lease_id;
  must("execute", sql("INSERT INTO k VALUES (77)"), tx);
  r = store.call("commit", Json::object(), tx);
  EXPECT_EQ(r.sqlstate, "23503");
  EXPECT_EQ(r.outcome, HG_ROLLED_BACK);
  EXPECT_EQ(r.lease, HG_LEASE_NONE);
  EXPECT_EQ(one("SELECT count(*) FROM k"), 1);
  must("execute", sql("INSERT INTO t VALUES (10)"));  // the writer is free again
}

TEST_F(Sql, ReadOnlyTransactionKeepsItsSnapshot) {
  must("execute", sql("CREATE TABLE t(n)"));
  Reply b = must("begin", Json::object(), {.read_only = true});
  const CallOptions tx{.lease = b.lease_id};
  must("execute", sql("INSERT INTO t VALUES (1)"));  // the writer is not taken
  EXPECT_EQ(must("query", sql("SELECT count(*) FROM t"), tx).body["rows"][0][0], 0);
  refused(store.call("execute", sql("INSERT INTO t VALUES (1)"), tx), HG_DENIED, "25006", "");
  must("savepoint", {{"name", "s"}}, tx);
  must("release", {{"name", "s"}}, tx);
  EXPECT_EQ(must("commit", Json::object(), tx).lease, HG_LEASE_NONE);
  EXPECT_EQ(one("SELECT count(*) FROM t"), 1);
}

// [verb, body]; nlohmann would take a list of such pairs for an object.
Json item(const char* verb, Json body) { return Json::array({verb, std::move(body)}); }
Json batch(std::vector<Json> items) { return {{"items", Json(std::move(items))}}; }
Json loose(std::vector<Json> items) {
  return {{"items", Json(std::move(items))}, {"atomic", false}};
}

TEST_F(Sql, Batch) {
  must("execute", sql("CREATE TABLE t(n UNIQUE)"));
  const auto ins = [](int n) { return item("execute", sql("INSERT INTO t VALUES (?)", {n})); };
  const auto ask = [](const char* text) { return item("query", sql(text)); };
  Reply r = must("batch", batch({ins(1), ins(2), ask("SELECT count(*) FROM t")}));
  ASSERT_EQ(r.body.size(), 3u);
  EXPECT_EQ(r.body[0][0], HG_OK);
  EXPECT_EQ(r.body[0][1]["outcome"], HG_APPLIED);
  EXPECT_EQ(r.body[0][1]["rows_affected"], 1);
  EXPECT_EQ(r.body[2][2]["rows"], (Json{{2}}));
  r = must("batch", batch({ins(3), ins(1), ins(4)}));
  EXPECT_EQ(r.body[0][0], HG_TRANSACTION_ABORTED);
  EXPECT_EQ(r.body[0][1]["outcome"], HG_ROLLED_BACK);
  EXPECT_EQ(r.body[1][0], HG_EXISTS);
  EXPECT_EQ(r.body[1][1]["sqlstate"], "23505");
  EXPECT_EQ(r.body[2][0], HG_TRANSACTION_ABORTED);
  EXPECT_EQ(one("SELECT count(*) FROM t"), 2);
  r = must("batch", loose({ins(3), ins(1), ins(4)}));
  EXPECT_EQ(r.body[0][0], HG_OK);
  EXPECT_EQ(r.body[1][0], HG_EXISTS);
  EXPECT_EQ(r.body[1][2], nullptr);
  EXPECT_EQ(r.body[2][0], HG_OK);
  EXPECT_EQ(one("SELECT count(*) FROM t"), 4);
  r = must("batch", batch({ask("SELECT 1"), ask("SELECT 2")}), {.access = HG_ACCESS_READ});
  EXPECT_EQ(r.body[1][2]["rows"], (Json{{2}}));
  EXPECT_EQ(must("batch", batch({ask("INSERT INTO t VALUES (50)")})).hops, 1);
  EXPECT_EQ(store.call("batch", batch({item("begin", Json::object())})).code, HG_INVALID);
  EXPECT_EQ(store.call("batch", batch({item("query", {{"sqll", "x"}})})).code, HG_INVALID);
  EXPECT_EQ(store.call("batch", batch({Json::array({"query"})})).code, HG_INVALID);
  EXPECT_EQ(store.call("batch", batch({item("nope", Json::object())})).code, HG_UNSUPPORTED);
  EXPECT_EQ(must("batch", batch({})).body, Json::array());
  must("execute", sql("DELETE FROM t"));
  must("batch", batch({item("run", {{"name", "all"}})}));
  EXPECT_THAT(BareStore::touched(), ::testing::ElementsAre("run 4 run", "run 3 all"));
}

TEST_F(Sql, CopyInAndOut) {
  must("execute", sql("CREATE TABLE \"t q\"(a INTEGER, b TEXT, c AS (a * 2))"));
  int piece = 0;
  CallOptions up;
  up.upload = [&]() -> std::optional<Json> {
    if (piece == 10) return std::nullopt;
    Json rows = Json::array();
    for (int i = 0; i < 100; ++i) rows.push_back({piece * 100 + i, "x"});
    ++piece;
    return rows;
  };
  Reply r = must("copy_in", {{"table", "t q"}}, up);
  EXPECT_EQ(r.rows_affected, 1000);
  // An error in the middle leaves nothing.
  piece = 0;
  up.upload = [&]() -> std::optional<Json> {
    return ++piece < 5 ? Json{{9000 + piece, "y"}} : Json{{1, "z", 3}};
  };
  refused(store.call("copy_in", {{"table", "t q"}}, up), HG_INVALID, "",
          "row 5: must be a list of 2 values");
  piece = 0;
  up.upload = [&]() -> std::optional<Json> {
    return ++piece < 5 ? std::optional<Json>(Json{{9000, "y"}}) : std::nullopt;
  };
  up.abort_upload = true;
  EXPECT_EQ(store.call("copy_in", {{"table", "t q"}, {"columns", {"a", "b"}}}, up).code,
            HG_CANCELLED);
  EXPECT_EQ(one("SELECT count(*) FROM \"t q\""), 1000);
  EXPECT_EQ(store.call("copy_in", {{"table", "nope"}}, up).code, HG_NOT_FOUND);
  EXPECT_EQ(store.call("copy_in", {{"table", "headgate_idempotency"}}, up).code, HG_NOT_FOUND);
  EXPECT_EQ(store.call("copy_in", {{"table", "t q"}}).code, HG_INVALID);
  r = must("copy_out", {{"table", "t q"}, {"columns", {"c", "b"}}}, {.fetch = 300});
  ASSERT_EQ(r.parts.size(), 3u);
  EXPECT_EQ(r.parts[0]["columns"].size(), 2u);
  EXPECT_FALSE(r.parts[1].contains("columns"));
  EXPECT_EQ(r.parts[1]["rows"].size(), 300u);
  EXPECT_EQ(r.body["rows"].size(), 100u);
  EXPECT_EQ(must("copy_out", {{"sql", "SELECT * FROM \"t q\" WHERE a < ?"}, {"params", {5}}},
                 {.fetch = 100})
                .body["rows"]
                .size(),
            5u);
  EXPECT_EQ(store.call("copy_out", {{"table", "t q"}, {"sql", "SELECT 1"}}, {.fetch = 1}).code,
            HG_INVALID);
  EXPECT_EQ(store.call("copy_out", {{"table", "t q"}}).code, HG_INVALID);
}

TEST_F(Sql, Introspection) {
  must("execute", sql("CREATE TABLE p (a, b, PRIMARY KEY (a, b))"));
  must(
      "execute",
      sql("CREATE TABLE \"we\"\"ird\" (id INTEGER PRIMARY KEY, u TEXT NOT NULL DEFAULT 'x' UNIQUE, "
          "a, b, g AS (a || b), FOREIGN KEY (a, b) REFERENCES p)"));
  must("execute",
       sql("CREATE INDEX ix ON \"we\"\"ird\" (b, lower(u)) WHERE b > 'where' AND a IS NOT NULL"));
  must("execute", sql("CREATE VIEW vw AS SELECT 1 AS one"));
  EXPECT_EQ(must("tables", Json::object()).body["rows"],
            (Json{{"main", "p", "table"}, {"main", "vw", "view"}, {"main", "we\"ird", "table"}}));
  Reply r = must("columns", {{"table", "we\"ird"}});
  EXPECT_EQ(r.body["rows"][0], (Json{"id", "INTEGER", false, nullptr, 1}));
  EXPECT_EQ(r.body["rows"][1], (Json{"u", "TEXT", false, "'x'", 2}));
  EXPECT_EQ(r.body["rows"].size(), 5u);
  r = must("keys", {{"table", "we\"ird"}});
  EXPECT_EQ(r.body["rows"][0], (Json{nullptr, "primary", {"id"}, nullptr, nullptr}));
  EXPECT_EQ(r.body["rows"][1][1], "unique");
  EXPECT_EQ(r.body["rows"][2], (Json{nullptr, "foreign", {"a", "b"}, "p", {"a", "b"}}));
  r = must("indexes", {{"table", "we\"ird"}});
  EXPECT_EQ(r.body["rows"].back(),
            (Json{"ix", false, {"b", "(expression)"}, "b > 'where' AND a IS NOT NULL"}));
  for (const char* verb : {"columns", "keys", "indexes"}) {
    refused(store.call(verb, {{"table", "nope"}}), HG_NOT_FOUND, "42P01", "nope");
    EXPECT_EQ(store.call(verb, {{"table", "headgate_idempotency"}}).code, HG_NOT_FOUND);
  }
  EXPECT_EQ(store.call("tables", {{"schema", "other"}}).code, HG_NOT_FOUND);
}

TEST_F(Sql, ExplainShowsTheIndex) {
  must("execute", sql("CREATE TABLE t(a, b)"));
  must("execute", sql("CREATE INDEX by_a ON t(a)"));
  Reply r = must("explain", {{"verb", "query"}, {"body", sql("SELECT b FROM t WHERE a = ?", {1})}});
  EXPECT_THAT(r.body["plan"][0]["detail"].get<std::string>(), HasSubstr("by_a"));
  must("explain", {{"verb", "execute"}, {"body", sql("DELETE FROM t")}},
       {.access = HG_ACCESS_READ});
  must("explain", {{"verb", "copy_out"}, {"body", {{"table", "t"}}}});
  EXPECT_EQ(store.call("explain", {{"verb", "commit"}, {"body", Json::object()}}).code,
            HG_UNSUPPORTED);
  EXPECT_EQ(one("SELECT count(*) FROM t"), 0);
}

TEST_F(Sql, SchemaChangesUnderCachedStatements) {
  must("execute", sql("CREATE TABLE t(a INTEGER)"));
  must("execute", sql("INSERT INTO t VALUES (1)"));
  EXPECT_EQ(must("query", sql("SELECT * FROM t")).body["columns"].size(), 1u);
  must("execute", sql("ALTER TABLE t ADD COLUMN d DATE DEFAULT '2026-01-01'"));
  for (int i = 0; i < 6; ++i) {  // on every reader
    Reply r = must("query", sql("SELECT * FROM t"));
    ASSERT_EQ(r.body["columns"].size(), 2u);
    EXPECT_TRUE(r.body["rows"][0][1].is_binary());
  }
  must("execute", sql("DROP TABLE t"));
  EXPECT_EQ(store.call("query", sql("SELECT * FROM t")).sqlstate, "42P01");
}

TEST_F(Sql, VirtualTablesAndAlterWorkUnderTheAuthorizer) {
  must("execute", sql("CREATE VIRTUAL TABLE f USING fts5(body)"));
  for (int i = 0; i < 3; ++i)
    must("execute", sql("INSERT INTO f VALUES (?)", {"the quick brown fox"}));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(one("SELECT count(*) FROM f WHERE f MATCH 'fox'"), 3);
  must("execute", sql("CREATE VIRTUAL TABLE r USING rtree(id, a, b)"));
  must("execute", sql("INSERT INTO r VALUES (1, 0, 5)"));
  EXPECT_EQ(one("SELECT id FROM r WHERE a < 1"), 1);
  must("execute", sql("CREATE TABLE t(n)"));
  must("execute", sql("INSERT INTO t VALUES (1)"));
  must("execute", sql("ALTER TABLE t ADD COLUMN p INTEGER NOT NULL DEFAULT 1 CHECK (p > 0)"));
  must("execute", sql("ALTER TABLE t RENAME COLUMN p TO q"));
  must("execute", sql("ALTER TABLE t DROP COLUMN q"));
  EXPECT_FALSE(store.call("execute", sql("DELETE FROM f_data")).ok());  // DEFENSIVE
}

TEST_F(Sql, AFileThatWasRemovedIsMadeAgain) {
  must("execute", sql("CREATE TABLE t(n)"));
  store.close_connections();
  for (const char* end : {"", "-wal", "-shm"}) ::unlink((store.dir() + "/store.db" + end).c_str());
  EXPECT_EQ(store.call("execute", sql("INSERT INTO t VALUES (1)")).sqlstate, "42P01");
  EXPECT_TRUE(store.call("execute", sql("CREATE TABLE t(n)"), {.key = "again"}).ok());
}

TEST_F(Sql, BadBodies) {
  for (const auto& [verb, body] :
       std::vector<std::pair<std::string, Json>>{{"query", Json::object()},
                                                 {"query", {{"sql", 5}}},
                                                 {"query", {{"sql", "SELECT 1"}, {"parms", {1}}}},
                                                 {"execute_many", sql("SELECT 1")},
                                                 {"run", Json::object()},
                                                 {"columns", Json::object()},
                                                 {"begin", {{"x", 1}}},
                                                 {"ping", {{"x", 1}}},
                                                 {"query", Json::array()},
                                                 {"backup", Json::object()},
                                                 {"query", nullptr},
                                                 {"batch", {{"items", 1}}},
                                                 {"explain", {{"verb", "query"}}}}) {
    Reply r = store.call(verb, body);
    EXPECT_EQ(r.code, HG_INVALID) << verb << ": " << r.message;
    EXPECT_EQ(r.outcome, HG_NOT_SENT) << verb;
  }
  EXPECT_EQ(store.call("find", Json::object()).code, HG_UNSUPPORTED);
  const std::string long_sql = "SELECT '" + std::string(2 << 20, 'x') + "'";
  EXPECT_EQ(store.call("query", sql(long_sql)).code, HG_TOO_LARGE);
  Reply r = store.call("query",
                       sql("SELECT '" + std::string(900, 'e') + "' FROM " + std::string(900, 'n')));
  EXPECT_LE(r.message.size(), 511u);
  must("ping", Json::object());
}

TEST_F(Sql, ReplyTooLarge) {
  must("execute", sql("CREATE TABLE t(b)"));
  must("execute", sql("INSERT INTO t VALUES (zeroblob(5000000)), (zeroblob(5000000))"));
  Reply r = store.call("query", sql("SELECT b FROM t"));
  EXPECT_EQ(r.code, HG_TOO_LARGE);
  EXPECT_THAT(r.message, HasSubstr("fetch"));
  EXPECT_EQ(one("SELECT count(*) FROM t"), 2);
  // A write whose reply does not fit is undone: the answer must not say less than what happened.
  r = store.call("execute", sql("UPDATE t SET b = b RETURNING b"));
  EXPECT_EQ(r.code, HG_TOO_LARGE);
  EXPECT_EQ(r.outcome, HG_REJECTED);
}

TEST_F(Sql, AQuickReadThatBecomesSlowComesAgainAlone) {
  const std::string count =
      "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) "
      "SELECT count(*) FROM n";
  const auto known_to_be_quick = [&] {
    for (int i = 0; i < 1000; ++i) {
      const auto begun = std::chrono::steady_clock::now();
      EXPECT_EQ(one(count, {10}), 10);
      if (std::chrono::steady_clock::now() - begun < std::chrono::microseconds(100)) return true;
    }
    return false;
  };
  if (!known_to_be_quick()) GTEST_SKIP() << "nothing is quick on this machine, or under TSan";
  const Reply slow = must("query", sql(count, {2'000'000}));
  EXPECT_EQ(slow.body["rows"][0][0], 2'000'000);
  EXPECT_EQ(slow.hops, 1) << "it was cut once, so that nobody stood behind it";
  EXPECT_EQ(must("query", sql(count, {2'000'000})).hops, 0) << "which is remembered";
  // Its own deadline is its own, however often it comes.
  for (int i = 0; i < 200; ++i) EXPECT_EQ(one(count, {10}), 10);
  const Reply late = store.call("query", sql(count, {2'000'000'000}), {.timeout_ms = 200});
  EXPECT_EQ(late.code, HG_DEADLINE);
  EXPECT_EQ(late.outcome, HG_ROLLED_BACK);
}

}  // namespace
}  // namespace headgate::sqlite::test
