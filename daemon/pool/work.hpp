// Work is what the pools know of one call that is not answered yet: where it waits, what it runs
// on, and what its attempts came to. Call::attempt points to it.
//
// Owner:     StorePools, a slab. Threads: the loop's.
// Invariant: a Work is in exactly one state; it is in its pool's queue when `queued`, in the list
// of
//            its state otherwise, and has an operation when `staged` or `running`.
#pragma once
#include <cstdint>
#include <string>

#include "daemon/core/call.hpp"
#include "daemon/core/list.hpp"
#include "daemon/core/loop.hpp"
#include "daemon/plugin/link.hpp"
#include "daemon/policy/fairness.hpp"

namespace headgate::pool {

class StorePools;
struct Connection;
struct Lease;
struct Pool;
struct Work;
struct WorkTag;

enum class WorkState : std::uint8_t {
  none,
  queued,   // in its pool's queue, waiting for a connection with room
  paused,   // until its next attempt
  waiting,  // a verb that waits by nature, until its token is woken
  staged,   // has a connection; handed over at the end of this turn
  running,  // handed over
};

// What a call's time is measured against now.
enum class Clocked : std::uint8_t { deadline, upload, stream };

struct DeadlineTimer final : Timer {
  void fire() override;
  Work* work = nullptr;
};
struct PauseTimer final : Timer {
  void fire() override;
  Work* work = nullptr;
};

struct Work : policy::FairHook<Work>, Hook<WorkTag> {
  Work() { deadline_timer.work = pause_timer.work = this; }
  void clear() {
    owner = nullptr, call = nullptr, pool = nullptr, op = nullptr, connection = nullptr;
    lease = nullptr, state = WorkState::none, clocked = Clocked::deadline;
    in_transaction = was_unknown = failed = upload_taken = upload_ended = part_left = false;
    tries = hops = role_changes = 0;
    parts = 0;
    receipt.clear();
  }

  StorePools* owner = nullptr;
  Call* call = nullptr;
  Pool* pool = nullptr;
  plugin::Operation* op = nullptr;
  Connection* connection = nullptr;
  Lease* lease = nullptr;  // that it runs in, or opens
  plugin::Route route;
  WorkState state = WorkState::none;
  Clocked clocked = Clocked::deadline;

  bool in_transaction = false;  // of the caller: never replayed
  bool was_unknown = false;     // an attempt so far was
  bool failed = false;          // `last` says how the latest attempt ended
  bool upload_taken = false;    // a piece of it was handed over
  bool upload_ended = false;    // and the last one
  bool part_left = false;
  std::uint32_t tries = 0;  // attempts that count toward attempts_max
  std::uint32_t hops = 0;
  std::uint32_t role_changes = 0;
  std::uint64_t parts = 0;  // parts that have left
  Fault last;
  std::string receipt;  // of an attempt whose reply was lost

  TimePoint queued_at{};
  Deadline answer_at = kNever;  // when the caller is told, whatever happens
  TimePoint stream_end = kNever;
  Micros timeout{0};                // uploads: what remains after `last`
  std::uint64_t failures_seen = 0;  // connect failures of its pool after which it is answered
  std::uint64_t wakes_seen = 0;     // StorePools::wakes_ when it was handed over

  DeadlineTimer deadline_timer;
  PauseTimer pause_timer;
};

}  // namespace headgate::pool
