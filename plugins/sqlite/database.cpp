// Opening, guarding and caching; see database.hpp.
#include "plugins/sqlite/database.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <list>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "plugins/sqlite/errors.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::size_t kCachedTextMax = 16u << 10;  // longer texts are prepared each time
constexpr int kSqlTextMax = 1 << 20;
constexpr int kProgressOps = 500;  // about 20 us of work between two looks at the clock

struct Cached {
  std::string text;
  Trust trust = Trust::caller;
  sqlite3_stmt* stmt = nullptr;
  bool lent = false;
  std::shared_ptr<void> note{};
};
using Lru = std::list<Cached>;  // most recently used first

std::string reason(const std::string& path, sqlite3* db, int rc) {
  const std::string dir = path.substr(0, path.rfind('/'));
  struct stat st {};
  std::string why = "cannot open " + path + ": ";
  if (::stat(dir.empty() ? "/" : dir.c_str(), &st) != 0)
    return why + "the directory " + dir + " cannot be reached (" + std::strerror(errno) + ")";
  if (::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return why + "it is a directory";
  if ((rc & 0xff) == SQLITE_NOTADB) return why + "it is not a SQLite database";
  why += db != nullptr ? sqlite3_errmsg(db) : sqlite3_errstr(rc);
  const int os = db != nullptr ? sqlite3_system_errno(db) : 0;
  if (os != 0) why += std::string(" (") + std::strerror(os) + ")";
  return why;
}

// What comes behind leading white space, comments and semicolons.
std::string_view after_blank(std::string_view s) {
  std::size_t i = 0;
  while (i < s.size()) {
    const char c = s[i];
    if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == ';') {
      ++i;
    } else if (c == '-' && s.substr(i, 2) == "--") {
      i = s.find('\n', i);
      if (i == std::string_view::npos) return {};
    } else if (c == '/' && s.substr(i, 2) == "/*") {
      i = s.find("*/", i + 2);
      if (i == std::string_view::npos) return {};
      i += 2;
    } else {
      break;
    }
  }
  return s.substr(i);
}

bool is_vacuum(std::string_view sql) {
  constexpr std::string_view kWord = "VACUUM";
  const std::string_view s = after_blank(sql);
  return s.size() >= kWord.size() && sqlite3_strnicmp(s.data(), kWord.data(), 6) == 0;
}

}  // namespace

bool is_blank(std::string_view sql) { return after_blank(sql).empty(); }

struct Database::Impl {
  const hg_host* host = nullptr;
  Authorizer authorizer;
  Lru lru;
  std::unordered_map<std::string_view, Lru::iterator> cache[2];
  std::size_t cached_max = 0;
  std::uint64_t busy_us = 0;
  std::uint64_t busy_since = 0;

  std::mutex op_mutex;  // guards op against cancel()
  hg_op op = 0;
  std::atomic<Stop> stop{Stop::none};  // what runs must end
  std::atomic<Stop> why{Stop::none};   // of the present or last op
  std::uint64_t work_until = 0;

  // True: what runs must end.
  bool must_stop() {
    if (stop.load(std::memory_order_relaxed) != Stop::none) return true;
    if (work_until == 0 || host->now_us(host) < work_until) return false;
    end(Stop::late);
    return true;
  }

  void end(Stop reason) {
    Stop none = Stop::none;
    if (why.compare_exchange_strong(none, reason)) stop = reason;
  }

  bool wait_for_lock(int tries) {
    const std::uint64_t now = host->now_us(host);
    if (tries == 0) busy_since = now;
    if (must_stop() || now - busy_since >= busy_us) return false;
    ::usleep(tries < 5 ? 500 : 5000);
    return true;
  }
};

Database::Database(const hg_host* host, const std::string& path, Mode mode, const Options& options)
    : mode_(mode), impl_(std::make_unique<Impl>()) {
  impl_->host = host;
  impl_->cached_max = static_cast<std::size_t>(options.statements_max);
  impl_->busy_us = static_cast<std::uint64_t>(options.busy_timeout_ms) * 1000;
  try {
    open(path, options);
    configure(path, options);
  } catch (...) {
    for (Cached& c : impl_->lru) sqlite3_finalize(c.stmt);
    sqlite3_close_v2(db_);
    throw;
  }
  impl_->authorizer.install(db_);
}

Database::~Database() {
  for (Cached& c : impl_->lru) sqlite3_finalize(c.stmt);
  sqlite3_close_v2(db_);
}

bool Database::has_moved() const {
  int moved = 0;
  sqlite3_file_control(db_, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
  return moved != 0;
}

sdk::Error Database::moved_error(sdk::Outcome outcome) const {
  sdk::Error e(sdk::Code::unavailable, outcome,
               std::string("the database file was removed or replaced: ") +
                   sqlite3_db_filename(db_, "main"));
  e.retry = HG_RETRY_NEW_CONNECTION;
  return e;
}

void Database::open(const std::string& path, const Options&) {
  int flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
  if (mode_ == Mode::write) {
    flags |= SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    // SQLite would make it readable for everybody. Only a file that is new is opened here: closing
    // a descriptor of a file that SQLite has open would drop its locks.
    const int fd =
        path == ":memory:" ? -1 : ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) ::close(fd);
  } else {
    flags |= SQLITE_OPEN_READONLY;
  }
  const int rc = sqlite3_open_v2(path.c_str(), &db_, flags, nullptr);
  if (rc == SQLITE_OK) return;
  sdk::Error e = error_from(rc, reason(path, db_, rc));
  e.code = sdk::Code::unavailable;
  e.outcome = sdk::Outcome::not_sent;
  throw e;
}

void Database::configure(const std::string& path, const Options& o) {
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_handler(
      db_,
      [](void* self, int tries) { return static_cast<Impl*>(self)->wait_for_lock(tries) ? 1 : 0; },
      impl_.get());
  sqlite3_progress_handler(
      db_, kProgressOps, [](void* self) { return static_cast<Impl*>(self)->must_stop() ? 1 : 0; },
      impl_.get());
  const int on[] = {SQLITE_DBCONFIG_ENABLE_FKEY, SQLITE_DBCONFIG_DEFENSIVE};
  const int off[] = {SQLITE_DBCONFIG_TRUSTED_SCHEMA,
                     SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION,
                     SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER,
                     SQLITE_DBCONFIG_DQS_DML,
                     SQLITE_DBCONFIG_DQS_DDL,
                     SQLITE_DBCONFIG_WRITABLE_SCHEMA};
  for (const int what : on) sqlite3_db_config(db_, what, 1, nullptr);
  for (const int what : off) sqlite3_db_config(db_, what, 0, nullptr);
  const std::pair<int, int> limits[] = {
      {SQLITE_LIMIT_LENGTH, static_cast<int>(o.value_max_bytes)},
      {SQLITE_LIMIT_SQL_LENGTH, kSqlTextMax},
      {SQLITE_LIMIT_COLUMN, 2000},
      {SQLITE_LIMIT_EXPR_DEPTH, 500},
      {SQLITE_LIMIT_COMPOUND_SELECT, 500},
      {SQLITE_LIMIT_VDBE_OP, 5'000'000},
      {SQLITE_LIMIT_FUNCTION_ARG, 127},
      {SQLITE_LIMIT_ATTACHED, 0},
      {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 1024},  // matching is its product with the text's length
      {SQLITE_LIMIT_VARIABLE_NUMBER, 32766},
      {SQLITE_LIMIT_TRIGGER_DEPTH, 100},
      {SQLITE_LIMIT_WORKER_THREADS, 0}};
  for (const auto& [what, value] : limits) sqlite3_limit(db_, what, value);

  std::string pragmas = "PRAGMA cache_size=-" + std::to_string(o.cache_bytes / 1024) +
                        "; PRAGMA mmap_size=" + std::to_string(o.mmap_bytes) + ";";
  if (mode_ == Mode::write)
    pragmas += std::string("PRAGMA journal_mode=WAL; PRAGMA synchronous=") +
               (o.synchronous_full ? "FULL" : "NORMAL") +
               "; PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=" +
               std::to_string(o.wal_truncate_bytes) + ";";
  else
    pragmas += "PRAGMA query_only=1; SELECT count(*) FROM sqlite_schema;";
  int rc = sqlite3_exec(db_, pragmas.c_str(), nullptr, nullptr, nullptr);
  // ":memory:" is never a store's path (those are absolute); prepare_store's dry run uses it.
  if (rc == SQLITE_OK && mode_ == Mode::write && path != ":memory:") {
    Statement mode = prepare("PRAGMA journal_mode");
    if (!mode.step() || mode.text(0) != "wal") {
      sdk::Error e = error_from(
          SQLITE_CANTOPEN,
          "cannot open " + path + ": its file system does not take a write-ahead log (WAL)");
      e.outcome = sdk::Outcome::not_sent;
      throw e;
    }
  }
  if (rc == SQLITE_OK) return;
  rc = sqlite3_extended_errcode(db_);
  sdk::Error e = error_from(rc, reason(path, db_, rc));
  e.code = sdk::Code::unavailable;
  e.outcome = sdk::Outcome::not_sent;
  throw e;
}

void Database::refuse(int rc) const {
  if (impl_->authorizer.refusal()) throw *impl_->authorizer.refusal();
  if ((rc & 0xff) == SQLITE_INTERRUPT || ((rc & 0xff) == SQLITE_BUSY && stopped() != Stop::none))
    throw stop_error();
  throw error_from(db_, rc);
}

Statement Database::prepare(std::string_view sql, Trust trust) {
  auto& cache = impl_->cache[static_cast<int>(trust)];
  const auto found = cache.find(sql);
  if (found != cache.end() && !found->second->lent) {
    Cached& c = *found->second;
    c.lent = true;
    impl_->lru.splice(impl_->lru.begin(), impl_->lru, found->second);
    return {this, c.stmt, trust, &c};
  }
  const bool keep = found == cache.end() && sql.size() <= kCachedTextMax && impl_->cached_max > 0;
  impl_->authorizer.begin(sql);
  const Trust before = std::exchange(impl_->authorizer.trust, trust);
  sqlite3_stmt* stmt = nullptr;
  const char* tail = nullptr;
  const int rc = sql.size() > static_cast<std::size_t>(kSqlTextMax)
                     ? SQLITE_TOOBIG
                     : sqlite3_prepare_v3(db_, sql.data(), static_cast<int>(sql.size()),
                                          keep ? SQLITE_PREPARE_PERSISTENT : 0u, &stmt, &tail);
  impl_->authorizer.trust = before;
  if (rc == SQLITE_TOOBIG) throw error_from(rc, "the statement's text is longer than 1 MiB");
  if (rc != SQLITE_OK) refuse(rc);
  if (trust == Trust::caller && is_vacuum(sql)) {  // SQLite asks no authorizer about it
    sqlite3_finalize(stmt);
    impl_->authorizer.deny_vacuum();
    refuse(SQLITE_AUTH);
  }
  if (stmt == nullptr)
    throw sdk::Error(sdk::Code::invalid, sdk::Outcome::rejected, "the text holds no statement");
  const std::size_t used = static_cast<std::size_t>(tail - sql.data());
  if (!is_blank(sql.substr(used))) {
    sqlite3_finalize(stmt);
    sdk::Error e(sdk::Code::invalid, sdk::Outcome::rejected,
                 "one statement a request: a second one begins after byte " + std::to_string(used) +
                     "; send several as a `batch`");
    e.sqlstate = "42601";
    throw e;
  }
  if (!keep) return {this, stmt, trust, nullptr};
  while (impl_->lru.size() >= impl_->cached_max) {
    auto oldest = std::prev(impl_->lru.end());
    while (oldest->lent && oldest != impl_->lru.begin()) --oldest;
    if (oldest->lent) return {this, stmt, trust, nullptr};
    impl_->cache[static_cast<int>(oldest->trust)].erase(oldest->text);
    sqlite3_finalize(oldest->stmt);
    impl_->lru.erase(oldest);
  }
  impl_->lru.push_front({std::string(sql), trust, stmt, true});
  cache.emplace(impl_->lru.front().text, impl_->lru.begin());
  return {this, stmt, trust, &impl_->lru.front()};
}

void Database::give_back(Statement& s) {
  if (s.entry_ == nullptr) {
    sqlite3_finalize(s.stmt_);
    return;
  }
  sqlite3_reset(s.stmt_);
  sqlite3_clear_bindings(s.stmt_);
  static_cast<Cached*>(s.entry_)->lent = false;
}

void Database::begin_op(hg_op op, std::uint64_t work_until_us) {
  const std::lock_guard lock(impl_->op_mutex);
  impl_->op = op;
  impl_->stop = impl_->why = Stop::none;
  impl_->work_until = work_until_us;
}

void Database::end_op() {
  const std::lock_guard lock(impl_->op_mutex);
  impl_->op = 0;
  // A stop that came too late must not reach a COMMIT. sqlite3_interrupt's own flag is cleared by
  // the next step, since no statement is in the middle of its work here.
  impl_->work_until = 0;
  impl_->stop = Stop::none;
}

bool Database::cancel(hg_op op) {
  const std::lock_guard lock(impl_->op_mutex);
  if (op == 0 || impl_->op != op) return false;
  impl_->end(Stop::cancelled);
  sqlite3_interrupt(db_);  // reaches loops that run no progress handler, such as count(*)
  return true;
}

Database::Stop Database::stopped() const { return impl_->why; }

sdk::Error Database::stop_error() const {
  const bool late = stopped() == Stop::late;
  sdk::Error e = error_from(SQLITE_INTERRUPT, late ? "the statement did not end within its time"
                                                   : "the call was cancelled");
  if (late) e.code = sdk::Code::deadline;
  return e;
}

void Database::set_work_until(std::uint64_t us) {
  const std::lock_guard lock(impl_->op_mutex);
  impl_->work_until = us;
}

Statement::Statement(Statement&& o) noexcept
    : db_(o.db_), stmt_(std::exchange(o.stmt_, nullptr)), trust_(o.trust_), entry_(o.entry_) {}

Statement::~Statement() {
  if (stmt_ != nullptr) db_->give_back(*this);
}

void Statement::check(int rc) const {
  if (rc != SQLITE_OK) throw error_from(db_->raw(), rc);
}

Statement& Statement::bind(int i, std::int64_t v) {
  check(sqlite3_bind_int64(stmt_, i, v));
  return *this;
}
Statement& Statement::bind(int i, double v) {
  check(sqlite3_bind_double(stmt_, i, v));
  return *this;
}
Statement& Statement::bind(int i, std::string_view text) {
  // A null pointer would bind NULL instead of the empty text.
  const char* p = text.data() != nullptr ? text.data() : "";
  check(sqlite3_bind_text64(stmt_, i, p, text.size(), SQLITE_STATIC, SQLITE_UTF8));
  return *this;
}
Statement& Statement::bind(int i, proto::Bytes blob) {
  const void* p = blob.data() != nullptr ? static_cast<const void*>(blob.data()) : "";
  check(sqlite3_bind_blob64(stmt_, i, p, blob.size(), SQLITE_STATIC));
  return *this;
}
Statement& Statement::bind_null(int i) {
  check(sqlite3_bind_null(stmt_, i));
  return *this;
}

bool Statement::step() {
  Authorizer& authorizer = db_->impl_->authorizer;
  authorizer.begin({});
  const Trust before = std::exchange(authorizer.trust, trust_);
  const int rc = sqlite3_step(stmt_);
  authorizer.trust = before;
  if (rc == SQLITE_ROW) return true;
  if (rc == SQLITE_DONE) return false;
  db_->refuse(rc);
}

void Statement::run() {
  while (step()) {
  }
}

void Statement::reset() { sqlite3_reset(stmt_); }

std::shared_ptr<void>* Statement::note() const {
  return entry_ == nullptr ? nullptr : &static_cast<Cached*>(entry_)->note;
}

bool Statement::is_null(int c) const { return sqlite3_column_type(stmt_, c) == SQLITE_NULL; }
std::int64_t Statement::integer(int c) const { return sqlite3_column_int64(stmt_, c); }
double Statement::real(int c) const { return sqlite3_column_double(stmt_, c); }
std::string_view Statement::text(int c) const {
  const auto* p = reinterpret_cast<const char*>(sqlite3_column_text(stmt_, c));
  if (p == nullptr) return {};
  return {p, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, c))};
}
proto::Bytes Statement::blob(int c) const {
  const auto* p = static_cast<const std::uint8_t*>(sqlite3_column_blob(stmt_, c));
  if (p == nullptr) return {};
  return {p, static_cast<std::size_t>(sqlite3_column_bytes(stmt_, c))};
}

}  // namespace headgate::sqlite
