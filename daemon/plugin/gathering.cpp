#include "daemon/plugin/gathering.hpp"

#include <algorithm>

namespace headgate::plugin {
namespace {

using namespace std::chrono_literals;

// A batch that was off the processor for less has shared too little: a sync of a fast disk, or
// somebody else's turn on the core.
constexpr Gathering::Nanos kWorthwhile = 300us;
constexpr Gathering::Nanos kWaitMax = 5ms;
// Longer than a caller needs for its next request where the core is free.
constexpr Gathering::Nanos kSilenceMax = 300us;
constexpr std::uint32_t kSkipShiftMax = 6;  // at least one batch in 64 tries again

}  // namespace

void Gathering::served(std::uint32_t calls, std::uint32_t behind, Nanos now, Nanos took,
                       Nanos ran) {
  expected_ = calls + behind;
  ended_ = now;
  const Nanos shared = took - ran;
  at_most_ = shared < kWorthwhile ? Nanos{} : std::min(shared, kWaitMax);
  silence_ = std::min(at_most_ / 2, kSilenceMax);
}

std::uint32_t Gathering::wanted(std::uint32_t there, Nanos now) {
  if (there >= expected_ || now - ended_ >= at_most_) return 0;
  if (skip_ > 0) {
    --skip_;
    return 0;
  }
  return expected_;
}

void Gathering::gathered(std::uint32_t before, std::uint32_t after) {
  const bool in_vain = 2 * (after - before) < expected_ - before;
  in_vain_ = in_vain ? std::min(in_vain_ + 1, kSkipShiftMax) : 0;
  skip_ = in_vain ? 1u << in_vain_ : 0;
}

}  // namespace headgate::plugin
