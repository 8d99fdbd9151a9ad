// Database is one sqlite3 connection to one file, with its statement cache and guards.
//
// Owner:   a WriteConnection or a ReadConnection. Threads: its worker's, interrupt() excepted.
// Holds:   foreign keys on, DEFENSIVE, trusted_schema off, limits set, the authorizer installed.
//          Statements of callers may not touch transaction control, PRAGMA, ATTACH, temp objects or
//          anything named headgate_*; statements of ours (Trust::internal) may touch headgate_*.
#pragma once
#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "plugins/sdk/driver.hpp"

namespace headgate::sqlite {

enum class Trust { caller, internal };

// A prepared statement borrowed from the cache; reset and given back when it goes out of scope.
class Statement {
 public:
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  Statement(Statement&&) noexcept;
  ~Statement();

  [[nodiscard]] sqlite3_stmt* raw() const { return stmt_; }

  // Binding, 1-based. Memory bound is lent until the statement is reset.
  Statement& bind(int i, std::int64_t v);
  Statement& bind(int i, double v);
  Statement& bind(int i, std::string_view text);
  Statement& bind(int i, proto::Bytes blob);
  Statement& bind_null(int i);

  bool step();  // true: a row is there. Throws Error classified by errors.hpp.
  void run();   // step() until done
  void reset();

  // Columns of the current row, 0-based. Views live until the next step.
  [[nodiscard]] bool is_null(int c) const;
  [[nodiscard]] std::int64_t integer(int c) const;
  [[nodiscard]] double real(int c) const;
  [[nodiscard]] std::string_view text(int c) const;
  [[nodiscard]] proto::Bytes blob(int c) const;

 private:
  friend class Database;
  Statement(class Database* db, sqlite3_stmt* stmt) : db_(db), stmt_(stmt) {}
  class Database* db_;
  sqlite3_stmt* stmt_;
};

class Database {
 public:
  enum class Mode { write, read };
  // Opens `path`. Throws Error (unavailable, not_sent) that names the file and the reason.
  Database(const hg_host* host, const std::string& path, Mode mode, const struct Options& options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // A statement of the cache, or prepared now. Text must be one statement.
  Statement prepare(std::string_view sql, Trust trust = Trust::internal);

  [[nodiscard]] sqlite3* raw() const { return db_; }
  [[nodiscard]] Mode mode() const { return mode_; }
  [[nodiscard]] std::int64_t changes() const { return sqlite3_changes64(db_); }
  [[nodiscard]] std::int64_t last_id() const { return sqlite3_last_insert_rowid(db_); }
  void interrupt() { sqlite3_interrupt(db_); }  // any thread

  // A statement running longer than this (host clock) is interrupted; 0: no limit. Checked by the
  // progress handler, so it works without any other thread.
  void set_work_until(std::uint64_t us);

 private:
  struct Impl;
  sqlite3* db_ = nullptr;
  Mode mode_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace headgate::sqlite
