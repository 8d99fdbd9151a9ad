// Whatever time, or a caller who gives up, does to a call: the caller is answered at once, and what
// still runs for it in the store becomes an orphan, cancelled where the lane can.
#include <algorithm>
#include <cassert>

#include "daemon/pool/store_pools.hpp"

namespace headgate::pool {

using policy::mutated;
using policy::Mutation;

namespace {
// How long an orphan may take before its connection counts as stuck. Where the lane can cancel, the
// link writes off a worker that does not come back (5 s) before we do.
constexpr Micros kOrphanMax = std::chrono::seconds(5);
constexpr Micros kCancelledMax = std::chrono::seconds(12);
}  // namespace

void DeadlineTimer::fire() { work->owner->expire(*work); }
void PauseTimer::fire() { work->owner->resume(*work); }

bool StorePools::sole_writer(const Pool& p) const {
  return p.lane->per_store && !p.lane->read_only && cap(p) == 1;
}

void StorePools::resume(Work& w) {
  assert(w.state == WorkState::paused || w.state == WorkState::waiting);
  enqueue(w);
}

void StorePools::expire(Work& w) {
  switch (w.state) {
    case WorkState::none:
    case WorkState::queued:
    case WorkState::paused:
      if (w.failed) {  // rule (c): the last real outcome rather than a bare timeout
        const policy::Situation s = situation(w, w.last);
        const Outcome outcome = policy::settled_outcome(s);
        const bool again = outcome != Outcome::unknown || s.read || s.idempotent || s.keyed;
        return answer_fault(w, std::move(w.last), outcome, again, 0);
      }
      ++counters_.queue_timeouts;
      if (w.pool->failures > 0 && w.pool->live() == 0) {
        return answer_fault(w, fault_of(Code::unavailable, w.pool->last_failure.message),
                            Outcome::not_sent, true, 0);
      }
      return answer_fault(w, fault_of(Code::queue_timeout, "no connection was free in time"),
                          Outcome::not_sent, true, 0);
    case WorkState::waiting:
      return answer_fault(w, fault_of(Code::deadline, "nothing came in time"), w.last.outcome, true,
                          0);
    case WorkState::staged:
    case WorkState::running:
      break;
  }
  ++counters_.deadlines;
  const bool no_credit = w.clocked == Clocked::stream && w.call->credit <= w.parts;
  if (w.clocked == Clocked::stream && now() >= w.stream_end) {
    stop_running(w, Code::deadline,
                 w.route.subscription ? "the configuration has changed since: subscribe again"
                                      : "the stream lasted too long");
  } else if (no_credit) {
    stop_running(w, Code::cancelled, "the caller took no part of the stream for too long");
  } else if (w.clocked == Clocked::stream) {
    stop_running(w, Code::deadline, "the store sent nothing of the stream for too long");
  } else if (w.clocked == Clocked::upload && now() >= w.stream_end) {
    stop_running(w, Code::deadline, "the upload lasted too long");
  } else if (w.clocked == Clocked::upload) {
    stop_running(w, Code::cancelled, "the caller sent no piece of the upload for too long");
  } else {
    stop_running(w, Code::deadline, "the deadline passed in the store");
  }
}

// Answers with `why` and the outcome that is known. REQUIRES: w is not answered.
void StorePools::stop_running(Work& w, Code why, std::string_view message) {
  Outcome outcome = Outcome::not_sent;
  if (w.failed) outcome = policy::settled_outcome(situation(w, w.last));
  if (w.state == WorkState::staged) {
    Connection& c = *w.connection;
    unstage(w);
    if (Lease* l = w.lease) {
      l->work = nullptr;
      w.lease = nullptr;
      if (l->opening) {
        c.lease = nullptr;
        leases_.end(*l);
      } else {
        arm_lease(*l);  // nothing happened in it
      }
    }
    settle(c);
    mark(*c.pool);
  } else if (w.state == WorkState::running) {
    // Whatever becomes of it, nothing is applied: the store itself holds reads to reading, and an
    // upload that does not come to its end is undone.
    const bool nothing = w.pool->reads || (w.call->upload && !w.upload_ended);
    if (orphan(w)) outcome = nothing ? Outcome::rolled_back : Outcome::unknown;
  }
  const bool again = outcome != Outcome::unknown || w.pool->reads || w.call->idempotent ||
                     w.route.idempotent || !w.call->key.empty();
  answer_fault(w, fault_of(why, std::string(message)), outcome, again && !w.in_transaction, 0);
}

// The operation goes on without its call; its connection takes nothing until it has ended. False:
// it had not begun, and never will.
bool StorePools::orphan(Work& w) {
  Connection& c = *w.connection;
  plugin::Operation& op = *w.op;
  w.op = nullptr;
  w.connection = nullptr;
  if (!mutated(Mutation::answer_twice)) op.call = nullptr;
  ++c.orphans;
  const bool closing = c.link == nullptr || c.state == State::closing;
  const bool begun = closing || !c.link->abandon(op);
  if (Lease* l = w.lease) {
    w.lease = nullptr;
    // The call may be its commit: until it has ended nobody knows.
    const bool open = begun && !l->opening;
    if (open) c.fate_peer = l->peer, c.fate_tx = l->tx;
    end_lease(*l, false, open ? Outcome::unknown : Outcome::rolled_back);
  }
  if (closing) return begun;
  if (!begun) {  // its turn comes when what runs before it has ended, in that one's time
    settle(c);
    return false;
  }
  if (c.pool->lane->cancel) {
    ++c.cancels;
    ++counters_.cancels;
    c.link->cancel(op);
    if (c.pool->lane->max_inflight == 1) c.needs_reset = true;
  }
  if (!c.timer.armed()) {
    loop_.arm(c.timer, now() + (c.pool->lane->cancel ? kCancelledMax : kOrphanMax));
  }
  settle(c);
  return true;
}

// After its first part a stream lives by progress: of the store while there is credit, of the
// caller while there is none.
void StorePools::clock_stream(Work& w) {
  const Micros patience =
      sole_writer(*w.pool) ? settings_.writer_lease_idle : settings_.stall_caller;
  const Micros limit = w.call->credit > w.parts ? settings_.stall_store : patience;
  w.answer_at = std::min(now() + limit, w.stream_end);
  loop_.arm(w.deadline_timer, w.answer_at);
}

// Until its last piece an upload lives by its caller's progress, within what the store was given.
void StorePools::clock_upload(Work& w) {
  const bool sole = sole_writer(*w.pool);
  if (w.clocked != Clocked::upload) {
    w.clocked = Clocked::upload;
    // place() left the caller its timeout after the last piece, unless the lease ends before.
    const bool capped = w.lease != nullptr && w.call->deadline >= w.lease->total_at;
    w.stream_end =
        w.call->deadline == kNever || capped ? w.call->deadline : w.call->deadline - w.timeout;
  }
  w.answer_at =
      std::min(now() + (sole ? settings_.writer_lease_idle : settings_.stall_caller), w.stream_end);
  loop_.arm(w.deadline_timer, w.answer_at);
}

}  // namespace headgate::pool
