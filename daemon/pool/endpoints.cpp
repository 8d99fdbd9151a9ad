// Which endpoints a pool may use. A read pool has the read endpoints, where the store names some,
// and the primary's only while none of them can be had; it goes back when one can.
#include <algorithm>

#include "daemon/pool/store_pools.hpp"

namespace headgate::pool {
namespace {

// How often a read endpoint that failed is tried again while the primary serves in its place.
constexpr Micros kProbeEvery = std::chrono::seconds(5);

}  // namespace

std::uint32_t StorePools::primaries() const {
  return settings_.endpoints - settings_.read_endpoints;
}

bool StorePools::has_read_endpoints(const Pool& p) const {
  return settings_.read_endpoints > 0 && p.access == Access::read && p.pinned < 0;
}

// The i-th of its endpoints_of(p), in the order of preference.
std::uint32_t StorePools::candidate(const Pool& p, std::uint32_t i) const {
  if (p.pinned >= 0) return static_cast<std::uint32_t>(p.pinned);
  const std::uint32_t n = primaries();
  const bool read_hint = p.endpoint_hint >= n;
  if (has_read_endpoints(p)) {
    const std::uint32_t reads = settings_.read_endpoints;
    if (i < reads) return n + ((read_hint ? p.endpoint_hint - n : 0) + i) % reads;
    i -= reads;
  }
  return ((read_hint ? 0 : p.endpoint_hint) + i) % n;
}

// The next of its own sort.
std::uint32_t StorePools::endpoint_after(std::uint32_t endpoint) const {
  const std::uint32_t n = primaries();
  if (endpoint < n) return (endpoint + 1) % n;
  return n + (endpoint - n + 1) % settings_.read_endpoints;
}

bool StorePools::well(std::uint32_t endpoint) const {
  const Endpoint& e = endpoints_[endpoint];
  return e.failures == 0 && e.breaker.would_allow(now());
}

// None of its read endpoints is worth a caller's time.
bool StorePools::falls_back(const Pool& p) const {
  if (!has_read_endpoints(p)) return false;
  for (std::uint32_t at = primaries(); at < settings_.endpoints; ++at) {
    if (well(at)) return false;
  }
  return true;
}

// While a read endpoint is well the primary is left alone. While none is, callers have the primary,
// and the others are tried beside it; where that is not well either, all are tried.
bool StorePools::left_alone(const Pool& p, std::uint32_t endpoint) const {
  if (!has_read_endpoints(p)) return false;
  const bool primary = endpoint < primaries();
  if (!falls_back(p)) return primary;
  if (primary) return false;
  for (std::uint32_t at = 0; at < primaries(); ++at) {
    if (well(at)) return true;
  }
  return false;
}

// Once a second: where the primary serves a read pool, a read endpoint is tried again, beside it.
void StorePools::look_for_read_endpoints(Pool& p) {
  if (closing_ || draining_ || p.live() == 0 || p.count(State::connecting) > 0) return;
  if (!falls_back(p)) return leave_primary(p);
  for (std::uint32_t i = 0; i < settings_.read_endpoints; ++i) {
    Endpoint& e = endpoints_[candidate(p, i)];
    if (e.connecting > 0 || now() < std::max(e.retry_at, e.probed_at + kProbeEvery)) continue;
    if (!e.breaker.would_allow(now())) continue;
    if (!room_for_one(p)) {
      // Its own maximum is reached: an idle one makes the room.
      if (Connection* c = p.in(State::idle).back()) close(*c, Reason::given_up_for_another);
      return;
    }
    e.probed_at = now();
    return connect(p, candidate(p, i));
  }
}

// A read endpoint can be had: connections to the primary go when nothing runs on them.
void StorePools::leave_primary(Pool& p) {
  for (const State s : {State::idle, State::open, State::full, State::leased}) {
    p.in(s).each([&](Connection& c) {
      if (c.endpoint >= primaries() || c.retire != Reason::none) return;
      c.retire = Reason::wrong_role;
      settle(c);
    });
  }
}

}  // namespace headgate::pool
