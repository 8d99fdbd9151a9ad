// Files that are not there, not ours, locked or too large; streams; backup; a process that is
// killed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "plugins/sqlite/database.hpp"
#include "tests/unit/sqlite/bare_host.hpp"
#include "tests/unit/sqlite/bare_vfs.hpp"

namespace headgate::sqlite::test {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

Json sql(const std::string& text) { return {{"sql", text}}; }
constexpr const char* kMillion =
    "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 1000000) SELECT x, 'row "
    "' || x FROM c";

std::int64_t resident_kib() {
  std::ifstream f("/proc/self/statm");
  std::int64_t total = 0, resident = 0;
  f >> total >> resident;
  return resident * 4;
}

TEST(Faults, OptionsAreChecked) {
  const auto error = [](Json options) -> std::string {
    try {
      BareStore s(plugin_of(make_sql_kind), {.options = std::move(options)});
      return "";
    } catch (const std::runtime_error& e) {
      return e.what();
    }
  };
  EXPECT_THAT(error(Json::object()), HasSubstr("`path` is missing"));
  EXPECT_THAT(error({{"path", 5}}), HasSubstr("`path`"));
  EXPECT_THAT(error({{"path", "x"}, {"synchronous", "off"}}), HasSubstr("\"full\" or \"normal\""));
  EXPECT_THAT(error({{"path", "x"}, {"batch_max", 0}}),
              HasSubstr("`batch_max` must be an integer from 1 to 512"));
  EXPECT_THAT(error({{"path", "x"}, {"batchmax", 5}}), HasSubstr("unknown option `batchmax`"));
  EXPECT_EQ(error({{"path", "x"}, {"synchronous", "normal"}, {"readers", 1}}), "");
}

TEST(Faults, FilesThatCannotBeOpened) {
  const auto open = [](const std::string& path) {
    BareStore s(plugin_of(make_sql_kind), {.options = {{"path", path}}});
    const Reply w = s.call("execute", sql("CREATE TABLE t(a)"));
    const Reply r = s.call("query", sql("SELECT 1"));
    EXPECT_EQ(w.code, HG_UNAVAILABLE) << w.message;
    EXPECT_EQ(w.outcome, HG_NOT_SENT);
    EXPECT_EQ(r.code, HG_UNAVAILABLE) << r.message;
    EXPECT_THAT(w.message, HasSubstr(path));
    return w.message;
  };
  EXPECT_THAT(open("/nonexistent/dir/x.db"),
              HasSubstr("/nonexistent/dir cannot be reached (No such file"));
  EXPECT_THAT(open("/proc"), HasSubstr("directory"));
  std::string dir = (std::filesystem::temp_directory_path() / "hg-faults-XXXXXX").string();
  ASSERT_NE(::mkdtemp(dir.data()), nullptr);
  std::ofstream(dir + "/text.db") << std::string(8192, 'x');
  EXPECT_THAT(open(dir + "/text.db"), HasSubstr("not a SQLite database"));
  std::ifstream back(dir + "/text.db");
  std::string kept((std::istreambuf_iterator<char>(back)), {});
  EXPECT_EQ(kept, std::string(8192, 'x'));  // not touched
  if (::geteuid() != 0) {
    ::mkdir((dir + "/locked").c_str(), 0500);
    open(dir + "/locked/x.db");
  }
  std::filesystem::remove_all(dir);
}

TEST(Faults, NewFilesAreTheOwnersAlone) {
  BareStore s(plugin_of(make_sql_kind));
  ASSERT_TRUE(s.call("execute", sql("CREATE TABLE t(a)")).ok());
  struct stat st {};
  for (const char* name : {"/store.db", "/store.db-wal", "/store.db-shm"}) {
    ASSERT_EQ(::stat((s.dir() + name).c_str(), &st), 0) << name;
    EXPECT_EQ(st.st_mode & 0777, 0600u) << name;
  }
}

TEST(Faults, AnotherProcessHoldsTheLock) {
  BareStore s(plugin_of(make_sql_kind), {.options = {{"path", "l.db"}, {"busy_timeout_ms", 100}}});
  ASSERT_TRUE(s.call("execute", sql("CREATE TABLE t(a)")).ok());
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open((s.dir() + "/l.db").c_str(), &other), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr), SQLITE_OK);
  for (const Reply& r : s.together({{"execute", sql("INSERT INTO t VALUES (1)")},
                                    {"execute", sql("INSERT INTO t VALUES (2)")}})) {
    EXPECT_EQ(r.code, HG_CONFLICT);
    EXPECT_EQ(r.sqlstate, "55P03");
    EXPECT_EQ(r.outcome, HG_REJECTED);
    EXPECT_EQ(r.retry, HG_RETRY_BACKOFF);
  }
  EXPECT_TRUE(s.call("query", sql("SELECT 1 FROM t")).ok());
  sqlite3_close(other);
  EXPECT_TRUE(s.call("execute", sql("INSERT INTO t VALUES (1)")).ok());
}

TEST(Faults, ReadOnlyCannotWriteEvenOnTheReadersConnection) {
  BareStore s(plugin_of(make_sql_kind));
  ASSERT_TRUE(s.call("execute", sql("CREATE TABLE t(a)")).ok());
  BareHost& host = BareHost::the();
  Options options;
  Database db(&host, s.dir() + "/store.db", Database::Mode::read, options);
  EXPECT_THROW(db.exec("INSERT INTO t VALUES (1)"), sdk::Error);
  EXPECT_THROW(db.exec("CREATE TABLE u(a)"), sdk::Error);
}

TEST(Stream, AMillionRowsInBoundedMemory) {
  BareStore s(plugin_of(make_sql_kind));
  ASSERT_TRUE(s.call("query", sql("SELECT 1")).ok());
  [[maybe_unused]] const std::int64_t before = resident_kib();
  std::int64_t rows = 0;
  std::int64_t parts = 0;
  std::int64_t most = 0;
  CallOptions o{.timeout_ms = 120'000, .fetch = 100'000};
  o.on_part = [&](proto::Bytes part) {
    EXPECT_LE(part.size(), (256u << 10) + 64);
    proto::Cursor c(part);
    for (std::uint32_t n = c.read_map(); n > 0; --n) {
      if (c.read_str() != "rows") {
        c.skip();
        continue;
      }
      rows += c.read_array();
      break;
    }
    ++parts;
    most = std::max(most, resident_kib());
    return true;
  };
  const Reply r = s.call("query", sql(kMillion), o);
  ASSERT_TRUE(r.ok()) << r.message;
  rows += static_cast<std::int64_t>(r.body["rows"].size());
  EXPECT_EQ(rows, 1'000'000);
  EXPECT_GT(parts, 20);
#ifndef __SANITIZE_ADDRESS__  // it keeps freed memory back
  EXPECT_LT(most - before, 32 * 1024);
#endif
}

TEST(Stream, CancelledMidway) {
  BareStore s(plugin_of(make_sql_kind), {.readers = 1});
  int parts = 0;
  CallOptions o{.timeout_ms = 60'000, .fetch = 1000};
  o.on_part = [&](proto::Bytes) { return ++parts < 3; };
  const Reply r = s.call("query", sql(kMillion), o);
  EXPECT_EQ(r.code, HG_CANCELLED);
  EXPECT_EQ(parts, 3);
  EXPECT_EQ(s.call("query", sql("SELECT 5")).body["rows"], (Json{{5}}));
  // From another thread, in the middle of a statement that gives no row and runs one long opcode.
  ASSERT_TRUE(s.call("execute", sql("CREATE TABLE big(a)")).ok());
  auto t = s.start(
      "query", sql("SELECT count(*) FROM (" + std::string(kMillion) + ") a, (" + kMillion + ") b"),
      {.timeout_ms = 60'000});
  std::this_thread::sleep_for(50ms);
  s.cancel(t);
  EXPECT_EQ(s.wait(t).code, HG_CANCELLED);
  EXPECT_EQ(s.call("query", sql("SELECT 6")).body["rows"], (Json{{6}}));
}

TEST(Stream, DeadlineStopsAQuery) {
  BareStore s(plugin_of(make_sql_kind));
  const auto started = std::chrono::steady_clock::now();
  const Reply r = s.call(
      "query", sql("SELECT count(*) FROM (" + std::string(kMillion) + ") a, (" + kMillion + ") b"),
      {.timeout_ms = 150});
  EXPECT_EQ(r.code, HG_DEADLINE);
  EXPECT_LT(std::chrono::steady_clock::now() - started, 2s);
}

TEST(Stream, InsertReturningStreamsFromTheWriter) {
  BareStore s(plugin_of(make_sql_kind));
  ASSERT_TRUE(s.call("execute", sql("CREATE TABLE t(a)")).ok());
  const Reply r =
      s.call("execute", sql("INSERT INTO t SELECT value FROM json_each('[1,2,3,4,5]') RETURNING a"),
             {.fetch = 2});
  ASSERT_TRUE(r.ok()) << r.message;
  EXPECT_EQ(r.parts.size(), 2u);
  EXPECT_EQ(r.body["rows"], (Json{{5}}));
  EXPECT_EQ(r.rows_affected, 5);
}

TEST(Cache, ForgetsTheOldestStatement) {
  BareStore s(plugin_of(make_sql_kind), {.options = {{"path", "c.db"}, {"statements_max", 3}}});
  for (int round = 0; round < 3; ++round)
    for (int i = 0; i < 10; ++i)
      EXPECT_EQ(s.call("query", sql("SELECT " + std::to_string(i))).body["rows"][0][0], i);
  BareStore none(plugin_of(make_sql_kind), {.options = {{"path", "c.db"}, {"statements_max", 0}}});
  EXPECT_EQ(none.call("query", sql("SELECT 1")).body["rows"][0][0], 1);
}

TEST(Backup, IsOneStateWhileOthersWrite) {
  BareStore s(plugin_of(make_sql_kind));
  ASSERT_TRUE(s.call("execute", sql("CREATE TABLE t(a, b)")).ok());
  ASSERT_TRUE(
      s.call("execute", sql("INSERT INTO t SELECT value, hex(randomblob(2000)) FROM json_each('[" +
                            [] {
                              std::string x = "0";
                              for (int i = 1; i < 2000; ++i) x += ",0";
                              return x;
                            }() +
                            "]')"))
          .ok());
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    // Each call adds one to every row: a copy of one state has one value.
    while (!stop) s.call("execute", sql("UPDATE t SET a = a + 1"));
  });
  std::this_thread::sleep_for(50ms);
  const std::string copy = s.dir() + "/copy.db";
  std::ofstream out(copy, std::ios::binary);
  CallOptions o{.timeout_ms = 60'000, .access = HG_ACCESS_ADMIN, .fetch = 1};
  o.on_part = [&](proto::Bytes part) {
    proto::Cursor c(part);
    const proto::Bytes b = c.read_bin();
    EXPECT_TRUE(c.ok() && c.at_end());
    out.write(reinterpret_cast<const char*>(b.data()), static_cast<std::streamsize>(b.size()));
    return true;
  };
  const Reply r = s.call("backup", Json::object(), o);
  stop = true;
  writer.join();
  ASSERT_TRUE(r.ok()) << r.message;
  EXPECT_EQ(r.body, nullptr);
  out.close();
  BareStore restored(plugin_of(make_sql_kind), {.options = {{"path", copy}}});
  EXPECT_EQ(restored.call("query", sql("SELECT count(*), count(DISTINCT a) FROM t")).body["rows"],
            (Json{{2000, 1}}));
  for (const auto& e : std::filesystem::directory_iterator(s.dir()))
    EXPECT_THAT(e.path().string(), ::testing::Not(HasSubstr("backup-")));
}

TEST(Log, StaysBoundedWhileReadersOverlap) {
  BareStore s(plugin_of(make_sql_kind),
              {.options = {{"path", "w.db"}, {"wal_truncate_bytes", 1 << 20}}});
  ASSERT_TRUE(s.call("execute", sql("CREATE TABLE t(a, b)")).ok());
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i)
    readers.emplace_back([&] {
      while (!stop)
        s.call("query", sql("SELECT count(*), max(b) FROM (SELECT * FROM t LIMIT 300)"));
    });
  std::uintmax_t most = 0;
  for (int i = 0; i < 150; ++i) {
    ASSERT_TRUE(
        s.call("execute", sql("INSERT INTO t SELECT value, hex(randomblob(4000)) FROM "
                              "json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]')"))
            .ok());
    most = std::max(most, std::filesystem::file_size(s.dir() + "/w.db-wal"));
  }
  stop = true;
  for (auto& t : readers) t.join();
  EXPECT_LT(most, 14u << 20) << "of about 24 MiB written";
}

TEST(Crash, WhatWasAcknowledgedIsThere) {
  std::string dir = (std::filesystem::temp_directory_path() / "hg-crash-XXXXXX").string();
  ASSERT_NE(::mkdtemp(dir.data()), nullptr);
  std::int64_t all = 0;
  for (int round = 0; round < 3; ++round) {
    int pipe_fd[2];
    ASSERT_EQ(::pipe(pipe_fd), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      BareStore s(plugin_of(make_sql_kind), {.dir = dir});
      s.call("execute", sql("CREATE TABLE IF NOT EXISTS t(n INTEGER PRIMARY KEY)"));
      std::atomic<int> next{round * 1'000'000};
      std::vector<std::thread> threads;
      for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] {
          for (;;) {
            const int n = next++;
            if (!s.call("execute", {{"sql", "INSERT INTO t VALUES (?)"}, {"params", {n}}}).ok())
              continue;
            if (::write(pipe_fd[1], &n, sizeof n) != sizeof n) ::_exit(1);
          }
        });
      threads[0].join();
      ::_exit(2);
    }
    ::close(pipe_fd[1]);
    std::vector<int> acknowledged;
    int n = 0;
    while (acknowledged.size() < 300 && ::read(pipe_fd[0], &n, sizeof n) == sizeof n)
      acknowledged.push_back(n);
    ::kill(child, SIGKILL);
    while (::read(pipe_fd[0], &n, sizeof n) == sizeof n) acknowledged.push_back(n);
    ::close(pipe_fd[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status));
    EXPECT_GE(acknowledged.size(), 300u);
    sqlite3* db = nullptr;
    ASSERT_EQ(sqlite3_open((dir + "/store.db").c_str(), &db), SQLITE_OK);
    sqlite3_stmt* st = nullptr;
    ASSERT_EQ(sqlite3_prepare_v2(db, "SELECT 1 FROM t WHERE n = ?", -1, &st, nullptr), SQLITE_OK);
    for (const int k : acknowledged) {
      sqlite3_bind_int(st, 1, k);
      EXPECT_EQ(sqlite3_step(st), SQLITE_ROW) << "acknowledged and lost: " << k;
      sqlite3_reset(st);
    }
    sqlite3_finalize(st);
    sqlite3_close(db);
    all += static_cast<std::int64_t>(acknowledged.size());
  }
  EXPECT_GE(all, 900);
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace headgate::sqlite::test
