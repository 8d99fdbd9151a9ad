// The simulated store: links, operations, what they do to the ledger, and everything that can go
// wrong with them.
#include <algorithm>

#include "tests/simulator/world.hpp"

namespace headgate::simulator {

using plugin::ConnState;
using plugin::Done;
using plugin::LeaseState;

SimLink::SimLink(World& w, const plugin::OpenRequest& r, std::uint64_t n)
    : world(w), request(r), number(n) {}

SimLink::~SimLink() {
  world.links_[number] = nullptr;
  if (!closed && !world.failed_ && !world.over_) world.failed_ = true;
}

void SimLink::take(SimOperation& op) {
  if (closing) world.violated("submitted to a connection that was told to close");
  if (cancels > 0) world.violated("submitted while a cancel is under way");
  if (own) world.violated("submitted while a reset or a check runs");
  if (op.submitted_once) world.violated("an operation was submitted twice");
  op.submitted_once = true;
  op.link = this;
  open.push_back(&op);
}

void SimLink::submit(std::span<Operation* const> operations) {
  const plugin::LaneInfo& lane = world.lanes_[request.lane];
  if (operations.empty() || operations.size() > lane.max_batch) world.violated("batch too large");
  for (Operation* o : operations) {
    auto& op = *static_cast<SimOperation*>(o);
    take(op);
    if (op.call == nullptr) world.violated("submitted for nobody");
    const Caller& c = world.callers_[op.caller];
    if (dirty && transaction < 0 && op.lease == 0)
      world.violated("a leased connection serves without a reset");
    if (transaction >= 0 && (op.lease == 0 || (holder != 0 && holder != op.lease))) {
      world.violated("two leases on one connection");
    }
    if (transaction >= 0 && c.transaction != transaction) {
      world.violated("a call runs in another's transaction");
    }
    if (op.lease != 0) holder = op.lease;
    if ((op.opens_lease || op.alone) && open.size() > 1) {
      world.violated("what wants to be alone is not");
    }
    if (op.opens_lease) {
      dirty = true;
      opener = op.caller;
      transaction = c.transaction;
      holder = 0;
    }
    world.say("submit #%zu on link %lu", op.caller, number);
    world.serve(*this, op);
  }
  if (open.size() > lane.max_inflight) world.violated("too many in flight");
}

void SimLink::reset(Operation& o) {
  auto& op = static_cast<SimOperation&>(o);
  take(op);
  if (open.size() != 1) world.violated("reset of a busy connection");
  own = true;
  world.say("reset link %lu", number);
  world.settle_transaction(*this, false);
  world.at(world.soon(), World::Kind::complete, reinterpret_cast<std::uintptr_t>(&op), op.serial);
}

void SimLink::ping(Operation& o) {
  auto& op = static_cast<SimOperation&>(o);
  take(op);
  if (open.size() != 1) world.violated("check of a busy connection");
  own = true;
  op.hangs = world.dice_.chance(world.fault_rate_ / 10);
  world.say("check link %lu", number);
  if (!op.hangs) {
    world.at(world.soon(), World::Kind::complete, reinterpret_cast<std::uintptr_t>(&op), op.serial);
  }
}

void SimLink::cancel(Operation& o) {
  auto& op = static_cast<SimOperation&>(o);
  ++cancels;
  world.say("cancel #%zu on link %lu", op.caller, number);
  op.stopped = true;
  // Most stop soon; the stubborn are written off after five seconds, as the lanes do it.
  const bool stubborn = op.hangs && world.dice_.chance(0.3);
  const Micros after = stubborn ? Micros(5'000'000) : world.soon();
  if (op.live && !op.done_once) {
    world.at(after, World::Kind::complete, reinterpret_cast<std::uintptr_t>(&op), op.serial);
  }
  world.at(after + world.soon(), World::Kind::cancel_returned, number);
}

bool SimLink::abandon(Operation& o) {
  auto& op = static_cast<SimOperation&>(o);
  if (!op.live || op.done_once) world.violated("abandoned what had ended");
  op.stopped = true;
  // It may still have stood behind others: then it ends when they have.
  const bool untouched = op.next_part == 1 && op.purpose == Purpose::call && !op.upload_ended &&
                         world.callers_[op.caller].verb != Verb::upload;
  op.withdrawn = untouched && world.dice_.chance(0.3);
  if (op.withdrawn) {
    world.at(world.soon(), World::Kind::complete, reinterpret_cast<std::uintptr_t>(&op), op.serial);
  }
  return op.withdrawn;
}

void SimLink::credit(Operation& o, std::uint64_t sequence) {
  auto& op = static_cast<SimOperation&>(o);
  if (!op.live || op.done_once) world.violated("credit for what had ended");
  op.credit = std::max(op.credit, sequence);
  world.at(world.soon(), World::Kind::part, reinterpret_cast<std::uintptr_t>(&op), op.serial);
}

void SimLink::upload(Operation& o, std::vector<std::uint8_t>, bool last) {
  auto& op = static_cast<SimOperation&>(o);
  if (!op.live || op.done_once) world.violated("a piece for what had ended");
  if (!last) {
    world.at(world.soon(), World::Kind::piece_credit, reinterpret_cast<std::uintptr_t>(&op),
             op.serial);
    return;
  }
  op.upload_ended = true;
  if (!op.hangs) {
    world.at(world.soon(), World::Kind::complete, reinterpret_cast<std::uintptr_t>(&op), op.serial);
  }
}

void SimLink::close() {
  if (closing) world.violated("closed twice");
  closing = true;
  world.say("close link %lu", number);
  const bool slow = world.dice_.chance(world.fault_rate_ / 10);
  world.at(slow ? Micros(5'000'000) : world.soon(), World::Kind::closed, number);
}

namespace {
// Fixed by the call, so that each of its attempts goes the same way.
std::uint64_t lane_seed(const Call& call) { return call.id * 0x9e3779b97f4a7c15ull >> 40; }
}  // namespace

Result<plugin::Route> World::route(const Call& call, std::uint32_t hops, const Fault*) {
  const Caller& c = callers_[index_of(call)];
  if (c.verb == Verb::bad) return fault(Code::invalid, "no such verb");
  plugin::Route r;
  // The caller's own lane: fixed by its id, so that repeats go the same way.
  const bool leases = c.verb == Verb::begin || c.verb == Verb::stream || c.verb == Verb::upload;
  std::uint64_t pick = lane_seed(call) + hops;
  for (std::size_t i = 0; i < lanes_.size(); ++i, ++pick) {
    const plugin::LaneInfo& lane = lanes_[pick % lanes_.size()];
    if (leases && !lane.lease) continue;
    if (lane.read_only && c.verb != Verb::get && c.verb != Verb::stream) continue;
    break;
  }
  r.lane = static_cast<std::uint32_t>(pick % lanes_.size());
  r.lease = leases;
  r.subscription = c.verb == Verb::stream && call.id % 3 == 0;
  r.idempotent = c.verb == Verb::set;
  r.alone = c.verb == Verb::put && call.id % 17 == 0;
  if (servers_.size() > 1 && call.id % 13 == 0) {
    r.endpoint = static_cast<std::int32_t>(call.id % servers_.size());
  }
  return r;
}

bool World::is_full(const Server& s, std::int32_t endpoint) const {
  std::size_t held = 0;
  for (const auto& [n, l] : links_)
    held += l != nullptr && !l->closed && l->request.endpoint == endpoint;
  return held >= s.room;
}

void World::open(const plugin::OpenRequest& r) {
  say("connect ticket %lx to %d, lane %s", r.ticket, r.endpoint, lanes_[r.lane].name.c_str());
  if (r.generation != generation_) violated("connects with an old credential");
  // One that lags, or goes to an endpoint that is gone, holds no place in the store, but one at its
  // own endpoint.
  std::size_t all = 1, there = 1, same = 0;
  const std::string& address = settings_.addresses[static_cast<std::size_t>(r.endpoint)];
  addresses_[r.ticket] = address;
  for (const auto& [n, l] : links_) {
    if (l == nullptr || l->closed) continue;
    ++all;
    there += addresses_[l->request.ticket] == address;
  }
  const Micros young = settings_.connect_timeout - settings_.connect_timeout / 10;
  for (const auto& [t, o] : opening_) {
    const bool named =
        std::count(settings_.addresses.begin(), settings_.addresses.end(), addresses_[t]) > 0;
    all += named && o.deadline - loop_.now() > young;
    there += addresses_[t] == address;
    same += addresses_[t] == address;
  }
  if (all > settings_.connections_max) violated("more connections than the store's maximum");
  if (there > settings_.connections_max) violated("more connections than an endpoint may have");
  if (same + 1 > settings_.connects_max) violated("too many connects at once to one endpoint");
  opening_[r.ticket] = r;
  const Server& s = servers_[static_cast<std::size_t>(r.endpoint)];
  if (s.hangs) {
    const bool late = dice_.chance(0.1);
    at(r.deadline - loop_.now() + (late ? Micros(7'000'000) : Micros(0)), Kind::open_failed,
       r.ticket);
  } else if (!s.up || s.refuses_login || s.broken_for_good || is_full(s, r.endpoint)) {
    at(soon(), Kind::open_failed, r.ticket);
  } else {
    at(soon() * 3, Kind::opened, r.ticket);
  }
}

Operation* World::begin(Call* call, Purpose purpose, const plugin::Route& r, std::uint32_t attempt,
                        std::uint64_t lease, std::string_view receipt) {
  if (operations_live_ >= operations_max_) return nullptr;
  if (free_operations_.empty()) {
    operations_.emplace_back();
    free_operations_.push_back(&operations_.back());
  }
  SimOperation& op = *free_operations_.back();
  free_operations_.pop_back();
  ++operations_live_;
  op.purpose = purpose;
  op.call = call;
  op.serial = ++serial_;
  op.live = true;
  op.submitted_once = op.done_once = op.hangs = op.stopped = op.upload_ended = false;
  op.withdrawn = false;
  op.link = nullptr;
  op.caller = SIZE_MAX;
  op.lease = lease;
  op.opens_lease = r.lease && lease == 0 && purpose == Purpose::call;
  op.alone = r.alone && purpose == Purpose::call;
  op.asks = !receipt.empty();
  op.next_part = 1;
  op.done = {};
  if (call == nullptr) return &op;
  Caller& c = callers_[index_of(*call)];
  op.caller = index_of(*call);
  op.credit = call->credit;
  if (c.answered) violated("an attempt for a call that has been answered");
  if (attempt != call->attempts + 1) violated("attempts are miscounted");
  if (loop_.now() >= call->deadline && c.verb != Verb::upload && c.verb != Verb::stream) {
    violated("begun past its deadline");
  }
  const bool harmless = c.verb == Verb::set || c.verb == Verb::keyed || call->idempotent ||
                        call->access == Access::read || lanes_[r.lane].read_only || op.asks;
  if (c.unknown_seen && !harmless) {
    violated("a write is sent again after unknown: call #" + std::to_string(op.caller));
  }
  if (c.parts > 0) violated("an attempt after a part has left");
  if (call->tx == 0) note_turn(c, r);
  return &op;
}

void World::end(Operation& o) {
  auto& op = static_cast<SimOperation&>(o);
  if (!op.live) violated("an operation was ended twice");
  if (op.submitted_once && !op.done_once) violated("an operation was ended while it runs");
  op.live = false;
  op.call = nullptr;
  --operations_live_;
  free_operations_.push_back(&op);
}

// Decides how long it takes; what comes of it is decided when it ends.
void World::serve(SimLink& l, SimOperation& op) {
  const Caller& c = callers_[op.caller];
  const Server& s = servers_[static_cast<std::size_t>(l.request.endpoint)];
  op.hangs = s.hangs || dice_.chance(fault_rate_ / 20);
  if (c.verb == Verb::upload) {
    at(soon(), Kind::piece_credit, reinterpret_cast<std::uintptr_t>(&op), op.serial);
    return;  // ends after its last piece
  }
  if (op.hangs) return;
  if (c.verb == Verb::stream) {
    op.parts_wanted = dice_.below(6);
    at(soon(), Kind::part, reinterpret_cast<std::uintptr_t>(&op), op.serial);
    return;
  }
  const bool slow = dice_.chance(calm_ ? 0.0 : 0.02);
  at(slow ? Micros(dice_.between(10'000, 2'000'000)) : soon(), Kind::complete,
     reinterpret_cast<std::uintptr_t>(&op), op.serial);
}

void World::apply_effect(SimOperation& op) {
  Caller& c = callers_[op.caller];
  if (c.verb == Verb::upload && !op.upload_ended) return;
  switch (c.verb) {
    case Verb::get:
    case Verb::stream:
    case Verb::begin:
    case Verb::rollback:
      return;
    case Verb::commit:
      if (op.link->transaction < 0) return;  // undone before, with its connection
      settle_transaction(*op.link, true);
      c.effects = 1;
      return;
    case Verb::keyed:  // the store knows the key
    case Verb::set:
      c.effects = 1;
      return;
    case Verb::statement:
      if (op.link->transaction >= 0) {
        transactions_[static_cast<std::size_t>(op.link->transaction)].written.push_back(op.caller);
      }
      return;
    default:
      ++c.effects;
  }
}

// The connection is gone while it runs: it was done, or it was not, and nobody can say.
void World::lose(SimOperation& op, Done& d) {
  if (!op.asks && dice_.chance(0.5)) apply_effect(op);
  d.ok = false;
  d.connection = ConnState::broken;
  d.fault.outcome = Outcome::unknown;
  d.fault.code = Code::unavailable;
  d.fault.retry = dice_.chance(0.8) ? Retry::new_connection : Retry::never;
  d.fault.breaker = true;
  const Caller& c = callers_[op.caller];
  if ((c.verb == Verb::put || c.verb == Verb::commit) && dice_.chance(0.5)) {
    d.receipt = "r" + std::to_string(op.caller);
  }
}

// Every kind of failure that a plugin can name.
bool World::trouble(SimLink& l, SimOperation& op, Done& d) {
  if (!dice_.chance(fault_rate_)) return false;
  Caller& c = callers_[op.caller];
  d.ok = false;
  d.fault.code = Code::store_error;
  d.fault.retry_after_ms = dice_.chance(0.3) ? static_cast<std::uint32_t>(dice_.below(200)) : 0;
  switch (dice_.below(10)) {
    case 0:
      d.fault.outcome = Outcome::rejected;
      d.fault.retry = Retry::never;
      break;
    case 1:
      d.fault.outcome = Outcome::rejected;
      d.fault.retry = Retry::backoff;
      break;
    case 2:
      d.fault.outcome = Outcome::rejected;
      d.fault.retry = Retry::same_connection;
      break;
    case 3:
      d.fault.outcome = Outcome::rejected;
      d.fault.retry = Retry::reroute;
      break;
    case 4:
      d.fault.outcome = Outcome::rolled_back;
      d.fault.retry = Retry::backoff;
      d.fault.code = Code::conflict;
      break;
    case 5:
      d.fault.outcome = Outcome::not_sent;
      d.fault.retry = Retry::new_connection;
      d.connection = ConnState::broken;
      l.dead = true;
      break;
    case 6:
      d.fault.outcome = Outcome::rejected;
      d.fault.retry = Retry::backoff;
      d.fault.breaker = true;
      break;
    case 7:
      d.fault.outcome = Outcome::rejected;
      d.fault.retry = Retry::never;
      d.connection = ConnState::needs_reset;
      l.dirty = true;
      break;
    default:
      lose(op, d);
      if (dice_.chance(0.2))
        d.connection = ConnState::clean;  // a commit that was interrupted
      else
        l.dead = true;
  }
  if (op.asks && d.fault.outcome != Outcome::unknown && d.fault.outcome != Outcome::not_sent) {
    d.fault.outcome = Outcome::rejected;
    d.fault.code = Code::in_progress;
    d.fault.retry = Retry::backoff;
  }
  if (c.transaction >= 0 && l.transaction >= 0) {
    d.lease = dice_.chance(0.3) ? LeaseState::failed : LeaseState::open;
  }
  return true;
}

void World::execute_in_transaction(SimLink& l, SimOperation& op, Done& d) {
  const Caller& c = callers_[op.caller];
  switch (c.verb) {
    case Verb::begin:
      d.lease = LeaseState::open;
      return;
    case Verb::stream:
    case Verb::upload:
    case Verb::commit:
      apply_effect(op);
      return;
    case Verb::rollback:
      settle_transaction(l, false);
      return;
    default:
      apply_effect(op);
      d.lease = LeaseState::open;
  }
}

void World::execute(SimLink& l, SimOperation& op, Done& d) {
  Caller& c = callers_[op.caller];
  Server& s = servers_[static_cast<std::size_t>(l.request.endpoint)];
  if (op.withdrawn) {
    d.ok = false;
    d.fault.code = Code::cancelled;
    return;
  }
  if (l.dead || !s.up) return lose(op, d);
  if (op.stopped && dice_.chance(0.8)) {  // interrupted
    d.ok = false;
    d.fault.outcome = Outcome::rolled_back;
    d.fault.code = Code::cancelled;
    if (l.transaction >= 0) d.lease = c.verb == Verb::begin ? LeaseState::none : LeaseState::open;
    return;
  }
  if (s.wrong_role && c.call.access != Access::read) {
    d.ok = false;
    d.fault.outcome = Outcome::rejected;
    d.fault.code = Code::store_error;
    d.fault.retry = Retry::other_endpoint;
    if (l.transaction >= 0) d.lease = LeaseState::open;
    return;
  }
  if (trouble(l, op, d)) return;
  if (op.asks) {  // what became of it?
    if (c.effects > 0) return;
    d.ok = false;
    d.fault.outcome = Outcome::rolled_back;
    d.fault.code = Code::store_error;
    return;
  }
  if (c.verb == Verb::pop && dice_.chance(0.6)) {
    d.ok = false;
    d.fault.outcome = Outcome::rejected;
    d.fault.retry = Retry::wait;
    d.fault.code = Code::not_found;
    d.fault.wait_token = dice_.chance(0.9) ? 1 + op.caller % 5 : 0;
    d.fault.retry_after_ms = d.fault.wait_token == 0 ? 50 : dice_.chance(0.5) ? 300 : 0;
    return;
  }
  if (l.transaction >= 0) return execute_in_transaction(l, op, d);
  apply_effect(op);
}

void World::complete(SimOperation& op) {
  SimLink& l = *op.link;
  Done d;
  if (op.purpose == Purpose::call) {
    execute(l, op, d);
    Caller& c = callers_[op.caller];
    const bool read_only = l.request.access == Access::read || lanes_[l.request.lane].read_only;
    if (!d.ok && d.fault.outcome == Outcome::unknown && op.call != nullptr && !read_only) {
      c.unknown_seen = true;
    }
    if (d.lease == LeaseState::none && l.transaction >= 0) {
      // Over, whichever way: committed by execute(), or undone here.
      settle_transaction(l, false);
    }
    say("  #%zu ends: %s %s%s", op.caller, d.ok ? "ok" : proto::name(d.fault.outcome).data(),
        d.connection == ConnState::broken ? "broken " : "", op.call == nullptr ? "late" : "");
  } else {
    l.own = false;
    const bool bad = l.dead || !servers_[static_cast<std::size_t>(l.request.endpoint)].up;
    d.ok = !bad;
    if (bad) d.connection = ConnState::broken;
    if (!bad && op.purpose == Purpose::reset) l.dirty = false;
  }
  op.done_once = true;
  std::erase(l.open, &op);
  op.done = std::move(d);
  events_->completed(op);
}

// What a link does when it is closed: everything that is open ends first.
void World::complete_broken(SimLink& l) {
  l.dead = true;
  while (!l.open.empty()) complete(*l.open.front());
}

// The open transaction of a connection ends.
void World::settle_transaction(SimLink& l, bool commit) {
  if (l.transaction >= 0) {
    Transaction& t = transactions_[static_cast<std::size_t>(l.transaction)];
    if (commit) {
      t.committed = true;
      for (const std::size_t i : t.written) ++callers_[i].effects;
    }
    t.written.clear();
  }
  l.transaction = -1;
  l.holder = 0;
  l.opener = SIZE_MAX;
}

void World::finish_link(SimLink& l) {
  complete_broken(l);
  settle_transaction(l, false);
  l.closed = true;
  const plugin::Ticket ticket = l.request.ticket;
  events_->closed(ticket);
}

}  // namespace headgate::simulator
