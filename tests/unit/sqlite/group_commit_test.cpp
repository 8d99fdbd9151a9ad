// Group commit: each way in which one call of a batch could hurt another, reproduced.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/unit/sqlite/bare_host.hpp"
#include "tests/unit/sqlite/bare_vfs.hpp"

namespace headgate::sqlite::test {
namespace {

using namespace std::chrono_literals;
using Call = std::pair<std::string, Json>;

// About n million steps of the virtual machine, inserting nothing in the end.
std::string long_insert(int rows) {
  return "INSERT INTO t SELECT x + 1000000 FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT "
         "x + 1 FROM c LIMIT " +
         std::to_string(rows) + ") SELECT max(x) AS x FROM c)";
}

class Group : public ::testing::Test {
 protected:
  void SetUp() override {
    BareVfs::the().calm();
    open({{"path", "store.db"}, {"statement_max_ms", 100}});
  }
  void TearDown() override { BareVfs::the().calm(); }
  void open(Json options) {
    store.reset();
    store = std::make_unique<BareStore>(plugin_of(make_sql_kind),
                                        StoreOptions{.options = std::move(options)});
    must("CREATE TABLE IF NOT EXISTS t(n UNIQUE)");
  }
  static Call insert(int n, const char* how = "INSERT") {
    return {"execute", {{"sql", std::string(how) + " INTO t VALUES (?)"}, {"params", {n}}}};
  }
  static Call run(const std::string& text) { return {"execute", {{"sql", text}}}; }
  void must(const std::string& text) {
    const Reply r = store->call("execute", {{"sql", text}});
    ASSERT_TRUE(r.ok()) << text << ": " << r.message;
  }
  Json rows() { return store->call("query", {{"sql", "SELECT n FROM t ORDER BY n"}}).body["rows"]; }
  // [code, outcome] of each item of a batch.
  static Json outcomes(const Reply& r) {
    Json out = Json::array();
    for (const Json& item : r.body) out.push_back({item[0], item[1]["outcome"]});
    return out;
  }
  std::int64_t count() {
    return store->call("query", {{"sql", "SELECT count(*) FROM t"}}).body["rows"][0][0];
  }
  std::unique_ptr<BareStore> store;
};

TEST_F(Group, ManyCallsOneSync) {
  open({{"path", "one.db"}, {"batch_ms", 1000}});
  std::vector<Call> calls;
  for (int i = 0; i < 200; ++i) calls.push_back(insert(i));
  const int before = BareVfs::the().wal_syncs;
  for (const Reply& r : store->together(calls)) {
    EXPECT_TRUE(r.ok()) << r.message;
    EXPECT_EQ(r.rows_affected, 1);
  }
  // One commit, and perhaps the log's header: not one a call.
  EXPECT_LE(BareVfs::the().wal_syncs - before, 4);
  EXPECT_EQ(count(), 200);
}

TEST_F(Group, BatchIsCutByTimeAndSize) {
  open({{"path", "b.db"}, {"batch_max", 10}, {"batch_ms", 1000}});
  std::vector<Call> calls;
  for (int i = 0; i < 100; ++i) calls.push_back(insert(i));
  const int before = BareVfs::the().wal_syncs;
  store->together(calls);
  EXPECT_GE(BareVfs::the().wal_syncs - before, 10);
  EXPECT_EQ(count(), 100);
}

TEST_F(Group, AFailureIsItsOwn) {
  const auto r = store->together({insert(1), insert(1), insert(2), run("SELEC"), insert(3)});
  EXPECT_TRUE(r[0].ok() && r[2].ok() && r[4].ok());
  EXPECT_EQ(r[1].code, HG_EXISTS);
  EXPECT_EQ(r[1].outcome, HG_REJECTED);
  EXPECT_EQ(r[3].sqlstate, "42601");
  EXPECT_EQ(rows(), (Json{{1}, {2}, {3}}));
}

TEST_F(Group, AHalfDoneCallIsUndone) {
  const Json many = {{"sql", "INSERT INTO t VALUES (?)"}, {"params", {{10}, {11}, {1}}}};
  const auto r = store->together({insert(1), {"execute_many", many}, insert(2)});
  EXPECT_EQ(r[1].code, HG_EXISTS);
  EXPECT_EQ(rows(), (Json{{1}, {2}}));
}

TEST_F(Group, InsertOrRollbackTakesNobodyAlong) {
  must("INSERT INTO t VALUES (0)");
  const auto r = store->together({insert(1), insert(1), insert(0, "INSERT OR ROLLBACK"), insert(2),
                                  insert(3, "INSERT OR ROLLBACK")});
  EXPECT_TRUE(r[0].ok() && r[3].ok() && r[4].ok());
  EXPECT_EQ(r[0].rows_affected, 1);
  EXPECT_EQ(r[1].code, HG_EXISTS);
  EXPECT_EQ(r[2].code, HG_EXISTS);
  EXPECT_EQ(r[2].outcome, HG_ROLLED_BACK);
  EXPECT_EQ(rows(), (Json{{0}, {1}, {2}, {3}}));
}

TEST_F(Group, RollbackInsideSeveralStatementsCommitsNothingByItself) {
  must("INSERT INTO t VALUES (0)");
  const Json items =
      Json::array({Json::array({"execute", {{"sql", "INSERT INTO t VALUES (7)"}}}),
                   Json::array({"execute", {{"sql", "INSERT OR ROLLBACK INTO t VALUES (0)"}}}),
                   Json::array({"execute", {{"sql", "INSERT INTO t VALUES (8)"}}})});
  for (const bool atomic : {false, true}) {
    const auto r =
        store->together({insert(1), {"batch", {{"atomic", atomic}, {"items", items}}}, insert(2)});
    EXPECT_TRUE(r[0].ok() || atomic);
    ASSERT_TRUE(r[1].ok()) << r[1].message;
    EXPECT_EQ(outcomes(r[1]), (Json{{HG_TRANSACTION_ABORTED, HG_ROLLED_BACK},
                                    {HG_EXISTS, HG_ROLLED_BACK},
                                    {HG_TRANSACTION_ABORTED, HG_REJECTED}}));
    EXPECT_EQ(rows(), (Json{{0}, {1}, {2}}));
  }
}

// What an item did is undone by a later one's ROLLBACK: it says so, and nobody else is harmed.
TEST_F(Group, AnItemThatRollsBackTellsForItsWholeBatch) {
  must("INSERT INTO t VALUES (0)");
  must(
      "CREATE TRIGGER tr BEFORE INSERT ON t WHEN NEW.n = 13 BEGIN SELECT RAISE(ROLLBACK, "
      "'unlucky'); END");
  must("CREATE TABLE u(n UNIQUE ON CONFLICT ROLLBACK)");
  must("INSERT INTO u VALUES (0)");
  int n = 20;
  for (const char* text : {"INSERT OR ROLLBACK INTO t VALUES (0)", "INSERT INTO t VALUES (13)",
                           "INSERT INTO u VALUES (0)"}) {
    const auto item = [](const Call& c) { return Json::array({c.first, c.second}); };
    const Json batch = {{"atomic", false},
                        {"items", Json::array({item(insert(7)), item(insert(0)), item(run(text)),
                                               item(insert(8))})}};
    const Json expected = {
        {HG_TRANSACTION_ABORTED, HG_ROLLED_BACK},
        {HG_EXISTS, HG_REJECTED},
        {std::string(text).ends_with("(13)") ? HG_CONSTRAINT : HG_EXISTS, HG_ROLLED_BACK},
        {HG_TRANSACTION_ABORTED, HG_REJECTED}};
    const Call whole = {"batch", batch};
    const auto r = store->together({insert(n + 1), whole, insert(n + 2), whole, insert(n + 3)});
    n += 3;
    for (const std::size_t i : {0, 2, 4}) {
      EXPECT_TRUE(r[i].ok()) << r[i].message;
      EXPECT_EQ(r[i].rows_affected, 1);
    }
    for (const std::size_t i : {1, 3}) EXPECT_EQ(outcomes(r[i]), expected) << text;
    // Alone, and under a key, which keeps no record of it.
    EXPECT_EQ(outcomes(store->call("batch", batch)), expected);
    for (int i = 0; i < 2; ++i) {
      const Reply keyed = store->call("batch", batch, {.key = text});
      EXPECT_EQ(outcomes(keyed), expected);
      EXPECT_EQ(keyed.flags & HG_DONE_REPLAYED, 0u);
    }
    EXPECT_EQ(count(), n - 19);
  }
  // In a caller's transaction the whole of it is gone, and the call says so.
  const Reply begun = store->call("begin", Json::object());
  const Json item = Json::array({"execute", {{"sql", "INSERT INTO t VALUES (13)"}}});
  const Json batch = {{"atomic", false}, {"items", Json::array({item})}};
  const Reply r = store->call("batch", batch, {.lease = begun.lease_id});
  EXPECT_EQ(r.outcome, HG_ROLLED_BACK);
  EXPECT_EQ(r.lease, HG_LEASE_FAILED);
  store->call("rollback", Json::object(), {.lease = begun.lease_id});
}

TEST_F(Group, TriggerRaiseRollback) {
  must(
      "CREATE TRIGGER tr BEFORE INSERT ON t WHEN NEW.n = 13 BEGIN SELECT RAISE(ROLLBACK, "
      "'unlucky'); END");
  const auto r = store->together({insert(1), insert(13), insert(2)});
  EXPECT_TRUE(r[0].ok() && r[2].ok());
  EXPECT_EQ(r[1].code, HG_CONSTRAINT);
  EXPECT_EQ(r[1].message, "unlucky");
  EXPECT_EQ(rows(), (Json{{1}, {2}}));
}

TEST_F(Group, DeferredForeignKeyFailsItsOwnCall) {
  must("CREATE TABLE k(r REFERENCES t(n) DEFERRABLE INITIALLY DEFERRED)");
  const auto r = store->together(
      {insert(1), run("INSERT INTO k VALUES (99)"), insert(2), run("INSERT INTO k VALUES (1)")});
  EXPECT_TRUE(r[0].ok() && r[2].ok() && r[3].ok());
  EXPECT_EQ(r[1].sqlstate, "23503");
  EXPECT_EQ(r[1].outcome, HG_REJECTED);
  EXPECT_EQ(rows(), (Json{{1}, {2}}));
}

TEST_F(Group, CancelledMemberEndsAlone) {
  store->hold_writer();
  auto a = store->start("execute", insert(1).second);
  auto slow =
      store->start("execute", {{"sql", long_insert(2'000'000'000)}}, {.timeout_ms = 60'000});
  auto b = store->start("execute", insert(2).second);
  store->release_writer();
  std::this_thread::sleep_for(30ms);
  store->cancel(slow);
  const Reply r = store->wait(slow);
  EXPECT_EQ(r.code, HG_CANCELLED);
  EXPECT_EQ(r.outcome, HG_ROLLED_BACK);
  EXPECT_EQ(r.sqlstate, "57014");
  EXPECT_TRUE(store->wait(a).ok());
  EXPECT_TRUE(store->wait(b).ok());
  EXPECT_EQ(rows(), (Json{{1}, {2}}));
}

TEST_F(Group, DeadlineOfOneMember) {
  const auto started = std::chrono::steady_clock::now();
  const auto r = store->together({insert(1), run(long_insert(2'000'000'000)), insert(2)},
                                 {{}, {.timeout_ms = 60}, {}});
  EXPECT_TRUE(r[0].ok() && r[2].ok());
  EXPECT_EQ(r[1].code, HG_DEADLINE);
  EXPECT_EQ(r[1].outcome, HG_ROLLED_BACK);
  EXPECT_LT(std::chrono::steady_clock::now() - started, 3s);
  EXPECT_EQ(rows(), (Json{{1}, {2}}));
}

TEST_F(Group, WhoWaitsBehindASlowCallIsToldInTime) {
  open({{"path", "slow.db"}, {"statement_max_ms", 60'000}});
  store->hold_writer();
  auto a = store->start("execute", insert(1).second);
  auto slow =
      store->start("execute", {{"sql", long_insert(2'000'000'000)}}, {.timeout_ms = 60'000});
  auto b = store->start("execute", insert(2).second, {.timeout_ms = 300});
  auto c = store->start("execute", insert(3).second);
  const auto released = std::chrono::steady_clock::now();
  store->release_writer();
  const Reply late = store->wait(b);
  EXPECT_EQ(late.code, HG_DEADLINE);
  EXPECT_EQ(late.outcome, HG_NOT_SENT);
  EXPECT_TRUE(store->wait(a).ok());
  EXPECT_TRUE(store->wait(c).ok());
  EXPECT_LT(std::chrono::steady_clock::now() - released, 5s);
  store->cancel(slow);
  EXPECT_EQ(store->wait(slow).code, HG_CANCELLED);
  EXPECT_EQ(rows(), (Json{{1}, {3}}));
}

TEST_F(Group, WhatIsCutWhileItReadsRunsAgainAlone) {
  // An interrupted SELECT leaves the transaction as it was, unlike an interrupted INSERT.
  const Json items = Json::array(
      {Json::array({"execute", {{"sql", "INSERT INTO t VALUES (7)"}}}),
       Json::array({"query",
                    {{"sql",
                      "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT "
                      "1500000) SELECT max(x) FROM c"}}})});
  const auto r = store->together({insert(1), {"batch", {{"items", items}}}, insert(2)},
                                 {{}, {.timeout_ms = 60'000}, {.timeout_ms = 30'000}});
  for (const Reply& x : r) EXPECT_TRUE(x.ok()) << x.message;
  EXPECT_EQ(count(), 3);
}

TEST_F(Group, ALongStatementGetsItsTimeAlone) {
  // Longer than statement_max_ms (100), within its own deadline; the others do not wait for it.
  const auto r = store->together({insert(1), run(long_insert(700'000)), insert(2)},
                                 {{}, {.timeout_ms = 60'000}, {}});
  for (const Reply& x : r) EXPECT_TRUE(x.ok()) << x.message;
  EXPECT_EQ(count(), 3);
}

TEST_F(Group, SyncFailsOnce) {
  BareVfs::the().fail_syncs = 1;
  const auto r = store->together({insert(1), insert(1), insert(2)});
  EXPECT_TRUE(r[0].ok()) << r[0].message;
  EXPECT_EQ(r[1].code, HG_EXISTS);
  EXPECT_TRUE(r[2].ok());
  EXPECT_EQ(rows(), (Json{{1}, {2}}));
}

TEST_F(Group, DiskFullAtCommit) {
  BareVfs::the().write_code = 13;  // SQLITE_FULL
  BareVfs::the().fail_writes = -1;
  auto r = store->together({insert(1), insert(2)});
  for (const Reply& x : r) {
    EXPECT_EQ(x.code, HG_STORE_ERROR);
    EXPECT_EQ(x.sqlstate, "53100");
    EXPECT_EQ(x.outcome, HG_ROLLED_BACK);
  }
  EXPECT_EQ(rows(), Json::array());  // reading goes on
  BareVfs::the().calm();
  r = store->together({insert(1), insert(2)});
  EXPECT_TRUE(r[0].ok() && r[1].ok());
  EXPECT_EQ(count(), 2);
}

TEST_F(Group, SyncFailsForEver) {
  BareVfs::the().fail_syncs = -1;
  const auto r = store->together({insert(1), insert(2)});
  for (const Reply& x : r) {
    EXPECT_EQ(x.sqlstate, "58030");
    EXPECT_EQ(x.outcome, HG_UNKNOWN);  // what a power cut would leave behind nobody knows
    EXPECT_EQ(x.connection, HG_CONN_BROKEN);
  }
}

TEST_F(Group, IoErrorInTheMiddleOfABatch) {
  // The cache is small, so a large call writes pages to the log before the commit.
  open({{"path", "small.db"}, {"cache_bytes", 65536}});
  BareVfs::the().write_code = 10;  // SQLITE_IOERR
  BareVfs::the().fail_writes = 1;
  const auto r =
      store->together({insert(1),
                       run("INSERT INTO t SELECT value || hex(randomblob(900)) FROM json_each('[" +
                           [] {
                             std::string s = "1";
                             for (int i = 2; i < 600; ++i) s += "," + std::to_string(i);
                             return s;
                           }() +
                           "]')"),
                       insert(2)});
  EXPECT_TRUE(r[0].ok()) << r[0].message;
  EXPECT_TRUE(r[1].ok()) << r[1].message;  // again, alone
  EXPECT_TRUE(r[2].ok()) << r[2].message;
  EXPECT_EQ(count(), 601);
}

TEST_F(Group, WritersAndReturningStayApart) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 16; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 40; ++k) {
        const int n = i * 1000 + k;
        const Reply r = store->call(
            "execute", {{"sql", "INSERT INTO t VALUES (?) RETURNING n"}, {"params", {n}}});
        if (r.ok() && r.body["rows"] == Json{{n}}) ++good;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(good, 16 * 40);
  EXPECT_EQ(count(), 16 * 40);
}

// A cancel reaches the call it names or none.
TEST_F(Group, CancelStorm) {
  std::atomic<int> applied{0};
  std::atomic<int> stray{0};
  std::atomic<int> hit{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] {
      for (int k = 0; k < 150; ++k) {
        const int n = i * 100000 + k;
        auto t = store->start(
            "execute", {{"sql",
                         "INSERT INTO t SELECT ? FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL "
                         "SELECT x + 1 FROM c LIMIT 300) SELECT count(*) FROM c)"},
                        {"params", {n}}});
        const bool cancel = k % 2 == 0;
        if (cancel) {
          if (k % 4 == 0) std::this_thread::sleep_for(std::chrono::microseconds(k * 3));
          store->cancel(t);
        }
        const Reply r = store->wait(t);
        if (r.ok())
          ++applied;
        else if (r.code == HG_CANCELLED && cancel)
          ++hit;
        else
          ++stray;
      }
    });
  for (auto& t : threads) t.join();
  EXPECT_EQ(stray, 0);
  EXPECT_EQ(count(), applied);
  EXPECT_EQ(applied + hit, 8 * 150);
}

class Keys : public Group {
 protected:
  Reply keyed(const std::string& key, const Json& body, const std::string& service = "a") {
    return store->call("execute", body, {.key = key, .service = service});
  }
};

TEST_F(Keys, ARepeatIsAnsweredFromTheRecord) {
  const Json body = {{"sql", "INSERT INTO t VALUES (?) RETURNING n"}, {"params", {5}}};
  Reply r = keyed("k", body);
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(r.flags & HG_DONE_REPLAYED, 0u);
  const Json first = r.body;
  store->close_connections();
  r = keyed("k", body);
  EXPECT_TRUE(r.ok()) << r.message;
  EXPECT_NE(r.flags & HG_DONE_REPLAYED, 0u);
  EXPECT_EQ(r.body, first);
  EXPECT_EQ(r.rows_affected, 1);
  EXPECT_EQ(r.last_id, 1);
  EXPECT_EQ(count(), 1);
  EXPECT_EQ(keyed("k", {{"sql", "SELECT 1"}}).code, HG_CONFLICT);
  // Another service has its own keys.
  EXPECT_EQ(keyed("k", body, "b").code, HG_EXISTS);
}

TEST_F(Keys, InOneBatchTheSecondIsTheRepeat) {
  const Json body = insert(9).second;
  const auto r =
      store->together({{"execute", body}, {"execute", body}}, {{.key = "x"}, {.key = "x"}});
  EXPECT_TRUE(r[0].ok() && r[1].ok()) << r[1].message;
  EXPECT_EQ((r[0].flags | r[1].flags) & HG_DONE_REPLAYED, static_cast<unsigned>(HG_DONE_REPLAYED));
  EXPECT_EQ(count(), 1);
}

TEST_F(Keys, AFailureLeavesNoRecord) {
  must("INSERT INTO t VALUES (1)");
  EXPECT_EQ(keyed("f", insert(1).second).code, HG_EXISTS);
  must("DELETE FROM t");
  Reply r = keyed("f", insert(1).second);
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(r.flags & HG_DONE_REPLAYED, 0u);
}

TEST_F(Keys, ALargeReplyIsRecordedWithoutItsBody) {
  const Json body = {{"sql", "INSERT INTO t VALUES (1) RETURNING hex(zeroblob(50000))"}};
  EXPECT_EQ(keyed("big", body).body["rows"][0][0].get<std::string>().size(), 100'000u);
  const Reply r = keyed("big", body);
  EXPECT_TRUE(r.ok());
  EXPECT_EQ(r.body, nullptr);
  EXPECT_EQ(r.rows_affected, 1);
}

TEST_F(Keys, TheyExpireAndArePurged) {
  open({{"path", "exp.db"}, {"keep_keys_ms", 1000}});
  for (int i = 0; i < 150; ++i) EXPECT_TRUE(keyed("k" + std::to_string(i), insert(i).second).ok());
  must("DELETE FROM t");
  std::this_thread::sleep_for(1100ms);
  EXPECT_EQ(keyed("k0", insert(0).second).flags & HG_DONE_REPLAYED, 0u);
  std::int64_t left = 150;
  for (int i = 0; i < 50 && left > 5; ++i) {
    store->together({insert(1000 + i * 2), insert(1001 + i * 2)});
    sqlite3* db = nullptr;
    sqlite3_open((store->dir() + "/exp.db").c_str(), &db);
    sqlite3_stmt* s = nullptr;
    sqlite3_prepare_v2(db, "SELECT count(*) FROM headgate_idempotency", -1, &s, nullptr);
    sqlite3_step(s);
    left = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
  }
  EXPECT_LE(left, 5);
}

TEST_F(Keys, AStreamHasNone) {
  EXPECT_EQ(store->call("query", {{"sql", "SELECT 1"}}, {.fetch = 5, .key = "s"}).code, HG_INVALID);
}

}  // namespace
}  // namespace headgate::sqlite::test
