#include "daemon/policy/admission.hpp"

#include <algorithm>
#include <cmath>

namespace headgate::policy {

void ServiceTime::sample(Micros held) {
  const auto us = static_cast<double>(std::max<std::int64_t>(held.count(), 0));
  if (samples_ < kEnough) {
    ++samples_;
    average_us_ += (us - average_us_) / samples_;
  } else {
    average_us_ += (us - average_us_) / 8;
  }
}

std::uint64_t queue_ahead(const QueueView& q) {
  const double share = q.my_weight / std::max(q.weights, q.my_weight);
  const double turn = std::ceil(static_cast<double>(q.mine) / share + (1.0 / share - 1.0));
  return std::min(q.waiting, static_cast<std::uint64_t>(std::max(turn, 0.0)));
}

Micros expected_wait(const QueueView& q) {
  if (q.places == 0) return Micros(0);
  const double us = static_cast<double>(queue_ahead(q)) *
                    static_cast<double>(q.service_time.count()) / static_cast<double>(q.places);
  return Micros(static_cast<std::int64_t>(std::min(us, 1e15)));
}

Admission admit(const QueueView& q, const QueueLimits& limits, std::uint64_t calls,
                std::uint64_t bytes, std::uint64_t size, TimePoint now, Deadline deadline) {
  const Micros wait = expected_wait(q);
  const auto after = [](Micros d) {
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(d.count() / 1000, 10, 30'000));
  };
  if (calls >= limits.calls_max || size > limits.bytes_max || bytes > limits.bytes_max - size) {
    return {Admitted::queue_full, after(wait / 2)};
  }
  if (deadline != kNever && wait > deadline - now) {
    return {Admitted::too_late, after(wait - (deadline - now))};
  }
  return {};
}

}  // namespace headgate::policy
