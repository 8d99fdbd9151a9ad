// Loop is what the daemon's parts see of the event loop: timers, descriptors, work from other
// threads, and work put off to the end of the turn. daemon/loop implements it over libuv; the
// simulator over virtual time.
//
// Threads: the loop's own, post() excepted.
// Memory:  timers, tasks and watchers are intrusive and owned by those who use them; the loop
//          allocates nothing for them. An object must be disarmed or run before it dies.
#pragma once
#include <atomic>
#include <cstdint>

#include "daemon/core/list.hpp"
#include "daemon/core/time.hpp"

namespace headgate {

// Fires once at its time; arm it again for more.
class Timer {
 public:
  virtual ~Timer() = default;
  virtual void fire() = 0;
  [[nodiscard]] bool armed() const { return heap_index_ != kNone; }
  [[nodiscard]] TimePoint at() const { return at_; }

  static constexpr std::uint32_t kNone = UINT32_MAX;
  // The loop's: place in its heap.
  std::uint32_t heap_index_ = kNone;
  TimePoint at_{};
};

// Work to run once on the loop. Posted again while it waits: runs once (see `queued`).
class Task {
 public:
  virtual ~Task() = default;
  virtual void run() = 0;

  std::atomic<Task*> next_{nullptr};  // the loop's
  std::atomic<bool> queued_{false};   // set by post/defer, cleared just before run()
};

class Watcher {
 public:
  virtual ~Watcher() = default;
  // events: kReadable and kWritable, as watched for; both on error.
  virtual void ready(std::uint32_t events) = 0;

  void* handle_ = nullptr;  // the loop's
};

class Loop : public Clock {
 public:
  static constexpr std::uint32_t kReadable = 1;
  static constexpr std::uint32_t kWritable = 2;

  // now(): read once a turn. refresh(): read again, where the age of something depends on it: a
  // process may have been stopped in the middle of a turn.
  virtual void refresh() {}
  virtual void arm(Timer& t, TimePoint at) = 0;  // moves it if armed already
  virtual void disarm(Timer& t) = 0;
  virtual void watch(Watcher& w, int fd, std::uint32_t events) = 0;  // events 0: stop watching
  virtual void post(Task& t) = 0;                                    // any thread
  virtual void defer(Task& t) = 0;  // the end of this turn, after new work was taken in
};

}  // namespace headgate
