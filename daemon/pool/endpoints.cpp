// Which endpoints there are, and which a pool may use. A read pool has the read endpoints, where
// the store names some, and the primary's only while none of them can be had; it goes back when one
// can.
#include <algorithm>

#include "daemon/pool/store_pools.hpp"

namespace headgate::pool {
namespace {

// How often a read endpoint that failed is tried again while the primary serves in its place.
constexpr Micros kProbeEvery = std::chrono::seconds(5);

constexpr std::uint32_t kNowhere = UINT32_MAX;

}  // namespace

// The endpoints of settings_. One that was there before in the same role keeps all that is known of
// it, and its connections. Connections to one that is named no more go when nothing runs on them;
// until then it stands behind the named ones.
void StorePools::take_endpoints(const policy::BreakerLimits& limits) {
  std::vector<Endpoint> before;
  before.swap(endpoints_);
  std::vector<std::uint32_t> moved(before.size(), kNowhere);
  bool same = before.size() == settings_.endpoints;
  for (std::uint32_t i = 0; i < settings_.endpoints; ++i) {
    const bool reads = i >= primaries();
    std::string address =
        i < settings_.addresses.size() ? settings_.addresses[i] : std::to_string(i);
    const auto found = std::find_if(before.begin(), before.end(), [&](const Endpoint& e) {
      return e.reads == reads && e.address == address;
    });
    if (found == before.end()) {
      endpoints_.emplace_back(std::move(address), reads, limits);
      same = false;
      continue;
    }
    const auto at = static_cast<std::size_t>(found - before.begin());
    moved[at] = i;
    same = same && at == i;
    endpoints_.push_back(*found);
  }
  if (same) return;
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (moved[i] != kNowhere) continue;
    moved[i] = static_cast<std::uint32_t>(endpoints_.size());
    endpoints_.push_back(std::move(before[i]));
  }
  for (auto& p : pools_) {
    // Calls that were pinned to what is gone find their way as any other; the store says if not.
    if (p->pinned >= 0)
      p->pinned = static_cast<std::int32_t>(moved[static_cast<std::size_t>(p->pinned)]);
    if (p->pinned >= 0 && !named(static_cast<std::uint32_t>(p->pinned))) p->pinned = -1;
    p->endpoint_hint = moved[p->endpoint_hint];
    if (!named(p->endpoint_hint)) p->endpoint_hint = 0;
    p->failures = 0;
  }
  // What a server that is gone thought of an account is no reason to spare the next one.
  for (Login& l : logins_) l = {.generation = l.generation};
  for (auto& c : slots_) {
    if (c == nullptr) continue;
    c->endpoint = moved[c->endpoint];
    if (named(c->endpoint) || c->state == State::closing) continue;
    c->retire = Reason::endpoint_gone;
    if (c->state == State::connecting) move(*c, State::lagging);
    settle(*c);
  }
}

// Drops those that nothing stands on any more.
void StorePools::forget_endpoints() {
  while (endpoints_.size() > settings_.endpoints) {
    const std::size_t last = endpoints_.size() - 1;
    for (const auto& c : slots_) {
      if (c != nullptr && c->endpoint == last) return;
    }
    endpoints_.pop_back();
  }
}

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
  return e.failures == 0 && e.lagging == 0 && e.breaker.would_allow(now());
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

bool StorePools::primary_serves(Pool& p) const {
  bool found = false;
  for (const State s : {State::idle, State::open, State::full, State::leased}) {
    p.in(s).each([&](const Connection& c) {
      found = found || (c.retire == Reason::none && c.endpoint < primaries());
    });
  }
  return found;
}

// Once a second: where the primary serves a read pool, a read endpoint is tried again, beside it.
void StorePools::look_for_read_endpoints(Pool& p) {
  if (closing_ || draining_ || p.live() == 0 || p.count(State::connecting) > 0) return;
  for (std::uint32_t at = primaries(); at < settings_.endpoints; ++at) {
    if (well(at) && endpoints_[at].proven) return leave_primary(p);
  }
  if (!falls_back(p) && !primary_serves(p)) return;
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
    return connect(p, candidate(p, i), State::lagging);
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
