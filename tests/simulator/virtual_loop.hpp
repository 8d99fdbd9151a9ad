// VirtualLoop is a Loop whose time is a number: tests and the simulator move it on.
//
// Threads: one. A turn is what the real loop's is: events, due timers, then what was deferred.
#pragma once
#include <cassert>
#include <cstdint>
#include <utility>
#include <vector>

#include "daemon/core/loop.hpp"

namespace headgate::simulator {

class VirtualLoop final : public Loop {
 public:
  TimePoint now() const override { return now_; }
  void arm(Timer& t, TimePoint at) override {
    disarm(t);
    t.at_ = at < now_ ? now_ : at;
    t.heap_index_ = static_cast<std::uint32_t>(heap_.size());
    heap_.push_back(&t);
    up(t.heap_index_);
  }
  void disarm(Timer& t) override {
    if (!t.armed()) return;
    const std::uint32_t i = t.heap_index_;
    assert(heap_[i] == &t);
    t.heap_index_ = Timer::kNone;
    Timer* last = heap_.back();
    heap_.pop_back();
    if (last == &t) return;
    heap_[i] = last;
    last->heap_index_ = i;
    up(i);
    down(last->heap_index_);
  }
  void watch(Watcher&, int, std::uint32_t) override { assert(false); }
  void post(Task& t) override { defer(t); }
  void defer(Task& t) override {
    if (t.queued_.exchange(true)) return;
    deferred_.push_back(&t);
  }

  // The end of a turn: runs what was deferred, and what that defers.
  void end_turn() {
    for (std::size_t i = 0; i < deferred_.size(); ++i) {
      Task* t = deferred_[i];
      t->queued_ = false;
      t->run();
      assert(i < 10'000);  // something defers itself for ever
    }
    deferred_.clear();
  }
  [[nodiscard]] bool has_timer() const { return !heap_.empty(); }
  [[nodiscard]] TimePoint next_timer() const { return heap_.empty() ? kNever : heap_[0]->at_; }
  void move_to(TimePoint t) {
    assert(t >= now_);
    now_ = t;
  }
  // Fires one timer that is due; false: none is.
  bool fire_due() {
    if (heap_.empty() || heap_[0]->at_ > now_) return false;
    Timer* t = heap_[0];
    disarm(*t);
    t->fire();
    return true;
  }
  // Moves on to `until`, firing timers in order, a turn for each.
  void run_until(TimePoint until) {
    end_turn();
    while (!heap_.empty() && heap_[0]->at_ <= until) {
      if (heap_[0]->at_ > now_) now_ = heap_[0]->at_;
      fire_due();
      end_turn();
    }
    now_ = until;
  }
  [[nodiscard]] std::size_t timers() const { return heap_.size(); }

 private:
  bool before(std::uint32_t a, std::uint32_t b) const { return heap_[a]->at_ < heap_[b]->at_; }
  void swap(std::uint32_t a, std::uint32_t b) {
    std::swap(heap_[a], heap_[b]);
    heap_[a]->heap_index_ = a;
    heap_[b]->heap_index_ = b;
  }
  void up(std::uint32_t i) {
    while (i > 0 && before(i, (i - 1) / 2)) {
      swap(i, (i - 1) / 2);
      i = (i - 1) / 2;
    }
  }
  void down(std::uint32_t i) {
    const auto n = static_cast<std::uint32_t>(heap_.size());
    for (;;) {
      std::uint32_t least = i;
      for (std::uint32_t k = 2 * i + 1; k <= 2 * i + 2 && k < n; ++k) {
        if (before(k, least)) least = k;
      }
      if (least == i) return;
      swap(i, least);
      i = least;
    }
  }

  TimePoint now_{1'000'000};
  std::vector<Timer*> heap_;
  std::vector<Task*> deferred_;
};

}  // namespace headgate::simulator
