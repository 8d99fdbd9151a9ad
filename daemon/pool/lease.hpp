// Lease pins a connection to a caller: a transaction, named by the id of the peer's own `begin`, or
// a stream while it runs.
//
// Owner:     Leases, a slab. Threads: the loop's.
// Invariant: one connection has at most one lease and a lease exactly one connection; one call at a
//            time runs in it. When it ends, its connection is reset before it serves anybody else.
#pragma once
#include <array>
#include <cstdint>
#include <string>

#include "daemon/core/list.hpp"
#include "daemon/core/loop.hpp"
#include "daemon/core/result.hpp"
#include "daemon/pool/slab.hpp"

namespace headgate::pool {

class StorePools;
struct Connection;
struct Lease;
struct LeaseTag;
struct Work;

struct LeaseTimer final : Timer {
  void fire() override;
  Lease* lease = nullptr;
  StorePools* owner = nullptr;
};

struct Lease : Hook<LeaseTag> {
  Lease() { timer.lease = this; }
  void clear() {
    connection = nullptr, work = nullptr;
    opening = true;
  }
  std::uint64_t id = 0;  // the store's name for it
  std::uint64_t peer = 0;
  std::uint64_t tx = 0;  // request id of the call that opened it
  std::uint64_t call_id = 0;
  std::string service;
  Connection* connection = nullptr;
  Work* work = nullptr;  // the call that runs in it
  bool opening = true;   // the call that opens it has not ended
  TimePoint opened_at{}, used_at{};
  TimePoint total_at = kNever;
  Micros idle{0};
  LeaseTimer timer;
};

class Leases {
 public:
  Lease& add(std::uint64_t peer, std::uint64_t tx);
  [[nodiscard]] Lease* find(std::uint64_t peer, std::uint64_t tx);
  // A lease of this peer, or null.
  [[nodiscard]] Lease* of(std::uint64_t peer);
  [[nodiscard]] Lease* any() { return all_.front(); }
  void end(Lease& l);
  [[nodiscard]] std::size_t size() const { return all_.size(); }
  template <class F>
  void each(F&& f) {
    all_.each(f);
  }

  // Remembers what became of a lease that its caller did not end, for its next call; the latest
  // kRemembered of them.
  void remember(std::uint64_t peer, std::uint64_t tx, Outcome outcome);
  // Empty: nothing is known of it.
  [[nodiscard]] const Outcome* fate(std::uint64_t peer, std::uint64_t tx) const;

  static constexpr std::size_t kRemembered = 1024;

 private:
  struct Ended {
    std::uint64_t peer = 0, tx = 0;
    Outcome outcome = Outcome::rolled_back;
  };
  Slab<Lease> slab_;
  List<Lease, LeaseTag> all_;
  std::uint64_t next_id_ = 1;
  std::array<Ended, kRemembered> ended_{};
  std::size_t next_ended_ = 0;
};

}  // namespace headgate::pool
