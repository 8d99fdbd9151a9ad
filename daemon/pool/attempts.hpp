// Attempts carries a call from admission to its answer: queue, connection, attempt, retry. Read
// this file first: it is the whole of what dispatch knows about pools.
//
// Owner:     Gateway, one for each configured store (pool::StorePools implements it).
// Threads:   the loop's.
// Invariant: every call given to start() ends in exactly one Answers::answer(), whatever happens.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/core/call.hpp"
#include "daemon/core/log.hpp"
#include "daemon/core/loop.hpp"
#include "daemon/plugin/link.hpp"

namespace headgate::pool {

// Which credential a pool logs in with. Pools are never shared between credentials.
struct Credentials {
  // By service index, then HG_ACCESS_*; a service beyond the end has those of index 0.
  std::vector<std::array<std::uint32_t, 4>> by_service;
  // By credential: a change replaces the connections that logged in with it before. None: 0.
  std::vector<std::uint32_t> generations;
  std::vector<std::string> names;  // by credential, for the log; may be short

  [[nodiscard]] std::uint32_t of(std::uint32_t service, Access access) const {
    if (by_service.empty()) return 0;
    const auto& row = by_service[service < by_service.size() ? service : 0];
    return row[static_cast<std::size_t>(access)];
  }
};

// What configuration says about one store's pools. Defaults are those of the design.
struct Settings {
  std::string store;
  std::uint32_t endpoints = 1;         // number of them; 1 for embedded stores
  std::uint32_t read_endpoints = 0;    // of them, the last: for read pools alone
  std::vector<std::string> addresses;  // of the endpoints: what tells them apart at a reload
  Credentials credentials;
  std::uint32_t connections_min = 0;
  std::uint32_t connections_max = 16;  // over all pools of the store
  Micros idle_max{std::chrono::minutes(10)};
  Micros lifetime_max{std::chrono::hours(1)};  // with up to 10 % jitter
  Micros check_after{std::chrono::seconds(30)};
  Micros connect_timeout{std::chrono::seconds(5)};
  std::uint32_t connects_max = 2;             // at once, an endpoint
  std::uint32_t queue_calls_max = 4096;       // a service
  std::uint64_t queue_bytes_max = 64u << 20;  // a service
  Micros lease_idle{std::chrono::seconds(10)};
  Micros lease_total{std::chrono::seconds(60)};
  Micros writer_lease_idle{std::chrono::seconds(1)};  // lanes with one connection a store
  Micros writer_lease_total{std::chrono::seconds(5)};
  Micros stall_store{std::chrono::seconds(10)};
  Micros stall_caller{std::chrono::seconds(30)};
  Micros stream_max{std::chrono::hours(1)};
  std::uint32_t attempts_max = 3;
  Micros backoff_base{20'000};
  Micros backoff_cap{2'000'000};
  double budget_service = 0.10;  // repeats a request, for each service
  double budget_store = 0.20;
  std::uint32_t budget_floor = 3;
  double breaker_ratio = 0.5;
  std::uint32_t breaker_min_calls = 20;
  Micros breaker_window{std::chrono::seconds(10)};
  Micros breaker_open_min{std::chrono::seconds(1)};
  Micros breaker_open_max{std::chrono::seconds(30)};
  std::uint32_t breaker_probes = 3;  // at once, half-open
  Micros ceiling_raise{
      std::chrono::seconds(30)};  // after a store was full, one more is tried so often
  Micros login_probe{
      std::chrono::seconds(30)};  // after a login was refused twice, at most so often
};

// What has happened so far; grows only.
struct Counters {
  std::uint64_t calls = 0;  // given to start()
  std::uint64_t answered = 0;
  std::uint64_t attempts = 0;      // operations handed to a connection
  std::uint64_t retries = 0;       // repeats that the budget paid for
  std::uint64_t budget_spent = 0;  // answers because it had none left
  std::uint64_t refused = 0;       // answered without having waited
  std::uint64_t queue_timeouts = 0;
  std::uint64_t deadlines = 0;  // passed in the store
  std::uint64_t late = 0;       // results whose caller had been answered
  std::uint64_t cancels = 0;
  std::uint64_t reroutes = 0;
  std::uint64_t waits = 0;  // HG_RETRY_WAIT
  std::uint64_t connects = 0, connect_failures = 0, closes = 0;
  std::uint64_t checks = 0, resets = 0;
  std::uint64_t leases = 0, leases_expired = 0;
  std::uint64_t breaker_opened = 0;
};

// One row of `show pools`.
struct PoolRow {
  std::string store, lane, access;
  std::uint32_t credential;
  std::uint32_t ceiling;  // connections that it may have now
  std::uint32_t connections, idle, busy, leased, connecting, waiting;
  std::int64_t oldest_wait_us;
  std::uint64_t calls, attempts, retries, refused;
  std::string breaker;
};

// One row of `show leases`.
struct LeaseRow {
  std::uint64_t call_id, peer;
  std::string service, lane;
  std::int64_t age_us, idle_us;
};

// Random numbers come in as an argument too, so that a schedule can be replayed.
class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t next() = 0;  // 64 uniform bits
};

class Attempts {
 public:
  virtual ~Attempts() = default;

  // REQUIRES: grants were checked for store, verb and access; call.deadline is set. May answer
  // before it returns.
  virtual void start(Call& call) = 0;
  // Ends the call early: its answer is `why` with the outcome that is known. A call that is running
  // is cancelled in the store where the lane can; what it still does is counted and dropped.
  virtual void give_up(Call& call, Code why, std::string_view message) = 0;
  virtual void credit(Call& call, std::uint64_t sequence) = 0;
  virtual void upload(Call& call, std::vector<std::uint8_t> piece, bool last) = 0;
  // The peer is gone: its leases roll back. (Its calls are given up by dispatch first.)
  virtual void peer_gone(std::uint64_t peer) = 0;
  [[nodiscard]] virtual bool has_leases(std::uint64_t peer) const = 0;

  // No new leases and no new calls from here on; `drained()` once nothing runs. end_leases() rolls
  // back what is left.
  virtual void drain() = 0;
  virtual void end_leases() = 0;
  [[nodiscard]] virtual bool drained() const = 0;

  // Keeps `connections_min` warm, from now on.
  virtual void warm() = 0;
  // New settings after a reload. Connections drain whose credential has another generation, or all
  // where `generation` is another, and those to endpoints that are not named any more.
  virtual void apply(const Settings& settings, std::uint32_t generation) = 0;
  // Closes every connection; true from closed() on when none is left.
  virtual void close() = 0;
  [[nodiscard]] virtual bool closed() const = 0;

  [[nodiscard]] virtual std::vector<PoolRow> rows() const = 0;
  [[nodiscard]] virtual std::vector<LeaseRow> leases() const = 0;
  [[nodiscard]] virtual Counters counters() const { return {}; }
  // Closed connections by the reason's name.
  [[nodiscard]] virtual std::vector<std::pair<std::string, std::uint64_t>> closes() const {
    return {};
  }
};

// `log` may be null.
std::unique_ptr<Attempts> make_attempts(Loop& loop, Random& random, plugin::Store& store,
                                        Answers& answers, Settings settings, Log* log = nullptr);

}  // namespace headgate::pool
