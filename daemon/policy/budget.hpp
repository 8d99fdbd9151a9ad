// Budget bounds repeats to a part of the requests, so that retries never multiply a store's load
// while it is in trouble.
//
// Owner: the pools of one store, one for each service and one for all. Pure: time comes in.
// Holds: over any window of 10 s, repeats <= max(floor, ratio * requests), to a slice of the
// window.
#pragma once
#include <cstdint>

#include "daemon/policy/window.hpp"

namespace headgate::policy {

class Budget {
 public:
  static constexpr Micros kWindow = std::chrono::seconds(10);

  Budget(double ratio, std::uint32_t floor) : window_(kWindow), ratio_(ratio), floor_(floor) {}

  void request(TimePoint now) { window_.add(now, 1, 0); }
  [[nodiscard]] bool allows(TimePoint now);
  // REQUIRES: allows(now).
  void repeat(TimePoint now) { window_.add(now, 0, 1); }
  void limit(double ratio, std::uint32_t floor) {
    ratio_ = ratio;
    floor_ = floor;
  }

 private:
  Window window_;  // requests, repeats
  double ratio_;
  std::uint32_t floor_;
};

}  // namespace headgate::policy
