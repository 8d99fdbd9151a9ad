// Calls in and out: start, give_up, uploads and credit, drain and close.
#include "daemon/pool/store_pools.hpp"

#include <algorithm>
#include <cassert>
#include <cstdio>

namespace headgate::pool {

StorePools::StorePools(Loop& loop, Random& random, plugin::Store& store, Answers& answers,
                       Settings settings, Log* log)
    : loop_(loop),
      random_(random),
      store_(store),
      answers_(answers),
      log_(log),
      settings_(std::move(settings)),
      budget_(0, 0) {
  flush_task_.owner = this;
  sweep_timer_.owner = this;
  store_.set_events(this);
  apply(settings_, 0);
}

StorePools::~StorePools() {
  store_.set_events(nullptr);
  loop_.disarm(sweep_timer_);
  reclaim();
  for (auto& p : pools_) {
    p->Hook<PoolTag>::unlink();
    loop_.disarm(p->timer);
  }
  // REQUIRES closed(): whoever cut that short has no store behind it any more.
  for (auto& c : slots_) {
    if (c == nullptr) continue;
    loop_.disarm(c->timer);
    c->Hook<SubmitTag>::unlink();
    c->Hook<StateTag>::unlink();
  }
}

std::unique_ptr<Attempts> make_attempts(Loop& loop, Random& random, plugin::Store& store,
                                        Answers& answers, Settings settings, Log* log) {
  return std::make_unique<StorePools>(loop, random, store, answers, std::move(settings), log);
}

void StorePools::apply(const Settings& settings, std::uint32_t generation) {
  settings_ = settings;
  settings_.endpoints = std::max<std::uint32_t>(settings_.endpoints, 1);
  settings_.read_endpoints = std::min(settings_.read_endpoints, settings_.endpoints - 1);
  settings_.connections_max = std::max<std::uint32_t>(settings_.connections_max, 1);
  settings_.connects_max = std::max<std::uint32_t>(settings_.connects_max, 1);
  settings_.attempts_max = std::max<std::uint32_t>(settings_.attempts_max, 1);
  retry_ = {settings_.attempts_max, 5, settings_.backoff_base, settings_.backoff_cap};
  budget_.limit(settings_.budget_store, settings_.budget_floor);
  for (Service& s : services_) s.budget.limit(settings_.budget_service, settings_.budget_floor);
  const policy::BreakerLimits limits{settings_.breaker_ratio,    settings_.breaker_min_calls,
                                     settings_.breaker_window,   settings_.breaker_open_min,
                                     settings_.breaker_open_max, settings_.breaker_probes};
  for (Endpoint& e : endpoints_) e.breaker.limit(limits);
  take_endpoints(limits);
  generation_ = generation;
  renew_generations();
  // What it was let in by may be gone, or its endpoint, or its account: it cannot stay for ever.
  running_.each([&](Work& w) {
    if (w.clocked == Clocked::stream && w.route.subscription)
      w.stream_end = std::min(w.stream_end, now() + settings_.stream_max);
  });
  mark_waiting_pools();
}

std::uint64_t StorePools::bytes_of(const Call& call) {
  return call.bytes != nullptr ? call.bytes->frame.bytes().size() : call.body.size();
}

Service& StorePools::service(const Call& call) {
  while (services_.size() <= call.share.service) {
    services_.emplace_back(settings_.budget_service, settings_.budget_floor);
  }
  return services_[call.share.service];
}

std::uint32_t StorePools::generation_of(std::uint32_t credential) const {
  const auto& own = settings_.credentials.generations;
  return generation_ + (credential < own.size() ? own[credential] : 0);
}

// Connections that logged in with an older credential go when nothing runs on them any more.
void StorePools::renew_generations() {
  for (std::uint32_t i = 0; i < logins_.size(); ++i) {
    if (logins_[i].generation != generation_of(i)) logins_[i] = {.generation = generation_of(i)};
  }
  for (auto& c : slots_) {
    if (c == nullptr || c->state == State::closing) continue;
    if (c->generation == generation_of(c->pool->credential)) continue;
    c->retire = Reason::generation;
    if (c->link != nullptr) settle(*c);
  }
}

Pool& StorePools::pool_for(const plugin::Route& route, const Call& call) {
  return pool_for(route, call.access, settings_.credentials.of(call.share.service, call.access));
}

Pool& StorePools::pool_for(const plugin::Route& route, Access access, std::uint32_t credential) {
  const plugin::LaneInfo& lane = store_.lanes()[route.lane];
  // One set of connections a store: whoever may write shares the writer.
  if (lane.per_store) {
    access = lane.read_only || access == Access::read ? Access::read : Access::write;
  }
  const std::int32_t pinned =
      route.endpoint >= 0 && named(static_cast<std::uint32_t>(route.endpoint)) ? route.endpoint
                                                                               : -1;
  for (auto& p : pools_) {
    if (p->lane_index == route.lane && p->access == access && p->credential == credential &&
        p->pinned == pinned) {
      return *p;
    }
  }
  auto p = std::make_unique<Pool>();
  p->lane_index = route.lane;
  p->lane = &lane;
  p->access = access;
  p->credential = credential;
  while (logins_.size() <= credential) {
    logins_.push_back({.generation = generation_of(static_cast<std::uint32_t>(logins_.size()))});
  }
  p->pinned = pinned;
  p->reads = access == Access::read || lane.read_only;
  p->timer.owner = this;
  p->timer.pool = p.get();
  pools_.push_back(std::move(p));
  return *pools_.back();
}

Work& StorePools::work_for(Call& call, Pool& pool, const plugin::Route& route) {
  Work& w = works_.take();
  w.owner = this;
  w.call = &call;
  w.pool = &pool;
  w.route = route;
  w.queued_at = now();
  w.answer_at = call.deadline;
  w.timeout = call.deadline == kNever ? Micros(0) : call.deadline - now();
  call.attempt = &w;
  ++pool.calls;
  if (w.answer_at != kNever) loop_.arm(w.deadline_timer, w.answer_at);
  return w;
}

void StorePools::refuse(Call& call, Fault fault, bool retryable, std::uint32_t retry_after_ms) {
  ++counters_.refused;
  ++counters_.answered;
  Answer a;
  a.code = fault.code;
  a.outcome = fault.outcome;
  a.retryable = retryable;
  a.retry_after_ms = retry_after_ms;
  a.fault = std::move(fault);
  answers_.answer(call, std::move(a));
}

void StorePools::start(Call& call) {
  ++counters_.calls;
  if (call.tx != 0) return start_in_lease(call);
  if (draining_ || closing_) {
    return refuse(call, fault_of(Code::draining, "this gateway is draining"), true);
  }
  if (call.deadline <= now()) {
    ++counters_.queue_timeouts;
    return refuse(call, fault_of(Code::queue_timeout, "the deadline had passed on arrival"), true);
  }
  auto route = store_.route(call, 0, nullptr);
  if (!route) return refuse(call, std::move(route.error()), false);
  if (route->lane >= store_.lanes().size() ||
      (route->lease && !store_.lanes()[route->lane].lease)) {
    return refuse(call, fault_of(Code::internal, "the plugin named a lane that cannot do this"),
                  false);
  }
  if (route->lease && leases_.find(call.peer, call.request_id) != nullptr) {
    return refuse(call, fault_of(Code::invalid, "this id names an open transaction"), false);
  }
  Service& s = service(call);
  s.budget.request(now());
  budget_.request(now());
  Pool& p = pool_for(*route, call);
  if (refused_as_unavailable(call, p) || !admit(call, p, *route)) return;
  enqueue(work_for(call, p, *route));
}

bool StorePools::admit(Call& call, Pool& p, const plugin::Route& route) {
  const Service& s = service(call);
  policy::QueueView q;
  q.waiting = p.queue.size();
  q.mine = p.queue.size(call.share.service);
  q.my_weight = std::max<std::uint32_t>(call.share.weight, 1);
  q.weights = static_cast<double>(p.queue.weights()) + (q.mine == 0 ? q.my_weight : 0);
  if (q.waiting > 0 && p.service_time.known()) {
    q.service_time = p.service_time.recent();
    q.places = static_cast<std::uint64_t>(p.live()) * places_on_one(p, route);
  }
  const policy::QueueLimits limits{settings_.queue_calls_max, settings_.queue_bytes_max};
  const policy::Admission a = policy::admit(q, limits, s.waiting_calls, s.waiting_bytes,
                                            bytes_of(call), now(), call.deadline);
  if (a.admitted == policy::Admitted::yes) return true;
  ++p.refused;
  refuse(call,
         fault_of(Code::overloaded, a.admitted == policy::Admitted::queue_full
                                        ? "too many calls of this service wait for this store"
                                        : "could not be served before its deadline"),
         true, a.retry_after_ms);
  return false;
}

void StorePools::start_in_lease(Call& call) {
  Lease* l = leases_.find(call.peer, call.tx);
  if (l == nullptr) {
    const Outcome* fate = leases_.fate(call.peer, call.tx);
    if (fate != nullptr) {
      return refuse(call,
                    fault_of(Code::transaction_expired,
                             *fate == Outcome::rolled_back
                                 ? "the transaction had ended and was rolled back"
                                 : "the transaction's connection was lost; its fate is unknown",
                             *fate),
                    false);
    }
    return refuse(call, fault_of(Code::transaction_expired, "no such transaction"), false);
  }
  if (l->work != nullptr) {
    return refuse(call, fault_of(Code::conflict, "another call of this transaction is running"),
                  true);
  }
  if (l->total_at <= now()) {  // its timer is due in this very turn
    lease_overdue(*l);
    return start_in_lease(call);
  }
  call.deadline = std::min(call.deadline, l->total_at);
  if (call.deadline <= now()) {
    return refuse(call, fault_of(Code::queue_timeout, "the deadline had passed on arrival"), true);
  }
  auto route = store_.route(call, 0, nullptr);
  if (!route) return refuse(call, std::move(route.error()), false);
  Connection& c = *l->connection;
  Work& w = work_for(call, *c.pool, *route);
  w.route.lane = c.pool->lane_index;
  w.lease = l;
  w.in_transaction = true;
  service(call).budget.request(now());
  budget_.request(now());
  if (place(w, c)) {
    l->work = &w;
    arm_lease(*l);
    return;
  }
  w.lease = nullptr;
  answer_fault(w, fault_of(Code::overloaded, "too many operations are in flight"),
               Outcome::not_sent, true, 10);
}

void StorePools::give_up(Call& call, Code why, std::string_view message) {
  auto* w = static_cast<Work*>(call.attempt);
  if (w == nullptr) return;
  stop_running(*w, why, message);
}

void StorePools::credit(Call& call, std::uint64_t sequence) {
  auto* w = static_cast<Work*>(call.attempt);
  call.credit = std::max(call.credit, sequence);
  if (w == nullptr) return;
  if (w->state == WorkState::running && w->op != nullptr && w->connection->link != nullptr) {
    w->connection->link->credit(*w->op, call.credit);
  }
  if (w->clocked == Clocked::stream) clock_stream(*w);
}

void StorePools::upload(Call& call, std::vector<std::uint8_t> piece, bool last) {
  auto* w = static_cast<Work*>(call.attempt);
  // Credit is given only while it runs; a piece that comes after its end has nowhere to go.
  if (w == nullptr || w->state != WorkState::running) return;
  w->upload_taken = true;
  w->upload_ended = last;
  w->connection->link->upload(*w->op, std::move(piece), last);
  if (!last) return clock_upload(*w);
  w->clocked = Clocked::deadline;
  w->answer_at = w->timeout.count() == 0 ? kNever : now() + w->timeout;
  if (w->lease != nullptr) w->answer_at = std::min(w->answer_at, w->lease->total_at);
  if (w->answer_at == kNever)
    loop_.disarm(w->deadline_timer);
  else
    loop_.arm(w->deadline_timer, w->answer_at);
}

void StorePools::drain() {
  draining_ = true;
  // Who waits for something to happen would keep us waiting, too.
  for (auto& list : waiting_) {
    while (Work* w = list.front()) {
      answer_fault(*w, fault_of(Code::draining, "this gateway is draining"), w->last.outcome, true,
                   0);
    }
  }
  schedule();
}

bool StorePools::drained() const {
  if (works_.used() != 0 || leases_.size() != 0) return false;
  return std::all_of(slots_.begin(), slots_.end(), [](const auto& c) {
    return c == nullptr || c->state == State::closing || (c->inflight == 0 && c->own == nullptr);
  });
}

void StorePools::warm() {
  const auto& lanes = store_.lanes();
  for (std::uint32_t i = 0; i < lanes.size(); ++i) {
    plugin::Route r;
    r.lane = i;
    Pool& p = pool_for(r, Access::write, settings_.credentials.of(0, Access::write));
    p.warm = true;
    mark(p);
  }
}

void StorePools::close() {
  draining_ = closing_ = true;
  end_leases();
  loop_.disarm(sweep_timer_);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i] != nullptr) close(*slots_[i], Reason::shutdown);
  }
  // Whatever was not handed over has no connection to hope for.
  const auto end = [&](Work& w) {
    Fault f = w.failed ? w.last : fault_of(Code::draining, "this gateway is draining");
    const Outcome outcome = w.failed && w.was_unknown ? Outcome::unknown : f.outcome;
    answer_fault(w, std::move(f), outcome, outcome != Outcome::unknown, 0);
  };
  for (auto& list : waiting_) {
    while (Work* w = list.front()) end(*w);
  }
  while (Work* w = paused_.front()) end(*w);
  for (auto& p : pools_) {
    loop_.disarm(p->timer);
    while (Work* w = p->queue.front()) end(*w);
  }
  schedule();
}

bool StorePools::closed() const {
  return closing_ && works_.used() == 0 && gone_.empty() &&
         std::all_of(slots_.begin(), slots_.end(), [](const auto& c) { return c == nullptr; });
}

}  // namespace headgate::pool
