// PollLoop is a Loop over poll(), for tests that need real time, real descriptors and other
// threads' posts but no libuv. A test runs it with run_until(condition).
//
// Owner:   the test. Threads: the one that calls run_until()/turn(); post() from any.
// Holds:   as core/loop.hpp promises: post from any thread, defer at the end of the turn, timers in
//          the order of their times, now() read once a turn.
#pragma once
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "daemon/core/loop.hpp"

namespace headgate::testing {

class PollLoop final : public Loop {
 public:
  PollLoop() : bell_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { read_clock(); }
  ~PollLoop() override { ::close(bell_); }
  PollLoop(const PollLoop&) = delete;
  PollLoop& operator=(const PollLoop&) = delete;

  [[nodiscard]] TimePoint now() const override { return now_; }

  void arm(Timer& t, TimePoint at) override {
    disarm(t);
    t.at_ = at;
    t.heap_index_ = static_cast<std::uint32_t>(timers_.size());
    timers_.push_back(&t);
  }
  void disarm(Timer& t) override {
    if (!t.armed()) return;
    Timer* last = timers_.back();
    timers_[t.heap_index_] = last;
    last->heap_index_ = t.heap_index_;
    timers_.pop_back();
    t.heap_index_ = Timer::kNone;
  }
  void watch(Watcher& w, int fd, std::uint32_t events) override {
    for (std::size_t i = 0; i < watched_.size(); ++i) {
      if (watched_[i].watcher != &w) continue;
      if (events == 0) {
        watched_.erase(watched_.begin() + static_cast<std::ptrdiff_t>(i));
        ++watch_changes_;
      } else {
        watched_[i].fd = fd;
        watched_[i].events = events;
      }
      return;
    }
    if (events != 0) watched_.push_back({&w, fd, events});
  }
  void post(Task& t) override {
    if (t.queued_.exchange(true)) return;
    {
      std::lock_guard lock(mutex_);
      posted_.push_back(&t);
    }
    ++wakes_;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto n = ::write(bell_, &one, sizeof one);
  }
  void defer(Task& t) override {
    if (t.queued_.exchange(true)) return;
    deferred_.push_back(&t);
  }

  // One turn: waits at most `wait` for something to do.
  void turn(Micros wait = std::chrono::milliseconds(10)) {
    poll_descriptors(wait);
    fire_timers();
    run_posted();
    // Work put off while work put off runs belongs to the same turn.
    while (!deferred_.empty()) {
      std::vector<Task*> now_due;
      now_due.swap(deferred_);
      for (Task* t : now_due) run(t);
    }
  }
  // False: the condition did not come true in time.
  bool run_until(const std::function<bool()>& done, Micros limit = std::chrono::seconds(20)) {
    read_clock();
    const TimePoint end = now_ + limit;
    while (!done()) {
      turn();
      if (now_ >= end) return done();
    }
    return true;
  }
  // Eventfd writes so far: what waking the loop from other threads has cost.
  [[nodiscard]] std::uint64_t wakes() const { return wakes_; }
  [[nodiscard]] std::size_t watched() const { return watched_.size(); }
  [[nodiscard]] std::size_t timers() const { return timers_.size(); }

 private:
  struct Watched {
    Watcher* watcher;
    int fd;
    std::uint32_t events;
  };
  void read_clock() {
    const auto t = std::chrono::steady_clock::now().time_since_epoch();
    now_ = {std::chrono::duration_cast<Micros>(t).count()};
  }
  static void run(Task* t) {
    t->queued_.store(false);
    t->run();
  }
  void poll_descriptors(Micros wait) {
    for (const Timer* t : timers_) wait = std::min(wait, std::max(Micros(0), t->at() - now_));
    if (!deferred_.empty()) wait = Micros(0);
    std::vector<pollfd> fds{{bell_, POLLIN, 0}};
    for (const Watched& w : watched_) {
      const bool r = (w.events & kReadable) != 0, out = (w.events & kWritable) != 0;
      fds.push_back({w.fd, static_cast<short>((r ? POLLIN : 0) | (out ? POLLOUT : 0)), 0});
    }
    const std::vector<Watched> asked = watched_;
    const timespec ts{wait.count() / 1'000'000, (wait.count() % 1'000'000) * 1000};
    ::ppoll(fds.data(), fds.size(), &ts, nullptr);
    read_clock();
    std::uint64_t rung = 0;
    if (fds[0].revents != 0) [[maybe_unused]]
      const auto n = ::read(bell_, &rung, sizeof rung);
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const short got = fds[i + 1].revents;
      if (got == 0) continue;
      const std::uint64_t before = watch_changes_;
      std::uint32_t events = 0;
      if ((got & (POLLERR | POLLHUP | POLLNVAL)) != 0) events = asked[i].events;
      if ((got & POLLIN) != 0) events |= kReadable;
      if ((got & POLLOUT) != 0) events |= kWritable;
      asked[i].watcher->ready(events & asked[i].events);
      if (watch_changes_ != before) return;  // somebody went away: look again next turn
    }
  }
  void fire_timers() {
    for (;;) {
      Timer* due = nullptr;
      for (Timer* t : timers_)
        if (t->at() <= now_ && (due == nullptr || t->at() < due->at())) due = t;
      if (due == nullptr) return;
      disarm(*due);
      due->fire();
    }
  }
  void run_posted() {
    std::vector<Task*> due;
    {
      std::lock_guard lock(mutex_);
      due.swap(posted_);
    }
    for (Task* t : due) run(t);
  }

  int bell_;
  TimePoint now_{};
  std::vector<Timer*> timers_;
  std::vector<Watched> watched_;
  std::uint64_t watch_changes_ = 0;
  std::mutex mutex_;
  std::vector<Task*> posted_;
  std::vector<Task*> deferred_;
  std::atomic<std::uint64_t> wakes_{0};
};

}  // namespace headgate::testing
