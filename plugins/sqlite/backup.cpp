// SQLite's online backup into an unlinked file, and from there to the caller.
#include "plugins/sqlite/backup.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "plugins/sqlite/errors.hpp"

namespace headgate::sqlite {
namespace {

constexpr int kPagesAStep = 256;  // between two looks at the clock and at cancel
constexpr std::size_t kPieceMax = 128u << 10;

struct File {
  explicit File(std::string template_path)
      : path(std::move(template_path)), fd(::mkstemp(path.data())) {
    if (fd < 0)
      throw error_from(SQLITE_CANTOPEN,
                       "cannot make a file for the copy: " + path + ": " + std::strerror(errno));
  }
  ~File() {
    ::close(fd);
    ::unlink(path.c_str());
  }
  std::string path;
  int fd;
};

struct Close {
  void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
};

void copy(SqliteDriver& driver, const hg_call& call, Database& db, const File& file) {
  sqlite3* raw = nullptr;
  int rc = sqlite3_open_v2(file.path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX,
                           nullptr);
  const std::unique_ptr<sqlite3, Close> target(raw);
  ::unlink(file.path.c_str());
  if (rc == SQLITE_OK)
    rc = sqlite3_exec(raw, "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF", nullptr, nullptr,
                      nullptr);
  if (rc != SQLITE_OK) throw error_from(raw, rc);
  sqlite3_backup* backup = sqlite3_backup_init(raw, "main", db.raw(), "main");
  if (backup == nullptr) throw error_from(raw, sqlite3_extended_errcode(raw));
  do {
    rc = sqlite3_backup_step(backup, kPagesAStep);
    if (db.stopped() != Database::Stop::none) rc = SQLITE_INTERRUPT;
    if (call.work_until_us != 0 && driver.now() >= call.work_until_us) rc = SQLITE_INTERRUPT;
  } while (rc == SQLITE_OK);
  sqlite3_backup_finish(backup);
  if (rc == SQLITE_DONE) return;
  if (rc != SQLITE_INTERRUPT) throw error_from(rc, std::string("copy: ") + sqlite3_errstr(rc));
  sdk::Error e = db.stop_error();
  if (db.stopped() == Database::Stop::none) e.code = sdk::Code::deadline;
  throw e;
}

}  // namespace

void run_backup(SqliteDriver& driver, const hg_call& call, Database& db, sdk::Sink& sink) {
  const File file(driver.options().path + ".backup-XXXXXX");
  {
    // The snapshot: SQLite would begin the copy anew whenever somebody writes.
    Statement s = db.prepare("SELECT 1 FROM sqlite_schema LIMIT 1");
    s.step();
    copy(driver, call, db, file);
  }
  proto::Writer w(&sink);
  const std::size_t piece =
      std::min<std::size_t>(kPieceMax, driver.part_max() > 64 ? driver.part_max() - 16 : 64);
  const auto buffer = std::make_unique<std::uint8_t[]>(piece);
  for (off_t at = 0;;) {
    const ssize_t n = ::pread(file.fd, buffer.get(), piece, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      throw error_from(SQLITE_IOERR_READ, std::string("reading the copy: ") + std::strerror(errno));
    if (n == 0) break;
    at += n;
    w.bin({buffer.get(), static_cast<std::size_t>(n)});
    if (!w.ok() || sink.flush_part() != HG_GO)
      throw sdk::Error(sdk::Code::cancelled, sdk::Outcome::rejected,
                       "nobody takes the copy any more");
  }
  w.nil();
}

}  // namespace headgate::sqlite
