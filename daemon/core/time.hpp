// Time inside the daemon: absolute and monotonic. Durations exist only in configuration and on the
// wire; whoever reads one makes a Deadline of it at once.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstdint>

namespace headgate {

using Micros = std::chrono::microseconds;

// Microseconds of CLOCK_MONOTONIC; in the simulator, of virtual time.
struct TimePoint {
  std::int64_t us = 0;
  friend auto operator<=>(const TimePoint&, const TimePoint&) = default;
  TimePoint operator+(Micros d) const { return {us + d.count()}; }
  TimePoint operator-(Micros d) const { return {us - d.count()}; }
  Micros operator-(TimePoint o) const { return Micros(us - o.us); }
};

inline constexpr TimePoint kNever{INT64_MAX};

using Deadline = TimePoint;

// When the store must be done so that its own answer still reaches the caller: the deadline less
// 5 % of what is left, at least 5 ms and at most 100 ms (design: "two times").
inline TimePoint work_until(TimePoint now, Deadline deadline) {
  if (deadline == kNever) return kNever;
  const Micros margin = std::clamp((deadline - now) / 20, Micros(5'000), Micros(100'000));
  return std::max(now, deadline - margin);
}

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual TimePoint now() const = 0;
};

}  // namespace headgate
