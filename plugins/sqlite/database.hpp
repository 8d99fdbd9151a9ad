// Database is one sqlite3 connection to one file, with its statement cache and guards.
//
// Owner:   a WriteConnection or a ReadConnection. Threads: its worker's, cancel() and interrupt()
//          excepted.
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
#include "plugins/sqlite/authorizer.hpp"
#include "plugins/sqlite/options.hpp"

namespace headgate::sqlite {

// A prepared statement borrowed from the cache; reset and given back when it goes out of scope.
class Statement {
 public:
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  Statement(Statement&& other) noexcept;
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

  // A place for what its user wants to remember with it; null when it is not in the cache.
  [[nodiscard]] std::shared_ptr<void>* note() const;

  // Columns of the current row, 0-based. Views live until the next step.
  [[nodiscard]] bool is_null(int c) const;
  [[nodiscard]] std::int64_t integer(int c) const;
  [[nodiscard]] double real(int c) const;
  [[nodiscard]] std::string_view text(int c) const;
  [[nodiscard]] proto::Bytes blob(int c) const;

 private:
  friend class Database;
  Statement(class Database* db, sqlite3_stmt* stmt, Trust trust, void* entry)
      : db_(db), stmt_(stmt), trust_(trust), entry_(entry) {}
  void check(int rc) const;
  class Database* db_;
  sqlite3_stmt* stmt_;
  Trust trust_;
  void* entry_;  // its place in the cache; null: finalized when given back
};

class Database {
 public:
  enum class Mode { write, read };
  // Why the running statement was told to stop.
  enum class Stop { none, cancelled, late };

  // Opens `path`. Throws Error (unavailable, not_sent) that names the file and the reason.
  Database(const hg_host* host, const std::string& path, Mode mode, const Options& options);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  // A statement of the cache, or prepared now. Text must be one statement. Throws Error.
  Statement prepare(std::string_view sql, Trust trust = Trust::internal);
  // prepare() and run(), for statements without parameters and rows.
  void exec(std::string_view sql) { prepare(sql).run(); }

  [[nodiscard]] sqlite3* raw() const { return db_; }
  [[nodiscard]] Mode mode() const { return mode_; }
  [[nodiscard]] std::int64_t changes() const { return sqlite3_changes64(db_); }
  [[nodiscard]] std::int64_t last_id() const { return sqlite3_last_insert_rowid(db_); }
  [[nodiscard]] bool in_transaction() const { return sqlite3_get_autocommit(db_) == 0; }
  // Whether the file was removed or another one put in its place: what is written is lost.
  [[nodiscard]] bool has_moved() const;
  // What to say of it; the next connection opens what is there now.
  [[nodiscard]] sdk::Error moved_error(sdk::Outcome outcome) const;
  void interrupt() { sqlite3_interrupt(db_); }  // any thread; hits whatever runs

  // Between these two, statements run for `op`: cancel(op) and the time limit (host clock, 0: none)
  // stop them, and only them. COMMIT, ROLLBACK and savepoints run outside, so nothing stops those.
  void begin_op(hg_op op, std::uint64_t work_until_us);
  void end_op();
  // Any thread. Stops op if it runs now; otherwise nothing happens. True: it was running.
  bool cancel(hg_op op);
  // Whether the present (or last) op was stopped, and why.
  [[nodiscard]] Stop stopped() const;
  // The error of a stopped statement: `cancelled`, or `deadline`; rejected.
  [[nodiscard]] sdk::Error stop_error() const;

  // A statement running longer than this (host clock) is interrupted; 0: no limit. Checked by the
  // progress handler, so it works without any other thread.
  void set_work_until(std::uint64_t us);

 private:
  friend class Statement;
  struct Impl;
  void open(const std::string& path, const Options& options);
  void configure(const std::string& path, const Options& options);
  void give_back(Statement& s);
  [[noreturn]] void refuse(int rc) const;
  sqlite3* db_ = nullptr;
  Mode mode_;
  std::unique_ptr<Impl> impl_;
};

// True when nothing but white space, comments and semicolons is in it.
bool is_blank(std::string_view sql);

}  // namespace headgate::sqlite
