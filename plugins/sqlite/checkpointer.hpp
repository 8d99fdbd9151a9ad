// Checkpointer copies what the log holds into the database file while others read and write.
//
// SQLite would do that inside a commit, and make that commit wait. Here a thread with a connection
// of its own does the bulk of it (PASSIVE, which blocks nobody), when the log has grown by a few
// megabytes or the store is quiet. The writer only empties the log when it is above its limit, and
// then little is left to copy.
//
// Owner:   the SqliteDriver. Threads: its own; note() from the writer's.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

namespace headgate::sqlite {

class SqliteDriver;

class Checkpointer {
 public:
  explicit Checkpointer(SqliteDriver& driver);
  ~Checkpointer();
  Checkpointer(const Checkpointer&) = delete;
  Checkpointer& operator=(const Checkpointer&) = delete;

  // After a commit: how large the log is now.
  void note(std::uint64_t wal_bytes);

  // Held while a checkpoint runs: SQLite refuses a second one at once instead of letting it wait.
  [[nodiscard]] std::timed_mutex& running() { return running_; }

 private:
  void run();
  SqliteDriver& driver_;
  std::timed_mutex running_;
  std::mutex mutex_;
  std::condition_variable cv_;
  std::uint64_t wal_bytes_ = 0;
  std::uint64_t copied_at_ = 0;  // the log's size at the last checkpoint
  bool dirty_ = false;
  bool quiet_ = true;  // no commit since the thread last looked
  bool stop_ = false;
  std::thread thread_;  // last: the rest is there when it starts
};

}  // namespace headgate::sqlite
