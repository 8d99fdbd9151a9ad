// Leases: from the call that opens one to its end by the caller, by time, or with its peer.
#include <algorithm>
#include <cassert>

#include "daemon/pool/lease.hpp"
#include "daemon/pool/store_pools.hpp"

namespace headgate::pool {

void LeaseTimer::fire() { owner->lease_overdue(*lease); }

Lease& Leases::add(std::uint64_t peer, std::uint64_t tx) {
  Lease& l = slab_.take();
  l.id = next_id_++;
  l.peer = peer;
  l.tx = tx;
  all_.push_back(l);
  return l;
}

Lease* Leases::find(std::uint64_t peer, std::uint64_t tx) {
  Lease* found = nullptr;
  all_.each([&](Lease& l) {
    if (l.peer == peer && l.tx == tx) found = &l;
  });
  return found;
}

Lease* Leases::of(std::uint64_t peer) {
  Lease* found = nullptr;
  all_.each([&](Lease& l) {
    if (l.peer == peer) found = &l;
  });
  return found;
}

void Leases::end(Lease& l) {
  l.Hook<LeaseTag>::unlink();
  slab_.give(l);
}

void Leases::remember(std::uint64_t peer, std::uint64_t tx, Outcome outcome) {
  for (Ended& e : ended_) {
    if (e.peer == peer && e.tx == tx) {
      e.outcome = outcome;
      return;
    }
  }
  ended_[next_ended_] = {peer, tx, outcome};
  next_ended_ = (next_ended_ + 1) % kRemembered;
}

const Outcome* Leases::fate(std::uint64_t peer, std::uint64_t tx) const {
  for (const Ended& e : ended_) {
    if (e.peer == peer && e.tx == tx && tx != 0) return &e.outcome;
  }
  return nullptr;
}

Lease& StorePools::open_lease(Work& w, Connection& c) {
  assert(c.lease == nullptr || policy::mutated(policy::Mutation::two_leases_on_one_connection));
  const bool sole = sole_writer(*c.pool);
  Lease& l = leases_.add(w.call->peer, w.call->request_id);
  l.call_id = w.call->id;
  l.service = w.call->share.service_name;
  l.connection = &c;
  l.work = &w;
  l.opened_at = l.used_at = now();
  l.total_at = now() + (sole ? settings_.writer_lease_total : settings_.lease_total);
  l.idle = sole ? settings_.writer_lease_idle : settings_.lease_idle;
  l.timer.owner = this;
  c.lease = &l;
  w.lease = &l;
  ++counters_.leases;
  return l;
}

// While a call runs its own deadline decides; it is capped by the lease's total.
void StorePools::arm_lease(Lease& l) {
  if (l.work != nullptr) {
    loop_.disarm(l.timer);
  } else {
    loop_.arm(l.timer, std::min(l.used_at + l.idle, l.total_at));
  }
}

void StorePools::lease_overdue(Lease& l) {
  assert(l.work == nullptr);
  ++counters_.leases_expired;
  Connection& c = *l.connection;
  end_lease(l, false, Outcome::rolled_back);
  settle(c);
  mark(*c.pool);
}

// The connection is rolled back and cleaned before anybody else has it. The caller of this settles
// it. Not `by_caller`: the next call of that transaction is told so.
void StorePools::end_lease(Lease& l, bool by_caller, Outcome outcome) {
  if (!by_caller) leases_.remember(l.peer, l.tx, outcome);
  Connection& c = *l.connection;
  loop_.disarm(l.timer);
  c.pool->service_time.sample(now() - l.opened_at);
  c.needs_reset = true;
  c.lease = nullptr;
  leases_.end(l);
}

void StorePools::peer_gone(std::uint64_t peer) {
  while (Lease* l = leases_.of(peer)) {
    if (l->work != nullptr) {
      stop_running(*l->work, Code::cancelled, "the caller is gone");
      continue;
    }
    Connection& c = *l->connection;
    end_lease(*l, false, Outcome::rolled_back);
    settle(c);
    mark(*c.pool);
  }
}

bool StorePools::has_leases(std::uint64_t peer) const {
  return const_cast<Leases&>(leases_).of(peer) != nullptr;
}

void StorePools::end_leases() {
  draining_ = true;
  while (Lease* l = leases_.any()) {
    if (l->work != nullptr) {
      stop_running(*l->work, Code::draining, "this gateway is draining");
      continue;
    }
    Connection& c = *l->connection;
    end_lease(*l, false, Outcome::rolled_back);
    settle(c);
  }
}

}  // namespace headgate::pool
