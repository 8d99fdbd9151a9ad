// From a pool's queue to a connection: at the end of a turn, all calls of the turn at once.
#include <algorithm>
#include <cassert>

#include "daemon/pool/store_pools.hpp"

namespace headgate::pool {

using policy::mutated;
using policy::Mutation;

void StorePools::move(Work& w, WorkState to) {
  const auto waits = [](WorkState s) {
    return s == WorkState::queued || s == WorkState::paused || s == WorkState::waiting;
  };
  if (waits(w.state) != waits(to)) {
    Service& s = service(*w.call);
    const std::uint64_t bytes = bytes_of(*w.call);
    if (waits(to)) {
      ++s.waiting_calls, s.waiting_bytes += bytes;
    } else {
      --s.waiting_calls, s.waiting_bytes -= bytes;
    }
  }
  if (w.state == WorkState::queued) {
    if (to == WorkState::staged) {
      const Work* turn = w.pool->queue.pop();  // costs its service a turn
      assert(turn == &w);
      (void)turn;
    } else {
      w.pool->queue.remove(w);
    }
  }
  w.Hook<WorkTag>::unlink();
  if (w.state == WorkState::paused || w.state == WorkState::waiting) loop_.disarm(w.pause_timer);
  w.state = to;
  switch (to) {
    case WorkState::none:
      break;
    case WorkState::queued:
      w.pool->queue.push(w, w.call->share.service, w.call->share.weight, w.call->received.us);
      break;
    case WorkState::paused:
      paused_.push_back(w);
      break;
    case WorkState::waiting:
      waiting_[w.last.wait_token % kTokens].push_back(w);
      break;
    case WorkState::staged:
      staged_.push_back(w);
      break;
    case WorkState::running:
      running_.push_back(w);
      break;
  }
}

void StorePools::enqueue(Work& w) {
  Pool& p = *w.pool;
  w.queued_at = now();
  // How many more failed connects it is worth waiting through; one, where all failed lately.
  const std::uint32_t patience = std::max<std::uint32_t>(
      1, settings_.attempts_max - std::min(p.failures, settings_.attempts_max - 1));
  w.failures_seen = p.failures_total + std::uint64_t{patience} * endpoints_of(p);
  move(w, WorkState::queued);
  mark(p);
}

void StorePools::answer(Work& w, Answer a) {
  Call& call = *w.call;
  assert(w.op == nullptr);
  move(w, WorkState::none);
  loop_.disarm(w.deadline_timer);
  call.attempt = nullptr;
  if (!mutated(Mutation::drain_never_ends) || !draining_) works_.give(w);
  ++counters_.answered;
  answers_.answer(call, std::move(a));
}

void StorePools::answer_fault(Work& w, Fault f, Outcome outcome, bool retryable,
                              std::uint32_t after_ms) {
  Answer a;
  a.code = f.code;
  a.outcome = f.outcome = outcome;
  a.retryable = retryable;
  a.retry_after_ms = after_ms;
  a.fault = std::move(f);
  answer(w, std::move(a));
}

void StorePools::mark(Pool& p) {
  if (!p.Hook<PoolTag>::linked()) marked_.push_back(p);
  schedule();
}

void StorePools::mark_waiting_pools() {
  for (auto& p : pools_) {
    if (!p->queue.empty() || p->warm) mark(*p);
  }
}

void StorePools::schedule() { loop_.defer(flush_task_); }

void StorePools::flush() {
  reclaim();
  // A pool that is marked while it is pumped has its turn in the next flush.
  for (std::size_t n = marked_.size(); n > 0; --n) {
    Pool* p = marked_.pop_front();
    if (p == nullptr) break;
    pump(*p);
  }
  while (Connection* c = to_submit_.pop_front()) submit(*c);
}

bool StorePools::usable(const Connection& c) const {
  return c.retire == Reason::none && endpoints_[c.endpoint].breaker.would_allow(now());
}

void StorePools::pump(Pool& p) {
  if (!p.queue.empty() && !any_usable(p)) return fail_waiting(p);
  while (Work* w = p.queue.front()) {
    if (now() >= w->answer_at) {  // its timer is due in this very turn
      expire(*w);
      continue;
    }
    Connection* c = choose(p, *w);
    if (c == nullptr) break;
    if (!place(*w, *c)) {
      out_of_operations_ = true;
      return;
    }
  }
  if (!closing_) grow(p);
}

// The least loaded connection with room; null: wait. A call that wants a connection to itself makes
// its pool wait until one is empty, so that a stream of others cannot keep it from its turn.
Connection* StorePools::choose(Pool& p, const Work& w) {
  auto& idle = p.in(State::idle);
  Connection* found = nullptr;
  idle.each([&](Connection& c) {
    if (found != nullptr) return;
    if (!usable(c)) {
      if (c.retire != Reason::none) settle(c);
      return;
    }
    const bool stale = now() - c.used_at >= settings_.check_after ||
                       c.used_at < endpoints_[c.endpoint].suspect_since;
    if (stale) {
      own_operation(c, plugin::Purpose::ping);
    } else {
      found = &c;
    }
  });
  if (mutated(Mutation::two_leases_on_one_connection) && found == nullptr && w.route.lease) {
    p.in(State::leased).each([&](Connection& c) {
      if (c.inflight == 0 && found == nullptr) found = &c;
    });
  }
  if (found != nullptr || w.route.lease || w.route.alone) return found;
  p.in(State::open).each([&](Connection& c) {
    if (usable(c) && (found == nullptr || c.inflight < found->inflight)) found = &c;
  });
  return found;
}

bool StorePools::place(Work& w, Connection& c) {
  Call& call = *w.call;
  const Lease* lease = w.lease;
  if (call.upload) {
    // The store must not run out of time while the caller may still send.
    call.deadline = now() +
                    (sole_writer(*c.pool) ? settings_.writer_lease_total : settings_.stream_max) +
                    w.timeout;
    if (lease != nullptr) call.deadline = std::min(call.deadline, lease->total_at);
  }
  plugin::Operation* op = store_.begin(&call, plugin::Purpose::call, w.route, call.attempts + 1,
                                       lease == nullptr ? 0 : lease->id, w.receipt);
  if (op == nullptr) return false;
  // Granted, since choose() asked in this turn; a lease's own call goes on whatever it says.
  (void)endpoints_[c.endpoint].breaker.allow(now());
  ++w.tries;
  ++call.attempts;
  ++counters_.attempts;
  ++c.pool->attempts;
  call.queue_us += (now() - w.queued_at).count();
  op->owner = &c;
  op->call = &call;
  w.op = op;
  w.connection = &c;
  move(w, WorkState::staged);
  c.batch.push_back(op);
  ++c.inflight;
  if (w.route.lease || w.route.alone) c.exclusive = true;
  if (w.route.lease && lease == nullptr) open_lease(w, c);
  settle(c);
  if (!c.Hook<SubmitTag>::linked()) to_submit_.push_back(c);
  schedule();
  return true;
}

void StorePools::submit(Connection& c) {
  if (c.batch.empty() || c.link == nullptr) return;
  for (plugin::Operation* op : c.batch) {
    Work& w = *static_cast<Work*>(op->call->attempt);
    w.wakes_seen = wakes_;
    op->submitted = now();
    move(w, WorkState::running);
    if (w.call->upload) clock_upload(w);
  }
  const std::size_t most = std::max<std::uint32_t>(c.pool->lane->max_batch, 1);
  // The batch is taken out first: whatever the link does, it finds the connection in order.
  std::vector<plugin::Operation*> batch;
  batch.swap(c.batch);
  for (std::size_t i = 0; i < batch.size(); i += most) {
    const std::size_t n = std::min(most, batch.size() - i);
    c.link->submit({batch.data() + i, n});
  }
  batch.clear();
  if (c.batch.empty()) c.batch.swap(batch);  // its memory is used again
}

// Whoever waits for an operation, in whichever pool, looks again.
void StorePools::end_operation(plugin::Operation& op) {
  store_.end(op);
  if (!out_of_operations_ || mutated(Mutation::lost_wake)) return;
  out_of_operations_ = false;
  mark_waiting_pools();
}

// Takes back what was not handed over yet: nothing has happened.
void StorePools::unstage(Work& w) {
  assert(w.state == WorkState::staged);
  Connection& c = *w.connection;
  std::erase(c.batch, w.op);
  plugin::Operation* op = w.op;
  op->call = nullptr;
  w.op = nullptr;
  w.connection = nullptr;
  end_operation(*op);
  --w.tries;
  --w.call->attempts;
  --counters_.attempts;
  --c.pool->attempts;
  --c.inflight;
  endpoints_[c.endpoint].breaker.give_back();
  if (c.inflight == 0) c.exclusive = false;
}

void StorePools::unstage_all(Connection& c) {
  while (!c.batch.empty()) {
    Work& w = *static_cast<Work*>(c.batch.back()->call->attempt);
    unstage(w);
    if (w.lease != nullptr) {
      const bool opener = w.lease->opening;
      Lease& l = *w.lease;
      l.work = nullptr;
      w.lease = nullptr;
      if (opener) leases_.end(l), c.lease = nullptr;
    }
    if (w.in_transaction) {
      // Its transaction goes with the connection.
      answer_fault(w,
                   fault_of(Code::transaction_expired, "the transaction's connection was lost",
                            Outcome::rolled_back),
                   Outcome::rolled_back, false, 0);
    } else {
      enqueue(w);
    }
  }
}

}  // namespace headgate::pool
