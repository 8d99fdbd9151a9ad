// What the end of an operation means: for its connection, its lease, its endpoint and its call.
#include <algorithm>
#include <cassert>

#include "daemon/policy/backoff.hpp"
#include "daemon/pool/store_pools.hpp"

namespace headgate::pool {

using plugin::ConnState;
using plugin::Done;
using plugin::LeaseState;
using policy::mutated;
using policy::Mutation;
using policy::Next;

void StorePools::completed(plugin::Operation& op) {
  Connection& c = *static_cast<Connection*>(op.owner);
  if (op.purpose != plugin::Purpose::call) return own_completed(c, op);
  Work* w = op.call == nullptr ? nullptr : static_cast<Work*>(op.call->attempt);
  Done done = std::move(op.done);
  ReplyBuffer body = std::move(op.reply);
  const Micros held = now() - op.submitted;
  if (mutated(Mutation::answer_twice) && w == nullptr && op.call != nullptr) {
    answers_.answer(*op.call, Answer{});
  }
  if (w != nullptr || !mutated(Mutation::count_drifts)) end_operation(op);
  if (w == nullptr) {
    --c.orphans;
    ++counters_.late;
    // Its transaction is still open, hence was not committed: now that is known.
    if (c.fate_tx != 0 && done.lease != LeaseState::none) {
      leases_.remember(c.fate_peer, c.fate_tx, Outcome::rolled_back);
    }
    c.fate_tx = 0;
  } else {
    w->op = nullptr;
    w->connection = nullptr;
    w->call->store_us += held.count();
    if (w->lease == nullptr) c.pool->service_time.sample(held);
  }
  --c.inflight;
  if (c.inflight == 0) c.exclusive = false;
  c.used_at = now();
  if (done.connection == ConnState::broken) c.broken = true;
  if (done.connection == ConnState::needs_reset) c.needs_reset = true;
  note_health(c, done);
  const bool lease_open = after_lease(c, w, done);
  settle(c);
  mark(*c.pool);
  if (w == nullptr) return;
  if (done.ok) return succeed(*w, done, std::move(body), lease_open);
  fail(*w, done, std::move(body));
}

void StorePools::note_health(Connection& c, const Done& done) {
  Endpoint& e = endpoints_[c.endpoint];
  report(c.endpoint, !done.ok && (done.fault.outcome == Outcome::unknown || done.fault.breaker));
  if (done.ok) return;
  // One stale connection: its neighbours are asked before they serve.
  if (done.connection == ConnState::broken) {
    e.suspect_since = now();
    e.proven = false;
  }
  if (done.fault.retry == Retry::other_endpoint) note_role_change(c);
}

// The primary moved: connections of this generation go, and the next ones are made elsewhere.
void StorePools::note_role_change(Connection& c) {
  for (auto& other : slots_) {
    if (other == nullptr || other->endpoint != c.endpoint ||
        other->pool->access != c.pool->access || other->state == State::closing) {
      continue;
    }
    if (other->retire == Reason::none) other->retire = Reason::wrong_role;
    if (other.get() != &c && other->link != nullptr) settle(*other);
  }
  for (auto& p : pools_) {
    if (p->access == c.pool->access && p->endpoint_hint == c.endpoint) {
      p->endpoint_hint = endpoint_after(c.endpoint);
    }
  }
}

// True: the call has opened a lease that lives on.
bool StorePools::after_lease(Connection& c, Work* w, const Done& done) {
  Lease* l = c.lease;
  if (l == nullptr || w == nullptr || l->work != w) {
    // Nobody asked for a lease, or nobody holds it any more: what is open is rolled back.
    if (done.lease != LeaseState::none) c.needs_reset = true;
    return false;
  }
  l->work = nullptr;
  w->lease = nullptr;
  const bool opener = l->opening;
  const bool unknown = !done.ok && done.fault.outcome == Outcome::unknown;
  if (!c.broken && done.lease != LeaseState::none && !(opener && !done.ok) && !unknown) {
    if (opener) {  // its limits count from here: the store may have taken its time
      l->total_at = l->total_at + (now() - l->opened_at);
      l->opened_at = now();
      l->opening = false;
    }
    l->used_at = now();
    arm_lease(*l);
    return opener;
  }
  // Ended by its caller; or lost with its connection, which rolls back what was not committed.
  const bool by_caller = opener || (done.lease == LeaseState::none && !unknown && !c.broken);
  end_lease(*l, by_caller, unknown ? Outcome::unknown : Outcome::rolled_back);
  return false;
}

void StorePools::succeed(Work& w, Done& done, ReplyBuffer body, bool lease_open) {
  Answer a;
  a.body = std::move(body);
  a.has_rows_affected = done.has_rows_affected;
  a.rows_affected = done.rows_affected;
  a.has_last_id = done.has_last_id;
  a.last_id = done.last_id;
  a.replayed = done.replayed;
  a.not_replicated = done.not_replicated;
  a.warnings = std::move(done.warnings);
  a.lease_open = lease_open;
  answer(w, std::move(a));
}

policy::Situation StorePools::situation(const Work& w, const Fault& f) {
  policy::Situation s;
  s.outcome = f.outcome;
  s.retry = f.retry;
  s.hint_ms = f.retry_after_ms;
  s.code = f.code;
  s.read = w.pool->reads;
  s.idempotent = w.call->idempotent || w.route.idempotent;
  s.keyed = !w.call->key.empty();
  s.receipt = !w.receipt.empty();
  s.in_transaction = w.in_transaction;
  s.part_left = w.part_left;
  s.upload_taken = w.upload_taken;
  s.was_unknown = w.was_unknown;
  s.attempts = w.tries;
  s.hops = w.hops;
  s.role_changes = w.role_changes;
  s.now = now();
  s.deadline = w.answer_at;
  s.budget = service(*w.call).budget.allows(now()) && budget_.allows(now());
  return s;
}

void StorePools::fail(Work& w, Done& done, ReplyBuffer body) {
  if (!done.receipt.empty()) w.receipt = std::move(done.receipt);
  const policy::Situation s = situation(w, done.fault);
  const policy::Decision d = policy::decide(s, retry_, random_.next());
  if (s.outcome == Outcome::unknown) w.was_unknown = true;
  if (s.retry == Retry::other_endpoint) ++w.role_changes;
  w.last = std::move(done.fault);
  w.failed = true;
  if (d.next != Next::answer && !closing_) return again(w, d);

  if (d.why == policy::Why::budget) ++counters_.budget_spent;
  Answer a;
  a.fault = std::move(w.last);
  a.outcome = a.fault.outcome = d.next == Next::answer ? d.outcome : policy::settled_outcome(s);
  // A transaction that is gone as a whole says so, whatever the store calls it.
  if (w.in_transaction && s.outcome == Outcome::rolled_back && done.lease != LeaseState::open &&
      (a.fault.code == Code::conflict || a.fault.code == Code::store_error)) {
    a.fault.code = Code::transaction_aborted;
  }
  a.code = a.fault.code;
  a.retryable = d.retryable;
  a.retry_after_ms = d.retry_after_ms;
  if (done.keep_body) a.body = std::move(body);
  a.warnings = std::move(done.warnings);
  answer(w, std::move(a));
}

void StorePools::again(Work& w, const policy::Decision& d) {
  if (d.repeat) {
    service(*w.call).budget.repeat(now());
    budget_.repeat(now());
    ++counters_.retries;
    ++w.pool->retries;
  }
  // Its transaction is gone or goes on without it: a repeat with a receipt only asks.
  w.in_transaction = false;
  if (mutated(Mutation::lost_waiter) && d.next == Next::pause) {
    loop_.disarm(w.deadline_timer);
    return move(w, WorkState::none);
  }
  switch (d.next) {
    case Next::answer:
      assert(false);
      break;
    case Next::again:
      enqueue(w);
      break;
    case Next::pause:
      move(w, WorkState::paused);
      loop_.arm(w.pause_timer, now() + d.pause);
      break;
    case Next::reroute:
      reroute(w);
      break;
    case Next::wait:
      wait(w, d.pause);
      break;
  }
}

void StorePools::reroute(Work& w) {
  ++counters_.reroutes;
  ++w.hops;
  --w.tries;
  move(w, WorkState::none);
  auto route = store_.route(*w.call, w.hops, &w.last);
  const bool able = route && route->lane < store_.lanes().size() &&
                    (!route->lease || store_.lanes()[route->lane].lease);
  if (!able) {
    Fault f = route ? fault_of(Code::internal, "the plugin named a lane that cannot do this")
                    : std::move(route.error());
    // Nothing more was sent: what is known is what the attempt before said.
    const Outcome outcome = w.was_unknown ? Outcome::unknown : w.last.outcome;
    return answer_fault(w, std::move(f), outcome, false, 0);
  }
  w.route = *route;
  w.pool = &pool_for(*route, *w.call);
  enqueue(w);
}

// Nothing was done: it is asked again when its token is woken, or after the pause.
void StorePools::wait(Work& w, Micros pause) {
  ++counters_.waits;
  --w.tries;
  --w.call->attempts;
  // Woken between the store's answer and now: a wake that is not seen would be lost for good.
  if (w.last.wait_token != 0 && woken_at_[w.last.wait_token % kTokens] > w.wakes_seen) {
    return enqueue(w);
  }
  if (draining_) {
    return answer_fault(w, fault_of(Code::draining, "this gateway is draining"), w.last.outcome,
                        true, 0);
  }
  move(w, WorkState::waiting);
  if (pause.count() > 0) loop_.arm(w.pause_timer, now() + pause);
}

void StorePools::wake(std::uint64_t wait_token) {
  woken_at_[wait_token % kTokens] = ++wakes_;
  // In the order of their coming; the pool's queue sorts by age in any case.
  waiting_[wait_token % kTokens].each([&](Work& w) {
    if (w.last.wait_token == wait_token) enqueue(w);
  });
}

void StorePools::part(plugin::Operation& op, std::uint64_t sequence, ReplyBuffer body) {
  if (op.call == nullptr) return;
  Work& w = *static_cast<Work*>(op.call->attempt);
  w.part_left = true;
  w.parts = sequence;
  w.connection->used_at = now();
  if (w.clocked != Clocked::stream) {
    w.clocked = Clocked::stream;
    w.stream_end = w.route.subscription ? kNever : now() + settings_.stream_max;
    if (w.lease != nullptr && w.in_transaction) {
      w.stream_end = std::min(w.stream_end, w.lease->total_at);
    }
  }
  clock_stream(w);
  answers_.part(*w.call, sequence, std::move(body));
}

void StorePools::upload_credit(plugin::Operation& op, std::uint64_t sequence) {
  if (op.call != nullptr) answers_.upload_credit(*op.call, sequence);
}

}  // namespace headgate::pool
