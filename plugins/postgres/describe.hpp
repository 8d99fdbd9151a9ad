// describe: what the plugin tells the host about itself, once.
#pragma once
#include "plugins/sdk/driver.hpp"

namespace headgate::postgres {

// Lanes, in the order of describe.
enum Lane : std::uint32_t { kSharedLane = 0, kExclusiveLane = 1, kListenLane = 2 };

inline constexpr std::uint32_t kSharedInflight = 64;  // statements under way on one connection
inline constexpr std::uint32_t kListenersMax = 1024;  // subscribers of one connection

hg_bytes describe();

}  // namespace headgate::postgres
