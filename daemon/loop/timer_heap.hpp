// TimerHeap orders armed timers by their time: a binary heap of pointers whose places the timers
// know themselves, so that any one can be moved or taken out in O(log n).
//
// Owner: UvLoop. Threads: the loop's.
#pragma once
#include <cstdint>
#include <vector>

#include "daemon/core/loop.hpp"

namespace headgate {

class TimerHeap {
 public:
  TimerHeap() { heap_.reserve(1024); }
  ~TimerHeap();
  TimerHeap(const TimerHeap&) = delete;
  TimerHeap& operator=(const TimerHeap&) = delete;

  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] std::size_t size() const { return heap_.size(); }
  // REQUIRES: !empty().
  [[nodiscard]] TimePoint first() const { return heap_[0]->at(); }
  void arm(Timer& t, TimePoint at);  // moves it if armed already
  void disarm(Timer& t);             // nothing when it is not armed
  // Takes out the first timer that is due, or null.
  Timer* pop_due(TimePoint now);

 private:
  void place(std::uint32_t i, Timer* t);
  void up(std::uint32_t i, Timer* t);
  void down(std::uint32_t i, Timer* t);

  std::vector<Timer*> heap_;
};

}  // namespace headgate
