// Window counts two kinds of events over the last while, in ten slices, so that what is older than
// the window is forgotten a tenth at a time.
//
// Owner: whoever counts (a breaker, a budget). Pure: time comes in and never runs backwards.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>

#include "daemon/core/time.hpp"

namespace headgate::policy {

class Window {
 public:
  static constexpr std::uint32_t kSlices = 10;

  explicit Window(Micros span) : slice_(std::max<std::int64_t>(1, span.count() / kSlices)) {}

  void add(TimePoint now, std::uint32_t first, std::uint32_t second) {
    turn_to(now);
    at_[index_].first += first;
    at_[index_].second += second;
    first_ += first;
    second_ += second;
  }
  // Totals over the window that ends now.
  [[nodiscard]] std::uint64_t first(TimePoint now) {
    turn_to(now);
    return first_;
  }
  [[nodiscard]] std::uint64_t second(TimePoint now) {
    turn_to(now);
    return second_;
  }
  void clear() {
    at_.fill({});
    first_ = second_ = 0;
  }

 private:
  struct Slice {
    std::uint32_t first = 0, second = 0;
  };
  void turn_to(TimePoint now) {
    const std::int64_t tick = now.us / slice_;
    if (tick <= tick_) return;
    if (tick - tick_ >= kSlices) {
      clear();
    } else {
      for (std::int64_t i = tick_ + 1; i <= tick; ++i) {
        Slice& s = at_[static_cast<std::size_t>(i) % kSlices];
        first_ -= s.first;
        second_ -= s.second;
        s = {};
      }
    }
    tick_ = tick;
    index_ = static_cast<std::size_t>(tick) % kSlices;
  }

  std::int64_t slice_;
  std::int64_t tick_ = 0;
  std::size_t index_ = 0;
  std::array<Slice, kSlices> at_{};
  std::uint64_t first_ = 0, second_ = 0;
};

}  // namespace headgate::policy
