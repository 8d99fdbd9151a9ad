// New connections: when, where to, how many at once, and what those who wait learn when none can be
// had.
#include <algorithm>
#include <cassert>

#include "daemon/policy/backoff.hpp"
#include "daemon/pool/store_pools.hpp"

namespace headgate::pool {
namespace {

// A pool without any connection may take one from a pool that is never idle after this long.
constexpr Micros kStarved = std::chrono::milliseconds(100);
// How much longer than its deadline a connect may take before those who wait are told.
constexpr Micros kConnectGrace = std::chrono::seconds(1);
// The part of connect_timeout after which nobody counts on a connect any more: an endpoint that is
// there answers sooner, and where it does not, another one is tried beside it.
constexpr int kLagsAfter = 10;

// The store knows us and says no: more tries could lock the account.
bool login_refused(const Fault& f) {
  return f.code == Code::denied || f.code == Code::unauthenticated ||
         f.sqlstate.starts_with("28") || f.retry == Retry::same_connection;
}

}  // namespace

void PoolTimer::fire() { owner->mark(*pool); }

std::uint32_t StorePools::endpoints_of(const Pool& p) const {
  if (p.pinned >= 0) return 1;
  return has_read_endpoints(p) ? settings_.endpoints : primaries();
}

std::size_t StorePools::cap(const Pool& p) const {
  const std::uint32_t lane = std::max<std::uint32_t>(p.lane->connections, 1);
  return std::min<std::size_t>(lane, settings_.connections_max);
}

std::size_t StorePools::total() const {
  std::size_t n = 0;
  for (const auto& p : pools_) n += p->held();
  return n;
}

// More stay than may.
bool StorePools::too_many(const Pool& p) const {
  std::size_t all = 0;
  for (const auto& other : pools_) all += other->staying();
  return p.staying() > cap(p) || all > settings_.connections_max;
}

// Room within the lane's and the store's maximum; asks for some where there is none.
bool StorePools::room_for_one(Pool& p) {
  std::size_t lane = 0;
  for (const auto& other : pools_) {
    const bool shares = p.lane->per_store && other->lane_index == p.lane_index;
    if (other.get() == &p || shares) lane += other->held();
  }
  if (lane >= cap(p)) {
    if (p.lane->per_store && lane > p.held()) make_room(p);
    return false;
  }
  if (at_ceiling(p)) {
    make_room(p, true);
    return false;
  }
  if (total() + owed_to_others(p, nullptr) >= settings_.connections_max) {
    make_room(p);
    return false;
  }
  return true;
}

// Has another pool give a connection up: an idle one at once; a busy one where `p` has none at all
// and has waited for long enough.
void StorePools::make_room(Pool& p, bool of_its_credential) {
  Connection* idle = nullptr;
  Pool* richest = nullptr;
  const bool lane_only = p.lane->per_store && p.held() < cap(p) &&
                         total() < settings_.connections_max && !of_its_credential;
  for (auto& other : pools_) {
    if (other.get() == &p) continue;
    if (lane_only && other->lane_index != p.lane_index) continue;
    if (of_its_credential && &room(*other) != &room(p)) continue;
    if (other->count(State::closing) > 0) return;  // one is on its way
    Connection* c = other->in(State::idle).back();
    if (c != nullptr && other->queue.empty() && (idle == nullptr || c->used_at < idle->used_at)) {
      idle = c;
    }
    if (other->live() > 0 && (richest == nullptr || other->live() > richest->live())) {
      richest = other.get();
    }
  }
  if (idle != nullptr) return close(*idle, Reason::given_up_for_another);
  const Work* oldest = p.queue.oldest();
  if (richest == nullptr || oldest == nullptr || p.live() + p.count(State::connecting) > 0) return;
  const TimePoint starved_at = oldest->queued_at + kStarved;
  if (now() < starved_at) return look_again(p, starved_at);
  Connection* least = nullptr;
  for (const State s :
       {State::open, State::full, State::idle, State::stopped, State::resetting, State::checking}) {
    bool leaving = false;
    richest->in(s).each([&](Connection& c) {
      leaving = leaving || c.retire != Reason::none;
      if (least == nullptr || c.inflight < least->inflight) least = &c;
    });
    if (leaving) return;
  }
  look_again(p, now() + kStarved);
  if (least == nullptr) return;  // all leased: their limits bound the wait
  least->retire = Reason::given_up_for_another;
  settle(*least);
}

// One endpoint that may be connected to now, or -1.
std::int32_t StorePools::pick_endpoint(Pool& p) {
  const Login& l = login(p);
  if (l.refusals > 0) {
    // One at a time, and after two refusals only a slow probe.
    if (l.refusals > 1 && now() < l.probe_at) return -1;
    for (const auto& other : pools_) {
      if (other->credential == p.credential && other->count(State::connecting) > 0) return -1;
    }
  }
  // Where one is well the others are left alone, even while it has connects enough on their way.
  for (const bool the_well : {true, false}) {
    bool some = false;
    for (std::uint32_t i = 0; i < endpoints_of(p); ++i) {
      const std::uint32_t at = candidate(p, i);
      if (left_alone(p, at) || (the_well && !well(at))) continue;
      some = true;
      Endpoint& e = endpoints_[at];
      const std::uint32_t most = e.proven && e.lagging == 0 ? settings_.connects_max : 1;
      if (e.connecting < most && now() >= e.retry_at && e.breaker.would_allow(now())) {
        return static_cast<std::int32_t>(at);
      }
    }
    if (the_well && some) return -1;
  }
  return -1;
}

TimePoint StorePools::connect_at(const Pool& p) const {
  TimePoint first = kNever;
  for (std::uint32_t i = 0; i < endpoints_of(p); ++i) {
    const Endpoint& e = endpoints_[candidate(p, i)];
    first = std::min(first, std::max(e.retry_at, e.breaker.opens_at(now())));
  }
  const Login& l = login(p);
  if (l.refusals > 1) first = std::max(first, l.probe_at);
  return std::max(first, now());
}

// Opens as many connections as the calls that wait could use, within all limits.
void StorePools::grow(Pool& p) {
  for (;;) {
    const Work* first = p.queue.front();
    const bool waits =
        first != nullptr && p.queue.size() > p.coming() * places_on_one(p, first->route);
    const bool cold = p.warm && p.live() + p.coming() < settings_.connections_min;
    if (!waits && !cold) return;
    if (!waits && draining_) return;
    if (!room_for_one(p)) return;
    const std::int32_t at = pick_endpoint(p);
    if (at < 0) {
      // Either a connect ends, which marks the pool; or it is a matter of time.
      const TimePoint next = connect_at(p);
      if (next > now()) look_again(p, next);
      return;
    }
    connect(p, static_cast<std::uint32_t>(at));
  }
}

void StorePools::connect(Pool& p, std::uint32_t endpoint, State as) {
  std::uint32_t slot = static_cast<std::uint32_t>(slots_.size());
  if (!free_slots_.empty()) {
    slot = free_slots_.back();
    free_slots_.pop_back();
  } else {
    slots_.emplace_back();
  }
  slots_[slot] = std::make_unique<Connection>();
  Connection& c = *slots_[slot];
  c.ticket = next_generation_++ << 32 | slot;
  c.pool = &p;
  c.endpoint = endpoint;
  c.generation = generation_of(p.credential);
  c.timer.connection = &c;
  c.timer.owner = this;
  c.probe = endpoints_[endpoint].breaker.allow(now());
  move(c, as);
  ++counters_.connects;
  if (!sweep_timer_.armed()) loop_.arm(sweep_timer_, now() + std::chrono::seconds(1));
  plugin::OpenRequest r;
  r.ticket = c.ticket;
  r.lane = p.lane_index;
  r.access = p.access;
  r.credential = p.credential;
  r.generation = c.generation;
  r.fresh = login(p).refusals > 0;
  r.endpoint = static_cast<std::int32_t>(endpoint);
  r.deadline = now() + settings_.connect_timeout;
  c.expires_at = r.deadline + kConnectGrace;
  loop_.arm(c.timer,
            as == State::lagging ? c.expires_at : now() + settings_.connect_timeout / kLagsAfter);
  store_.open(r);
}

void StorePools::opened(plugin::Ticket ticket, std::unique_ptr<plugin::Link> link) {
  Connection* found = find(ticket);
  assert(found != nullptr && being_made(found->state));
  Connection& c = *found;
  Pool& p = *c.pool;
  const bool lagged = c.state == State::lagging;
  Endpoint& e = endpoints_[c.endpoint];
  c.link = std::move(link);
  loop_.disarm(c.timer);
  c.opened_at = c.used_at = now();
  c.expires_at = now() + policy::shortened(settings_.lifetime_max, 0.1, random_.next());
  c.late = false;
  e.failures = 0;
  e.proven = true;
  e.retry_at = now();
  if (named(c.endpoint)) {
    p.failures = 0;
    p.endpoint_hint = c.endpoint;
  }
  if (c.generation == generation_of(p.credential)) {
    login(p) = {.rooms = login(p).rooms, .generation = c.generation};
  } else if (c.retire == Reason::none) {
    c.retire = Reason::generation;
  }
  report(c.endpoint, false);
  move(c, State::idle);
  opened_one(p);
  if (closing_) {
    close(c, Reason::shutdown);
  } else {
    settle(c);
    if (has_read_endpoints(p) && e.reads && named(c.endpoint)) leave_primary(p);
    // Its place may have been given to another one meanwhile.
    if (lagged && too_many(p) && c.state == State::idle) close(c, Reason::given_up_for_another);
  }
  mark(p);
  mark_waiting_pools();
}

void StorePools::open_failed(plugin::Ticket ticket, const Fault& fault) {
  Connection* c = find(ticket);
  assert(c != nullptr && being_made(c->state));
  if (!c->late) connect_failed(*c, fault);
  loop_.disarm(c->timer);
  c->gone = true;
  gone_.push_back(c);
  ++closes_[static_cast<std::size_t>(Reason::connect_failed)];
  mark(*c->pool);
  mark_waiting_pools();
}

// Notes the failure, says when the next connect may be, and tells those who waited long enough.
void StorePools::connect_failed(Connection& c, const Fault& fault) {
  Pool& p = *c.pool;
  Endpoint& e = endpoints_[c.endpoint];
  ++counters_.connect_failures;
  if (!named(c.endpoint)) return;  // it says nothing about those that are
  e.proven = false;
  if (fault.full && met_full(p, e, fault)) {
    if (c.probe) e.breaker.give_back();
    return;
  }
  ++p.failures;
  ++p.failures_total;
  p.last_failure = fault;
  p.last_failure.code = Code::unavailable;
  p.last_failure.outcome = Outcome::not_sent;
  if (p.endpoint_hint == c.endpoint) p.endpoint_hint = endpoint_after(c.endpoint);
  if (login_refused(fault)) {
    // Of an older credential: it says nothing about the one in force.
    if (c.generation != generation_of(p.credential)) return;
    Login& l = login(p);
    ++l.refusals;
    l.last = fault;
    l.probe_at = now() + policy::shortened(settings_.login_probe, 0.2, random_.next());
  } else {
    ++e.failures;
    // At least a quarter of the bound: a herd is spread, and a dead endpoint not hammered.
    const Micros bound =
        policy::pause_bound(e.failures, settings_.backoff_base, settings_.backoff_cap);
    e.retry_at = now() + bound / 4 +
                 policy::full_jitter(e.failures, settings_.backoff_base * 3 / 4,
                                     settings_.backoff_cap * 3 / 4, random_.next());
    report(c.endpoint, true);
  }
  fail_waiting(p);
}

// No connection will come of trying again soon.
bool StorePools::hopeless(const Pool& p) const {
  if (login(p).refusals > 1) return true;
  return p.failures >= endpoints_of(p) && p.last_failure.retry == Retry::never &&
         !login_refused(p.last_failure);
}

bool StorePools::any_usable(const Pool& p) const {
  for (std::uint32_t i = 0; i < endpoints_of(p); ++i) {
    if (endpoints_[candidate(p, i)].breaker.would_allow(now())) return true;
  }
  return false;
}

// Answers the calls that have waited through enough failed connects; all of them where there is no
// hope. Nobody else is touched while some connection of the pool serves.
void StorePools::fail_waiting(Pool& p) {
  const bool open = !any_usable(p);
  if (!open && p.live() > 0) return;
  const bool all = open || hopeless(p);
  for (;;) {
    Work* w =
        p.queue.find([&](const Work& x) { return all || p.failures_total >= x.failures_seen; });
    if (w == nullptr) return;
    const auto after = static_cast<std::uint32_t>((connect_at(p) - now()).count() / 1000 + 1);
    if (w->failed) {
      const policy::Situation s = situation(*w, w->last);
      answer_fault(*w, std::move(w->last), policy::settled_outcome(s), false, after);
      continue;
    }
    Fault f = p.failures > 0
                  ? p.last_failure
                  : fault_of(Code::unavailable, "the store is failing: its breaker is open");
    answer_fault(*w, std::move(f), Outcome::not_sent, true, after);
  }
}

bool StorePools::refused_as_unavailable(Call& call, Pool& p) {
  const bool open = !any_usable(p);
  if (!open) {
    const bool comes = p.count(State::connecting) + p.count(State::lagging) > 0;
    const bool down = p.failures > 0 && p.live() == 0 && !comes;
    const bool known = hopeless(p) || p.failures >= settings_.attempts_max * endpoints_of(p);
    if (!down || !known || connect_at(p) <= now()) return false;
  }
  ++p.refused;
  const auto after = static_cast<std::uint32_t>((connect_at(p) - now()).count() / 1000 + 1);
  refuse(call,
         p.failures > 0 ? p.last_failure
                        : fault_of(Code::unavailable, "the store is failing: its breaker is open"),
         true, after);
  return true;
}

bool StorePools::is_last(std::uint32_t endpoint) const {
  // A read endpoint is no place for those who write; the primary is one for those who read.
  const std::uint32_t n = endpoint < primaries() ? primaries() : settings_.endpoints;
  for (std::uint32_t i = 0; i < n; ++i) {
    if (i != endpoint && endpoints_[i].breaker.state(now()) != policy::Breaker::State::open) {
      return false;
    }
  }
  return true;
}

void StorePools::report(std::uint32_t endpoint, bool failed) {
  policy::Breaker& b = endpoints_[endpoint].breaker;
  const std::uint64_t before = b.opened();
  const bool probed = b.state(now()) == policy::Breaker::State::half_open;
  b.report(now(), failed, failed && is_last(endpoint), failed ? random_.next() : 0);
  if (b.opened() != before) return breaker_opened(endpoint);
  if (probed) mark_waiting_pools();  // there is a probe to be had again, or it has closed
}

// Whoever waits looks again when it lets probes through. Connections to this endpoint make room for
// others where there are any.
void StorePools::breaker_opened(std::uint32_t endpoint) {
  ++counters_.breaker_opened;
  const TimePoint until = endpoints_[endpoint].breaker.opens_at(now());
  const bool elsewhere = !is_last(endpoint);
  for (auto& p : pools_) {
    look_again(*p, until);
    if (!p->queue.empty()) mark(*p);
  }
  for (auto& c : slots_) {
    if (!elsewhere || c == nullptr || c->endpoint != endpoint || c->link == nullptr) continue;
    if (c->pool->pinned >= 0 || c->retire != Reason::none || c->lease != nullptr) continue;
    c->retire = Reason::endpoint_failing;
    if (c->state == State::idle) settle(*c);  // the others when what runs on them has ended
  }
}

// Arms the pool's timer, never later than it was.
void StorePools::look_again(Pool& p, TimePoint at) {
  if (closing_ || (p.timer.armed() && p.timer.at() <= at)) return;
  loop_.arm(p.timer, at);
}

}  // namespace headgate::pool
