// Backoff says how long to pause before the next attempt.
//
// Pure: the random number comes in. Full jitter (a uniform pause between nothing and the bound), so
// that callers who failed together do not come back together.
#pragma once
#include <cstdint>

#include "daemon/core/time.hpp"

namespace headgate::policy {

// The longest pause before attempt n + 1 (n from 1): base doubled n - 1 times, at most cap.
Micros pause_bound(std::uint32_t n, Micros base, Micros cap);

// Uniform in [0, pause_bound]; `random` is 64 uniform bits.
Micros full_jitter(std::uint32_t n, Micros base, Micros cap, std::uint64_t random);

// `span` less up to `part` of it (0.1: uniform in [0.9 span, span]): keeps lifetimes and probes
// from falling due in step.
Micros shortened(Micros span, double part, std::uint64_t random);

}  // namespace headgate::policy
