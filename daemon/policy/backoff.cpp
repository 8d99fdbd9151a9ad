#include "daemon/policy/backoff.hpp"

#include <algorithm>

namespace headgate::policy {
namespace {
// 53 of the 64 bits, as a fraction in [0, 1).
double fraction(std::uint64_t random) { return static_cast<double>(random >> 11) * 0x1.0p-53; }
}  // namespace

Micros pause_bound(std::uint32_t n, Micros base, Micros cap) {
  Micros bound = std::min(base, cap);
  for (std::uint32_t i = 1; i < n && bound < cap; ++i) bound = std::min(bound * 2, cap);
  return bound;
}

Micros full_jitter(std::uint32_t n, Micros base, Micros cap, std::uint64_t random) {
  const auto bound = static_cast<double>(pause_bound(n, base, cap).count());
  return Micros(static_cast<std::int64_t>(fraction(random) * (bound + 1)));
}

Micros shortened(Micros span, double part, std::uint64_t random) {
  const auto whole = static_cast<double>(span.count());
  return Micros(static_cast<std::int64_t>(whole * (1.0 - part * fraction(random))));
}

}  // namespace headgate::policy
