// Breaker keeps calls away from an endpoint that mostly fails, and lets a few probes find out when
// it is well again.
//
// Owner: pool's endpoint. Pure: time and randomness come in.
// Counts: failed connects, unknown outcomes and what a plugin marks as the store's own trouble;
//         never a caller's error and never a wait in our queue. The owner decides what it reports.
// Holds:  closed -> open at `ratio` of at least `min_calls` in the window; open for open_min,
//         doubled at each failed probe up to open_max, jittered; then half-open: `probes` may pass;
//         as many successes close it, one failure opens it again. The last endpoint of a store is
//         never open for longer than open_min, so it is asked again and again.
#pragma once
#include <cstdint>
#include <string_view>

#include "daemon/policy/window.hpp"

namespace headgate::policy {

struct BreakerLimits {
  double ratio = 0.5;
  std::uint32_t min_calls = 20;
  Micros window = std::chrono::seconds(10);
  Micros open_min = std::chrono::seconds(1);
  Micros open_max = std::chrono::seconds(30);
  std::uint32_t probes = 3;
};

class Breaker {
 public:
  enum class State : std::uint8_t { closed, open, half_open };

  explicit Breaker(const BreakerLimits& limits) : limits_(limits), window_(limits.window) {}

  // May something be sent now? In half-open state a `true` hands out one probe, which report(),
  // or give_back() when nothing came of it, returns.
  [[nodiscard]] bool allow(TimePoint now);
  // As allow(), without taking a probe.
  [[nodiscard]] bool would_allow(TimePoint now) const;
  void report(TimePoint now, bool failed, bool last_endpoint, std::uint64_t random);
  void give_back();
  // New limits after a reload; what was counted is kept unless the window has another length.
  void limit(const BreakerLimits& limits);

  [[nodiscard]] State state(TimePoint now) const;
  // When it lets something through again; now when it does so already.
  [[nodiscard]] TimePoint opens_at(TimePoint now) const;
  [[nodiscard]] std::uint64_t opened() const { return opened_; }

 private:
  void open(TimePoint now, bool last_endpoint, std::uint64_t random);

  BreakerLimits limits_;
  Window window_;  // all, failed
  bool tripped_ = false;
  TimePoint until_{};  // tripped: half-open from here on
  TimePoint probing_since_{};
  Micros span_{0};  // of the last opening, before jitter
  std::uint32_t probes_out_ = 0;
  std::uint32_t successes_ = 0;
  std::uint64_t opened_ = 0;
};

constexpr std::string_view name(Breaker::State s) {
  switch (s) {
    case Breaker::State::closed:
      return "closed";
    case Breaker::State::open:
      return "open";
    case Breaker::State::half_open:
      return "half_open";
  }
  return "";
}

}  // namespace headgate::policy
