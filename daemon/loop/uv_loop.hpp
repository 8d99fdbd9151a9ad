// UvLoop is the one thread that everything happens on, over libuv.
//
// A turn: what stores answered comes first (descriptors of event lanes, then tasks that workers
// posted), then timers that are due, then new work (Intake), then what was deferred (one submit a
// connection), then Intake once more before sleep, since sending eats wake-ups of the transport.
//
// Owner:     Gateway. Threads: the one that calls run(); post() and stop() from any.
// Invariant: a task in the list of posted ones is seen before the loop sleeps.
#pragma once
#include <atomic>
#include <memory>

#include "daemon/core/loop.hpp"
#include "daemon/loop/timer_heap.hpp"

namespace headgate {

// Where new work comes from, asked twice a turn.
class Intake {
 public:
  virtual ~Intake() = default;
  // Takes in what is there, up to a bound.
  virtual void take_in() = 0;
  // There may be more than was taken in: do not sleep.
  [[nodiscard]] virtual bool restless() const = 0;
};

class UvLoop final : public Loop {
 public:
  UvLoop();
  ~UvLoop() override;
  UvLoop(const UvLoop&) = delete;
  UvLoop& operator=(const UvLoop&) = delete;

  // Runs until stop().
  void run();
  // Any thread. The turn that runs now ends as always.
  void stop();
  void set_intake(Intake* intake) { intake_ = intake; }
  // Runs the task on the loop whenever the signal comes. REQUIRES: once a signal.
  void on_signal(int signal, Task& task);

  [[nodiscard]] TimePoint now() const override { return now_; }
  void refresh() override;
  void arm(Timer& t, TimePoint at) override { timers_.arm(t, at); }
  void disarm(Timer& t) override { timers_.disarm(t); }
  void watch(Watcher& w, int fd, std::uint32_t events) override;
  void post(Task& t) override;
  void defer(Task& t) override;

  // For `show` and tests: turns so far, and what has been armed.
  [[nodiscard]] std::uint64_t turns() const { return turns_; }
  [[nodiscard]] std::size_t timers() const { return timers_.size(); }

 private:
  struct Uv;     // libuv's handles
  struct Watch;  // one watched descriptor
  struct Signal;
  void woke();  // after libuv has polled
  void before_sleep();
  void work();  // posts, timers, intake, deferred
  bool run_posted();
  void run_deferred();
  void set_sleep();

  std::unique_ptr<Uv> uv_;
  Intake* intake_ = nullptr;
  TimerHeap timers_;
  TimePoint now_{};
  TimePoint wake_at_ = kNever;  // when libuv's timer is set to fire
  Task* deferred_first_ = nullptr;
  Task* deferred_last_ = nullptr;
  std::uint64_t turns_ = 0;
  std::atomic<Task*> posted_{nullptr};  // newest first
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> stop_{false};
};

}  // namespace headgate
