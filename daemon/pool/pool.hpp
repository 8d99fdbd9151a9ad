// Pool is the queue and the connections of one lane for one access and one credential, of one
// endpoint where route pins calls to it. Endpoint is what all pools of a store know of one address.
//
// Owner: StorePools. Threads: the loop's.
// Holds: counts are those of the lists; none is kept beside them.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "daemon/core/loop.hpp"
#include "daemon/policy/admission.hpp"
#include "daemon/policy/breaker.hpp"
#include "daemon/policy/budget.hpp"
#include "daemon/policy/fairness.hpp"
#include "daemon/pool/connection.hpp"
#include "daemon/pool/work.hpp"

namespace headgate::pool {

struct PoolTag;

// Looks at its pool again, when something is due there.
struct PoolTimer final : Timer {
  void fire() override;
  Pool* pool = nullptr;
  StorePools* owner = nullptr;
};

struct Pool : Hook<PoolTag> {
  std::uint32_t lane_index = 0;
  const plugin::LaneInfo* lane = nullptr;
  Access access = Access::write;
  std::uint32_t credential = 0;
  std::int32_t pinned = -1;  // endpoint, or any
  bool reads = false;        // the store itself holds its connections read-only
  bool warm = false;         // keeps connections_min

  policy::FairQueue<Work> queue;
  std::array<List<Connection, StateTag>, kStates> connections;
  policy::ServiceTime service_time;
  PoolTimer timer;

  std::uint32_t endpoint_hint = 0;  // where the next connection goes first
  std::uint32_t failures = 0;       // connects in a row that failed
  std::uint64_t failures_total = 0;
  Fault last_failure;

  std::uint64_t calls = 0, attempts = 0, retries = 0, refused = 0;

  [[nodiscard]] List<Connection, StateTag>& in(State s) {
    return connections[static_cast<std::size_t>(s)];
  }
  [[nodiscard]] std::size_t count(State s) const {
    return connections[static_cast<std::size_t>(s)].size();
  }
  // All that exist, those that close included.
  [[nodiscard]] std::size_t count() const {
    std::size_t n = 0;
    for (const auto& list : connections) n += list.size();
    return n;
  }
  // Those that count against a maximum.
  [[nodiscard]] std::size_t held() const { return count() - count(State::lagging); }
  [[nodiscard]] std::size_t staying() const { return held() - count(State::closing); }
  // Those that serve, or soon will again.
  [[nodiscard]] std::size_t live() const { return staying() - count(State::connecting); }
  // Those that will be idle before long without any caller's doing.
  [[nodiscard]] std::size_t coming() const {
    return count(State::connecting) + count(State::checking) + count(State::resetting);
  }
};

struct Endpoint {
  Endpoint(std::string a, bool r, const policy::BreakerLimits& limits)
      : address(std::move(a)), reads(r), breaker(limits) {}
  std::string address;
  bool reads;  // a read endpoint
  policy::Breaker breaker;
  std::uint32_t connecting = 0;  // being made, those that lag included
  std::uint32_t lagging = 0;
  std::uint32_t failures = 0;  // connects in a row that failed
  bool proven = false;         // the latest connect succeeded, and nothing was lost since
  TimePoint retry_at{};        // no connect before
  TimePoint suspect_since{};   // what was idle then is asked before it serves
  TimePoint probed_at{};       // a read endpoint that failed, beside the primary
};

// How many connections a store that was full leaves the pools of a credential (ceiling.cpp).
struct Room {
  std::uint32_t ceiling = 0;  // 0: it has not been full
  bool tried = false;         // it was raised, and nothing has been refused since
  TimePoint raise_at{};
  TimePoint freed_at{};  // when one of ours was closed last
};

// What is known of one credential.
struct Login {
  std::array<Room, 2> rooms{};  // the second: at the read endpoints
  std::uint32_t generation = 0;
  std::uint32_t refusals = 0;  // in a row
  TimePoint probe_at{};        // with two or more: no connect before
  Fault last;
};

// What one service has going on in this store.
struct Service {
  explicit Service(double ratio, std::uint32_t floor) : budget(ratio, floor) {}
  std::uint64_t waiting_calls = 0;
  std::uint64_t waiting_bytes = 0;
  policy::Budget budget;
};

}  // namespace headgate::pool
