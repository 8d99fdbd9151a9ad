// What `show pools`, `show leases` and the metrics see: values, copied.
#include <algorithm>

#include "daemon/pool/store_pools.hpp"

namespace headgate::pool {
namespace {

std::string access_name(Access a) {
  switch (a) {
    case Access::read:
      return "read";
    case Access::write:
      return "write";
    case Access::admin:
      return "admin";
  }
  return "";
}

}  // namespace

std::vector<PoolRow> StorePools::rows() const {
  std::vector<PoolRow> rows;
  for (const auto& p : pools_) {
    const auto n = [&](State s) { return static_cast<std::uint32_t>(p->count(s)); };
    PoolRow r{};
    r.store = settings_.store;
    r.lane = p->lane->name;
    r.access = access_name(p->access);
    r.credential = p->credential;
    const std::uint32_t room_for = room(*p).ceiling;
    r.ceiling = static_cast<std::uint32_t>(
        room_for == 0 ? cap(*p) : std::min<std::size_t>(room_for, cap(*p)));
    r.connections = static_cast<std::uint32_t>(p->live());
    r.idle = n(State::idle);
    r.leased = n(State::leased);
    r.busy = r.connections - r.idle - r.leased;
    r.connecting = n(State::connecting) + n(State::lagging);
    r.waiting = static_cast<std::uint32_t>(p->queue.size());
    const Work* oldest = p->queue.oldest();
    r.oldest_wait_us = oldest == nullptr ? 0 : (now() - oldest->queued_at).count();
    r.calls = p->calls;
    r.attempts = p->attempts;
    r.retries = p->retries;
    r.refused = p->refused;
    auto worst = policy::Breaker::State::closed;
    for (std::uint32_t i = 0; i < endpoints_of(*p); ++i) {
      const auto s = endpoints_[candidate(*p, i)].breaker.state(now());
      if (s == policy::Breaker::State::open || worst == policy::Breaker::State::closed) worst = s;
    }
    r.breaker = std::string(policy::name(worst));
    rows.push_back(std::move(r));
  }
  return rows;
}

std::vector<LeaseRow> StorePools::leases() const {
  std::vector<LeaseRow> rows;
  const_cast<Leases&>(leases_).each([&](Lease& l) {
    rows.push_back({l.call_id, l.peer, l.service, l.connection->pool->lane->name,
                    (now() - l.opened_at).count(),
                    l.work != nullptr ? 0 : (now() - l.used_at).count()});
  });
  return rows;
}

Counters StorePools::counters() const { return counters_; }

std::vector<std::pair<std::string, std::uint64_t>> StorePools::closes() const {
  std::vector<std::pair<std::string, std::uint64_t>> all;
  for (std::size_t i = 1; i < kReasons; ++i) {
    all.emplace_back(std::string(name(static_cast<Reason>(i))), closes_[i]);
  }
  return all;
}

}  // namespace headgate::pool
