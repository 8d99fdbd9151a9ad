// One schedule from its first event to the last check.
#include "tests/simulator/world.hpp"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

namespace headgate::simulator {

World::World(std::uint64_t seed, bool trace)
    : seed_(seed), trace_(trace), dice_(seed * 0x9e3779b97f4a7c15ull + 1), pool_dice_(seed ^ 77) {}

World::~World() {
  over_ = true;
  pools_.reset();
}

void World::violated(const std::string& what) {
  failed_ = true;
  throw Violation(what + " (at " + std::to_string(loop_.now().us) + " us)");
}

void World::say(const char* format, ...) {
  if (!trace_) return;
  std::printf("%10ld ", static_cast<long>(loop_.now().us));
  va_list args;
  va_start(args, format);
  std::vprintf(format, args);
  va_end(args);
  std::printf("\n");
}

void World::at(Micros after, Kind kind, std::uint64_t a, std::uint64_t b) {
  // Rounded to 50 us, so that several things often happen in one turn.
  const std::int64_t us = (loop_.now() + std::max(after, Micros(1))).us;
  events_due_.push({TimePoint{(us + 49) / 50 * 50}, ++order_, kind, a, b});
}

// The time that something quick takes.
Micros World::soon() { return Micros(dice_.between(50, calm_ ? 1'000 : 4'000)); }

void World::build_lane() {
  plugin::LaneInfo l;
  l.name = "lane" + std::to_string(lanes_.size());
  switch (dice_.below(4)) {
    case 0:  // pipelined
      l.event = true;
      l.connections = 1 + static_cast<std::uint32_t>(dice_.below(2));
      l.max_inflight = l.max_batch = 4 << dice_.below(4);
      l.cancel = dice_.chance(0.3);
      break;
    case 1:  // one writer with group commit
      l.per_store = l.lease = l.cancel = true;
      l.connections = 1;
      l.max_inflight = l.max_batch = 16 << dice_.below(5);
      break;
    case 2:  // readers
      l.read_only = l.lease = l.cancel = true;
      l.connections = 1 + static_cast<std::uint32_t>(dice_.below(4));
      break;
    default:  // exclusive
      l.lease = l.cancel = true;
      l.event = dice_.chance(0.5);
      l.connections = 1 + static_cast<std::uint32_t>(dice_.below(5));
  }
  l.connections_max = l.connections;
  if (l.max_batch > 4 && dice_.chance(0.3)) l.max_batch = 4;
  lanes_.push_back(l);
}

void World::build() {
  calm_ = dice_.chance(0.15);
  fault_rate_ = calm_ ? 0 : dice_.chance(0.3) ? 0.02 : dice_.chance(0.5) ? 0.1 : 0.3;
  const auto lanes = 1 + dice_.below(3);
  while (lanes_.size() < lanes) build_lane();
  if (std::all_of(lanes_.begin(), lanes_.end(), [](const auto& l) { return l.read_only; })) {
    lanes_[0].read_only = false;
  }
  servers_.resize(1 + dice_.below(3));
  settings_.store = "simulated";
  settings_.endpoints = static_cast<std::uint32_t>(servers_.size());
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    settings_.addresses.push_back(std::to_string(i));
  }
  settings_.connections_max = 1 + static_cast<std::uint32_t>(dice_.below(8));
  settings_.connections_min = static_cast<std::uint32_t>(dice_.below(2));
  settings_.connects_max = 1 + static_cast<std::uint32_t>(dice_.below(3));
  settings_.connect_timeout = Micros(dice_.between(20'000, 2'000'000));
  settings_.queue_calls_max = dice_.chance(0.2) ? 5 : 4096;
  settings_.ceiling_raise = Micros(1'000'000);
  if (!calm_) {
    settings_.idle_max = Micros(dice_.between(100'000, 5'000'000));
    settings_.lifetime_max = Micros(dice_.between(500'000, 20'000'000));
    settings_.check_after = Micros(dice_.between(5'000, 1'000'000));
    settings_.lease_idle = settings_.writer_lease_idle = Micros(dice_.between(5'000, 1'000'000));
    settings_.lease_total = settings_.writer_lease_total = Micros(dice_.between(20'000, 3'000'000));
    settings_.stall_store = Micros(dice_.between(5'000, 500'000));
    settings_.stall_caller = Micros(dice_.between(5'000, 500'000));
    settings_.stream_max = Micros(dice_.between(100'000, 2'000'000));
    settings_.breaker_min_calls = dice_.chance(0.5) ? 5 : 20;
    operations_max_ = dice_.chance(0.1) ? 4 : 1000;
  }
  const auto services = 5 + dice_.below(4);
  figures_.services = services;
  for (std::uint64_t i = 0; i < services; ++i) {
    weights_.push_back(dice_.chance(0.8) ? 1 : 1 + static_cast<std::uint32_t>(dice_.below(4)));
    names_.push_back("service" + std::to_string(i));
  }
  for (std::uint64_t i = 0; i < services * 2; ++i) {
    peers_.push_back({i + 1, static_cast<std::uint32_t>(i % services), true, 1, -1, 0});
  }
}

void World::plan_weather() {
  const std::int64_t span = calm_ ? 2'000'000 : dice_.between(200'000, 6'000'000);
  const auto arrivals = 200 + dice_.below(100);
  for (std::uint64_t i = 0; i < arrivals; ++i) {
    at(Micros(dice_.between(1, span)), Kind::arrive, dice_.below(peers_.size()));
  }
  if (!calm_ && dice_.chance(0.4)) {  // one service floods
    const auto peer = dice_.below(peers_.size());
    const Micros when(dice_.between(1, span));
    for (int i = 0; i < 60; ++i) at(when, Kind::arrive, peer, 1);
  }
  for (int i = 0; i < 20; ++i) at(Micros(dice_.between(1, span)), Kind::wake, 1 + dice_.below(5));
  at(Micros(span), Kind::drain);
  if (calm_) return;
  const auto changes = dice_.below(12);
  for (std::uint64_t i = 0; i < changes; ++i) at(Micros(dice_.between(1, span)), Kind::weather);
  for (int i = 0; i < 5; ++i) at(Micros(dice_.between(1, span)), Kind::lost, dice_.next());
  for (int i = 0; i < 3; ++i) {
    at(Micros(dice_.between(1, span)), Kind::peer_dies, dice_.below(peers_.size()));
  }
  if (dice_.chance(0.3)) at(Micros(dice_.between(1, span)), Kind::apply);
}

void World::deliver(const Event& e) {
  ++figures_.events;
  const auto operation = [&]() -> SimOperation* {
    auto* op = reinterpret_cast<SimOperation*>(static_cast<std::uintptr_t>(e.a));
    return op->live && op->serial == e.b && !op->done_once ? op : nullptr;
  };
  const auto link = [&]() -> SimLink* {
    auto found = links_.find(e.a);
    return found == links_.end() || found->second == nullptr || found->second->closed
               ? nullptr
               : found->second;
  };
  switch (e.kind) {
    case Kind::arrive:
      arrive(static_cast<std::uint32_t>(e.a), e.b == 1);
      break;
    case Kind::statement:
      next_statement(static_cast<std::uint32_t>(e.a));
      break;
    case Kind::complete:
      if (SimOperation* op = operation()) complete(*op);
      break;
    case Kind::part: {
      SimOperation* op = operation();
      if (op == nullptr || op->hangs) break;
      if (op->next_part > op->parts_wanted || op->stopped) {
        complete(*op);
      } else if (op->next_part <= op->credit) {
        const std::uint64_t n = op->next_part++;
        const std::uint64_t serial = op->serial;
        at(soon(), Kind::part, e.a, serial);
        events_->part(*op, n, {});
      }
      break;
    }
    case Kind::piece_credit:
      if (SimOperation* op = operation(); op != nullptr && op->call != nullptr) {
        const Caller& c = callers_[op->caller];
        events_->upload_credit(*op, c.pieces + 2);
      }
      break;
    case Kind::piece:
      send_piece(callers_[e.a]);
      break;
    case Kind::credit: {
      Caller& c = callers_[e.a];
      if (c.answered) break;
      pools_->credit(c.call, c.parts + 1 + dice_.below(3));
      if (calm_ || dice_.chance(0.95)) at(soon() * 2, Kind::credit, e.a);
      break;
    }
    case Kind::opened: {
      const plugin::OpenRequest r = opening_.at(e.a);
      opening_.erase(e.a);
      auto l = std::make_unique<SimLink>(*this, r, ++links_made_);
      links_[links_made_] = l.get();
      say("opened link %lu for ticket %lx", links_made_, r.ticket);
      events_->opened(r.ticket, std::move(l));
      break;
    }
    case Kind::open_failed: {
      const plugin::OpenRequest r = opening_.at(e.a);
      opening_.erase(e.a);
      const Server& s = servers_[static_cast<std::size_t>(r.endpoint)];
      Fault f;
      f.code = Code::unavailable;
      f.message = "no door";
      f.retry = s.broken_for_good ? Retry::never : Retry::backoff;
      if (s.refuses_login) f.sqlstate = "28P01";
      f.full = s.up && s.room != SIZE_MAX;
      say("connect of ticket %lx failed", r.ticket);
      events_->open_failed(r.ticket, f);
      break;
    }
    case Kind::closed:
      if (SimLink* l = link()) finish_link(*l);
      break;
    case Kind::cancel_returned:
      if (SimLink* l = link()) {
        --l->cancels;
        events_->cancel_returned(l->request.ticket);
      }
      break;
    case Kind::lost: {
      std::vector<SimLink*> open;
      for (auto& [n, l] : links_) {
        if (l != nullptr && !l->closing && l->open.empty()) open.push_back(l);
      }
      if (open.empty()) break;
      std::sort(open.begin(), open.end(),
                [](const SimLink* a, const SimLink* b) { return a->number < b->number; });
      SimLink* l = open[e.a % open.size()];
      l->dead = true;
      settle_transaction(*l, false);
      Fault f;
      f.code = Code::unavailable;
      say("link %lu is lost", l->number);
      if (dice_.chance(0.5)) events_->lost(l->request.ticket, f);
      break;
    }
    case Kind::wake:
      events_->wake(e.a);
      break;
    case Kind::give_up: {
      Caller& c = callers_[e.a];
      if (c.answered) break;
      pools_->give_up(c.call, Code::cancelled, "by its caller");
      if (!c.answered) violated("given up and not answered");
      break;
    }
    case Kind::peer_dies:
      kill_peer(static_cast<std::uint32_t>(e.a));
      break;
    case Kind::weather: {
      Server& s = servers_[dice_.below(servers_.size())];
      s = {};
      switch (dice_.below(10)) {
        case 0:
        case 1:
          s.up = false;
          break;
        case 2:
          s.hangs = true;
          break;
        case 3:
          s.refuses_login = true;
          break;
        case 4:
          s.wrong_role = true;
          break;
        case 5:
          s.broken_for_good = true;
          break;
        case 6:
          s.room = dice_.below(settings_.connections_max + 1);
          break;
        default:
          break;  // well again
      }
      say("weather: up %d hangs %d login %d role %d room %zu", s.up, s.hangs, !s.refuses_login,
          !s.wrong_role, s.room);
      break;
    }
    case Kind::apply:
      if (dice_.chance(0.5)) {  // another endpoint in the place of one
        settings_.addresses[dice_.below(servers_.size())] = "moved" + std::to_string(generation_);
      }
      pools_->apply(settings_, ++generation_);
      break;
    case Kind::drain:
      draining_ = true;
      pools_->drain();
      break;
  }
}

void World::turn_over() {
  loop_.end_turn();
  check_overdue();
  if (calm_ || dice_.chance(0.1)) check_nothing_stalls();
}

// Deadlines would hide a lost wake-up: who waits must have something to wait for.
void World::check_nothing_stalls() {
  const auto rows = pools_->rows();
  std::size_t connections = 0;
  for (const auto& [n, l] : links_) connections += l != nullptr;
  for (const pool::PoolRow& r : rows) {
    const std::string who = r.lane + "/" + r.access;
    if (r.waiting == 0) {
      alone_since_.erase(who);
      continue;
    }
    if (r.idle > 0 && r.breaker == "closed" && operations_live_ < operations_max_) {
      violated("somebody waits beside an idle connection of " + who);
    }
    const bool alone = r.connections == 0 && r.connecting == 0 && servers_.size() == 1 &&
                       connections < settings_.connections_max && opening_.empty();
    if (!alone) {
      alone_since_.erase(who);
    } else if (auto [since, first] = alone_since_.try_emplace(who, loop_.now());
               loop_.now() - since->second >
               settings_.breaker_open_max + settings_.backoff_cap + Micros(1'000'000)) {
      violated("somebody waits and no connection is made for " + who);
    }
  }
}

void World::run() {
  build();
  plan_weather();
  pools_ = pool::make_attempts(loop_, pool_dice_, *this, *this, settings_);
  if (dice_.chance(0.5)) pools_->warm();
  TimePoint drained_by = kNever;
  int stage = 0;  // 1: draining, 2: leases ended, 3: closing
  for (;;) {
    TimePoint next = loop_.next_timer();
    if (!events_due_.empty()) next = std::min(next, events_due_.top().at);
    if (draining_ && stage == 0) {
      stage = 1;
      drained_by = loop_.now() + Micros(8'000'000);
    }
    if (stage == 3 && pools_->closed()) break;
    if (next == kNever && stage < 3) next = loop_.now() + Micros(1'000'000);
    if (stage > 0 && next > drained_by) next = drained_by;
    if (next == kNever) violated("close does not end");
    loop_.move_to(std::max(next, loop_.now()));
    while (!events_due_.empty() && events_due_.top().at <= loop_.now()) {
      const Event e = events_due_.top();
      events_due_.pop();
      deliver(e);
      if (dice_.chance(0.1)) loop_.end_turn();
    }
    while (loop_.fire_due()) {
    }
    turn_over();
    if (stage == 1 && (pools_->drained() || loop_.now() >= drained_by)) {
      stage = 2;
      drained_by = loop_.now() + Micros(30'000'000);
      pools_->end_leases();
      // Calls without a deadline wait for as long as they are let.
      for (std::size_t i = 0; i < callers_.size(); ++i) {
        Caller& c = callers_[i];
        if (c.started && !c.answered) pools_->give_up(c.call, Code::draining, "it is time");
      }
      turn_over();
    }
    if (stage == 2 && pools_->drained()) {
      check_rows_are_zero();
      stage = 3;
      drained_by = loop_.now() + Micros(30'000'000);
      pools_->close();
      turn_over();
    }
    if (stage >= 2 && loop_.now() >= drained_by) {
      violated(stage == 2 ? "drain does not end" : "close does not end");
    }
  }
  finish();
}

void World::check_rows_are_zero() {
  for (const pool::PoolRow& r : pools_->rows()) {
    if (r.waiting != 0) violated("drained, and somebody waits");
    if (r.leased != 0) violated("drained, and something is leased");
  }
  if (!pools_->leases().empty()) violated("drained, and there are leases");
}

void World::finish() {
  for (const pool::PoolRow& r : pools_->rows()) {
    if (r.connections + r.idle + r.busy + r.leased + r.connecting + r.waiting != 0) {
      violated("closed, and counts are not zero");
    }
  }
  if (operations_live_ != 0) violated("closed, and operations were not given back");
  if (!opening_.empty()) violated("closed, and connects are under way");
  for (const auto& [n, l] : links_) {
    if (l != nullptr) violated("closed, and a link was not destroyed");
  }
  figures_.counters = pools_->counters();
  if (figures_.counters.calls != figures_.calls) violated("calls are miscounted");
  if (figures_.counters.answered != figures_.calls) violated("answers are miscounted");
  check_truth();
  pools_.reset();
  if (loop_.timers() != 0) violated("a timer is left");
  if (failed_) violated("a link was destroyed before it was closed");
}

}  // namespace headgate::simulator
