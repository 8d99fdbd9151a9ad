// bench-direct-sqlite: N processes that open the SQLite file themselves, as services without a
// gateway do. WAL, synchronous=FULL, busy_timeout 10 s; one autocommitted insert, or one prepared
// select by key, at a time.
#include <sqlite3.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

namespace {

double seconds_since(std::chrono::steady_clock::time_point t) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - t).count();
}

void must(int rc, sqlite3* db, const char* what) {
  if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW) return;
  std::fprintf(stderr, "bench-direct-sqlite: %s: %s\n", what, sqlite3_errmsg(db));
  std::_Exit(1);
}

// One process: the number of statements that it got done.
long work(const std::string& file, const std::string& sql, long keys, double seconds,
          unsigned seed) {
  sqlite3* db = nullptr;
  must(sqlite3_open(file.c_str(), &db), db, "open");
  sqlite3_busy_timeout(db, 10'000);
  must(sqlite3_exec(db, "pragma journal_mode=wal; pragma synchronous=full", nullptr, nullptr,
                    nullptr),
       db, "pragma");
  sqlite3_stmt* stmt = nullptr;
  must(sqlite3_prepare_v2(db, sql.c_str(), -1, &stmt, nullptr), db, "prepare");
  std::mt19937_64 random(seed);
  const auto begun = std::chrono::steady_clock::now();
  long done = 0;
  while (seconds_since(begun) < seconds) {
    if (sqlite3_bind_parameter_count(stmt) > 0)
      sqlite3_bind_int64(stmt, 1,
                         static_cast<sqlite3_int64>(random() % static_cast<std::uint64_t>(keys)));
    int rc = sqlite3_step(stmt);
    while (rc == SQLITE_ROW) rc = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    if (rc == SQLITE_BUSY) continue;
    must(rc, db, "step");
    ++done;
  }
  sqlite3_finalize(stmt);
  sqlite3_close(db);
  return done;
}

}  // namespace

int main(int argc, char** argv) {
  std::string file, sql;
  int processes = 8;
  long keys = 100'000;
  double seconds = 5;
  CLI::App app{"What N processes reach that open the SQLite file themselves."};
  app.add_option("--file", file, "the database file")->required();
  app.add_option("--sql", sql, "the statement; its one parameter is a random integer below --keys")
      ->required();
  app.add_option("--processes", processes, "how many")->check(CLI::Range(1, 256));
  app.add_option("--keys", keys, "range of the parameter");
  app.add_option("--seconds", seconds, "how long");
  CLI11_PARSE(app, argc, argv);
  std::vector<int> pipes;
  for (int p = 0; p < processes; ++p) {
    int ends[2];
    if (pipe(ends) != 0) return 1;
    if (fork() == 0) {
      const long done = work(file, sql, keys, seconds, static_cast<unsigned>(p) + 1);
      std::_Exit(write(ends[1], &done, sizeof done) == sizeof done ? 0 : 1);
    }
    close(ends[1]);
    pipes.push_back(ends[0]);
  }
  long total = 0;
  for (int fd : pipes) {
    long done = 0;
    if (read(fd, &done, sizeof done) != sizeof done) return 1;
    total += done;
  }
  while (wait(nullptr) > 0) {
  }
  std::printf("{\"processes\": %d, \"statements_per_second\": %.1f}\n", processes,
              static_cast<double>(total) / seconds);
  return 0;
}
