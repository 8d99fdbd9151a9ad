// The thread that keeps the log's copy up to date.
#include "plugins/sqlite/checkpointer.hpp"

#include <chrono>
#include <memory>

#include "plugins/sqlite/database.hpp"
#include "plugins/sqlite/driver.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::uint64_t kStepBytes = 4u << 20;  // growth of the log that is worth a checkpoint
constexpr auto kQuiet = std::chrono::milliseconds(500);

}  // namespace

Checkpointer::Checkpointer(SqliteDriver& driver) : driver_(driver), thread_([this] { run(); }) {}

Checkpointer::~Checkpointer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  cv_.notify_one();
  thread_.join();
}

void Checkpointer::note(std::uint64_t wal_bytes) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    if (wal_bytes < wal_bytes_) copied_at_ = 0;  // the log has begun anew
    wal_bytes_ = wal_bytes;
    wake = !dirty_ || wal_bytes - copied_at_ >= kStepBytes;
    dirty_ = true;
    quiet_ = false;
  }
  if (wake) cv_.notify_one();
}

void Checkpointer::run() {
  std::unique_ptr<Database> db;
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (!dirty_) {
      cv_.wait(lock, [this] { return dirty_ || stop_; });
      continue;
    }
    quiet_ = true;
    const auto due = [this] { return stop_ || wal_bytes_ - copied_at_ >= kStepBytes; };
    if (!cv_.wait_for(lock, kQuiet, due) && !quiet_) continue;
    if (stop_) break;
    copied_at_ = wal_bytes_;
    dirty_ = false;
    lock.unlock();
    try {
      if (db == nullptr)
        db = std::make_unique<Database>(driver_.host(), driver_.options().path,
                                        Database::Mode::write, driver_.options());
      const std::lock_guard running(running_);
      sqlite3_wal_checkpoint_v2(db->raw(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    } catch (const std::exception& e) {  // the writer meets the same fault and reports it
      driver_.log(HG_LOG_WARN, std::string("checkpoint: ") + e.what());
    }
    lock.lock();
  }
}

}  // namespace headgate::sqlite
