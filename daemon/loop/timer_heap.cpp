#include "daemon/loop/timer_heap.hpp"

namespace headgate {

TimerHeap::~TimerHeap() {
  for (Timer* t : heap_) t->heap_index_ = Timer::kNone;
}

void TimerHeap::place(std::uint32_t i, Timer* t) {
  heap_[i] = t;
  t->heap_index_ = i;
}

void TimerHeap::up(std::uint32_t i, Timer* t) {
  while (i > 0) {
    const std::uint32_t parent = (i - 1) / 2;
    if (heap_[parent]->at_ <= t->at_) break;
    place(i, heap_[parent]);
    i = parent;
  }
  place(i, t);
}

void TimerHeap::down(std::uint32_t i, Timer* t) {
  const auto n = static_cast<std::uint32_t>(heap_.size());
  for (;;) {
    std::uint32_t child = 2 * i + 1;
    if (child >= n) break;
    if (child + 1 < n && heap_[child + 1]->at_ < heap_[child]->at_) ++child;
    if (t->at_ <= heap_[child]->at_) break;
    place(i, heap_[child]);
    i = child;
  }
  place(i, t);
}

void TimerHeap::arm(Timer& t, TimePoint at) {
  if (at == kNever) {
    disarm(t);
    return;
  }
  if (!t.armed()) {
    heap_.push_back(&t);
    t.at_ = at;
    up(static_cast<std::uint32_t>(heap_.size() - 1), &t);
    return;
  }
  const bool sooner = at < t.at_;
  t.at_ = at;
  if (sooner) {
    up(t.heap_index_, &t);
  } else {
    down(t.heap_index_, &t);
  }
}

void TimerHeap::disarm(Timer& t) {
  if (!t.armed()) return;
  const std::uint32_t i = t.heap_index_;
  t.heap_index_ = Timer::kNone;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &t) return;
  if (i > 0 && last->at_ < heap_[(i - 1) / 2]->at_) {
    up(i, last);
  } else {
    down(i, last);
  }
}

Timer* TimerHeap::pop_due(TimePoint now) {
  if (heap_.empty() || heap_[0]->at_ > now) return nullptr;
  Timer* t = heap_[0];
  disarm(*t);
  return t;
}

}  // namespace headgate
