// A connection's states, and its end.
#include <algorithm>
#include <cassert>

#include "daemon/pool/store_pools.hpp"

namespace headgate::pool {

using plugin::Purpose;

void ConnectionTimer::fire() { owner->overdue(*connection); }

Connection* StorePools::find(plugin::Ticket ticket) {
  const std::size_t slot = ticket & 0xffffffffu;
  if (slot >= slots_.size() || slots_[slot] == nullptr || slots_[slot]->ticket != ticket) {
    return nullptr;
  }
  return slots_[slot].get();
}

// Adds it to its endpoint's counts, or (-1) takes it out.
void StorePools::count_made(const Connection& c, std::uint32_t by) {
  if (being_made(c.state)) endpoints_[c.endpoint].connecting += by;
  if (c.state == State::lagging) endpoints_[c.endpoint].lagging += by;
}

void StorePools::move(Connection& c, State to) {
  if (c.linked_in && c.state == to) return;
  if (c.linked_in) count_made(c, -1u);
  c.Hook<StateTag>::unlink();
  c.state = to;
  count_made(c, 1);
  c.linked_in = true;
  // The one used last serves next, so that the others can grow old and go.
  if (to == State::idle) {
    c.pool->in(to).push_front(c);
  } else {
    c.pool->in(to).push_back(c);
  }
}

// Puts a connection where what is known of it says that it belongs. Called after every change.
void StorePools::settle(Connection& c) {
  if (being_made(c.state) || c.state == State::closing) return;
  if (c.broken) return close(c, Reason::broken);
  const bool drains = c.orphans > 0 || c.cancels > 0;
  if (!drains && c.own == nullptr) loop_.disarm(c.timer);
  if (c.own != nullptr) return;  // its own operation's end settles it
  if (c.inflight == 0 && !drains) {
    if (c.lease != nullptr) return move(c, State::leased);
    if (closing_) return close(c, Reason::shutdown);
    if (c.retire != Reason::none) return close(c, c.retire);
    if (c.needs_reset) return own_operation(c, Purpose::reset);
    if (now() >= c.expires_at) return close(c, Reason::lifetime);
    if (c.state != State::idle) mark(*c.pool);
    return move(c, State::idle);
  }
  if (c.lease != nullptr) return move(c, State::leased);
  if (drains || c.retire != Reason::none || c.needs_reset) return move(c, State::stopped);
  const bool room = !c.exclusive && c.inflight < c.pool->lane->max_inflight;
  move(c, room ? State::open : State::full);
}

// A reset or a check: an operation of ours, alone on the connection.
void StorePools::own_operation(Connection& c, Purpose purpose) {
  assert(c.inflight == 0 && c.own == nullptr && c.link != nullptr);
  plugin::Operation* op = store_.begin(nullptr, purpose, plugin::Route{}, 1, 0, {});
  if (op == nullptr) return close(c, Reason::given_up_for_another);  // cheaper than to wait for one
  op->owner = &c;
  op->submitted = now();
  c.own = op;
  loop_.arm(c.timer, now() + settings_.connect_timeout);
  if (purpose == Purpose::reset) {
    ++counters_.resets;
    move(c, State::resetting);
    c.link->reset(*op);
  } else {
    ++counters_.checks;
    move(c, State::checking);
    c.link->ping(*op);
  }
}

void StorePools::own_completed(Connection& c, plugin::Operation& op) {
  const bool reset = op.purpose == Purpose::reset;
  const bool well = op.done.ok && op.done.connection == plugin::ConnState::clean;
  c.own = nullptr;
  loop_.disarm(c.timer);
  end_operation(op);
  mark(*c.pool);
  if (c.state == State::closing) return;
  if (!well) {
    endpoints_[c.endpoint].suspect_since = now();
    return close(c, reset ? Reason::broken : Reason::lost);
  }
  if (reset) c.needs_reset = false;
  c.used_at = now();
  settle(c);
}

// A connect, a reset, a check or an orphan takes too long.
void StorePools::overdue(Connection& c) {
  if (!being_made(c.state)) return close(c, Reason::stuck);
  if (c.state == State::connecting) {
    // Who waits for it need not: another endpoint may answer at once. This one gets no second
    // connect meanwhile.
    endpoints_[c.endpoint].proven = false;
    move(c, State::lagging);
    loop_.arm(c.timer, c.expires_at);
    mark(*c.pool);
    return mark_waiting_pools();
  }
  // The connect thread is still in it (a resolver, say): its place stays taken, but those who wait
  // learn of it.
  if (c.late) return;
  c.late = true;
  Fault f = fault_of(Code::unavailable, "connecting took too long");
  f.retry = Retry::backoff;
  connect_failed(c, f);
}

void StorePools::close(Connection& c, Reason why) {
  if (c.state == State::closing) return;
  if (being_made(c.state)) {  // it is closed when it comes
    c.retire = why;
    return;
  }
  ++counters_.closes;
  ++closes_[static_cast<std::size_t>(why)];
  loop_.disarm(c.timer);
  move(c, State::closing);
  unstage_all(c);
  c.Hook<SubmitTag>::unlink();
  if (Lease* l = c.lease) {
    // The store rolls back what was not committed; of a call that runs, its own end will tell.
    Work* w = l->work;
    if (w != nullptr) w->lease = nullptr;
    end_lease(*l, w != nullptr && l->opening,
              w == nullptr ? Outcome::rolled_back : Outcome::unknown);
  }
  mark_waiting_pools();
  c.link->close();
}

void StorePools::lost(plugin::Ticket ticket, const Fault&) {
  Connection* c = find(ticket);
  if (c == nullptr || c->state == State::closing || being_made(c->state)) return;
  Endpoint& e = endpoints_[c->endpoint];
  e.suspect_since = now();
  e.proven = false;
  close(*c, Reason::lost);
}

void StorePools::cancel_returned(plugin::Ticket ticket) {
  Connection* c = find(ticket);
  if (c == nullptr || c->cancels == 0) return;
  --c->cancels;
  settle(*c);
  mark(*c->pool);
}

void StorePools::closed(plugin::Ticket ticket) {
  Connection* c = find(ticket);
  if (c == nullptr || c->gone) return;
  c->gone = true;
  room(*c->pool).freed_at = now();
  gone_.push_back(c);
  mark_waiting_pools();
  schedule();
}

// Destroys what has closed: here alone, at the end of a turn, when nobody stands on it.
void StorePools::reclaim() {
  for (Connection* c : gone_) {
    loop_.disarm(c->timer);
    count_made(*c, -1u);
    c->Hook<SubmitTag>::unlink();
    c->Hook<StateTag>::unlink();
    const std::size_t slot = c->ticket & 0xffffffffu;
    slots_[slot].reset();
    free_slots_.push_back(static_cast<std::uint32_t>(slot));
  }
  gone_.clear();
}

// Once a second: who is idle for too long, too old, or one too many after a reload goes, and
// `connections_min` is kept.
void StorePools::sweep() {
  raise_ceilings();
  for (auto& p : pools_) {
    p->in(State::idle).each([&](Connection& c) {
      if (now() >= c.expires_at) {
        close(c, Reason::lifetime);
      } else if (p->staying() > cap(*p)) {
        close(c, Reason::given_up_for_another);
      } else if (now() - c.used_at >= settings_.idle_max &&
                 p->live() > (p->warm ? settings_.connections_min : 0)) {
        close(c, Reason::idle_too_long);
      }
    });
    // One that is never idle drains first.
    for (const State s : {State::open, State::full}) {
      p->in(s).each([&](Connection& c) {
        if (now() < c.expires_at || c.retire != Reason::none || c.pool->lane->max_inflight == 1) {
          return;
        }
        c.retire = Reason::lifetime;
        settle(c);
      });
    }
    if (p->warm && p->live() + p->coming() < settings_.connections_min) mark(*p);
    if (has_read_endpoints(*p)) look_for_read_endpoints(*p);
  }
  forget_endpoints();
  if (!closing_) loop_.arm(sweep_timer_, now() + std::chrono::seconds(1));
}

}  // namespace headgate::pool
