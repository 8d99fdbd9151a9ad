// Connection is one Link with what the pool knows of it. Its state is the list it is in;
// StorePools::move is the one function that changes it, and every close has a reason.
//
// Owner:     StorePools; destroyed at the end of a turn after LinkEvents::closed. Threads: the
// loop's. Invariant: at most one lease; inflight <= the lane's max_inflight; nothing is handed over
// while a
//            cancel is under way or an orphan (an operation whose caller was answered) still runs.
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "daemon/core/list.hpp"
#include "daemon/core/loop.hpp"
#include "daemon/plugin/link.hpp"

namespace headgate::pool {

class StorePools;
struct Connection;
struct Lease;
struct Pool;
struct StateTag;
struct SubmitTag;

enum class State : std::uint8_t {
  connecting,
  lagging,    // as connecting; but it takes long or is not wanted any more, so nobody counts on it
  idle,       // nothing in flight
  open,       // something in flight, and room for more
  full,       // no room, or what runs wants to be alone
  leased,     // held for one caller
  checking,   // asked whether it still lives, before it serves
  resetting,  // rolled back and cleaned, before it serves
  stopped,    // drains: a cancel is under way, an orphan runs, or it is to be closed
  closing,
};
inline constexpr std::size_t kStates = 10;
// There is no link yet.
constexpr bool being_made(State s) { return s == State::connecting || s == State::lagging; }

enum class Reason : std::uint8_t {
  none,
  broken,
  lost,
  idle_too_long,
  lifetime,
  generation,
  wrong_role,
  endpoint_gone,
  endpoint_failing,
  given_up_for_another,
  stuck,
  connect_failed,
  shutdown
};
inline constexpr std::size_t kReasons = 13;

constexpr std::string_view name(Reason r) {
  constexpr std::string_view names[] = {
      "none",       "broken",         "lost",          "idle_too_long",    "lifetime",
      "generation", "wrong_role",     "endpoint_gone", "endpoint_failing", "given_up_for_another",
      "stuck",      "connect_failed", "shutdown"};
  return names[static_cast<std::size_t>(r)];
}

// Bounds whatever a connection does on its own: connect, check, reset, and the return of an orphan.
struct ConnectionTimer final : Timer {
  void fire() override;
  Connection* connection = nullptr;
  StorePools* owner = nullptr;
};

struct Connection : Hook<StateTag>, Hook<SubmitTag> {
  plugin::Ticket ticket = 0;
  Pool* pool = nullptr;
  std::uint32_t endpoint = 0;
  std::uint32_t generation = 0;
  State state = State::connecting;
  Reason retire = Reason::none;  // close it, and why, as soon as nothing runs
  bool linked_in = false;        // in one of its pool's lists
  bool broken = false;
  bool needs_reset = false;
  bool exclusive = false;  // what runs is a lease's opening, or wants to be alone
  bool probe = false;      // took one of its endpoint's probes
  bool late = false;       // its connect was given up on
  bool gone = false;       // LinkEvents::closed has been called

  std::unique_ptr<plugin::Link> link;
  std::uint32_t inflight = 0;  // operations of calls, staged ones included
  std::uint32_t orphans = 0;   // of them, those whose caller has been answered
  std::uint32_t cancels = 0;   // sent and not returned
  Lease* lease = nullptr;
  std::uint64_t fate_peer = 0;  // the transaction that an orphan here belonged to
  std::uint64_t fate_tx = 0;
  plugin::Operation* own = nullptr;       // a reset or a check
  std::vector<plugin::Operation*> batch;  // staged, in order

  TimePoint opened_at{};
  TimePoint used_at{};            // last sign of life
  TimePoint expires_at = kNever;  // being made: when those who wait are told
  ConnectionTimer timer;
};

}  // namespace headgate::pool
