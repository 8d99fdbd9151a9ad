// The simulated callers: what they ask, and whether what they are told is true.
#include <algorithm>
#include <cmath>

#include "tests/simulator/world.hpp"

namespace headgate::simulator {

Caller& World::new_caller(Peer& p, std::uint32_t peer, Verb verb) {
  callers_.emplace_back();
  Caller& c = callers_.back();
  c.verb = verb;
  c.peer = peer;
  c.call.id = callers_.size();
  c.call.peer = p.id;
  c.call.request_id = p.next_request++;
  c.call.share = {p.service, weights_[p.service], names_[p.service]};
  c.call.received = loop_.now();
  const bool hasty = !calm_ && dice_.chance(0.2);
  Micros timeout(hasty ? dice_.between(1'000, 50'000) : dice_.between(200'000, 5'000'000));
  if (calm_) timeout = Micros(20'000'000);
  c.call.deadline = loop_.now() + timeout;
  if (!calm_ && dice_.chance(0.01)) c.call.deadline = kNever;
  static constexpr std::string_view kNames[] = {"put",   "set",    "keyed",    "get",
                                                "pop",   "stream", "upload",   "begin",
                                                "write", "commit", "rollback", "bad"};
  c.call.verb = kNames[static_cast<std::size_t>(verb)];
  c.call.access = verb == Verb::get || verb == Verb::stream
                      ? (dice_.chance(0.5) ? Access::read : Access::write)
                      : Access::write;
  c.call.idempotent = verb == Verb::put && dice_.chance(0.1);
  if (verb == Verb::keyed) c.call.key = "k";
  c.call.waits = verb == Verb::pop;
  c.call.upload = verb == Verb::upload;
  if (verb == Verb::stream) {
    c.call.fetch = 10;
    c.call.credit = dice_.below(4);
  }
  return c;
}

void World::start(Caller& c) {
  c.started = true;
  ++figures_.calls;
  unanswered_.push_back(index_of(c.call));
  say("start #%lu %s service %u tx %lu timeout %ld", index_of(c.call), c.call.verb.data(),
      c.call.share.service, c.call.tx,
      c.call.deadline == kNever ? -1 : (c.call.deadline - loop_.now()).count());
  note_waiting(c);
  pools_->start(c.call);
  if (c.answered) return;
  if (!calm_ && dice_.chance(0.05)) at(soon() * 4, Kind::give_up, index_of(c.call));
  if (c.verb == Verb::stream) at(soon() * 3, Kind::credit, index_of(c.call));
}

void World::arrive(std::uint32_t peer, bool flood) {
  Peer& p = peers_[peer];
  if (!p.alive || draining_) return;
  static constexpr Verb kMix[] = {Verb::put,    Verb::put, Verb::put, Verb::set,    Verb::keyed,
                                  Verb::get,    Verb::get, Verb::pop, Verb::stream, Verb::begin,
                                  Verb::upload, Verb::get, Verb::bad};
  Verb verb =
      flood ? (dice_.chance(0.5) ? Verb::put : Verb::get) : kMix[dice_.below(std::size(kMix))];
  const bool can_lease = std::any_of(lanes_.begin(), lanes_.end(),
                                     [](const auto& l) { return l.lease && !l.read_only; });
  if (!can_lease && (verb == Verb::begin || verb == Verb::stream || verb == Verb::upload)) {
    verb = Verb::get;
  }
  if (verb == Verb::begin && p.begin >= 0) {
    // Its transaction is under way: a call in it, perhaps too early or twice at once.
    if (!calm_) return next_statement(peer);
    verb = Verb::put;
  }
  Caller& c = new_caller(p, peer, verb);
  if (verb == Verb::begin) {
    p.begin = static_cast<std::int64_t>(index_of(c.call));
    p.statements_left = static_cast<std::uint32_t>(dice_.below(4));
    c.transaction = static_cast<std::int64_t>(transactions_.size());
    transactions_.emplace_back();
  } else if (verb == Verb::stream || verb == Verb::upload) {
    c.transaction = static_cast<std::int64_t>(transactions_.size());  // a lease of its own
    transactions_.emplace_back();
  }
  start(c);
}

void World::next_statement(std::uint32_t peer) {
  Peer& p = peers_[peer];
  if (!p.alive || p.begin < 0) return;
  const Call& begin = callers_[static_cast<std::size_t>(p.begin)].call;
  Verb verb = Verb::statement;
  if (p.statements_left == 0) {
    verb = dice_.chance(0.7) ? Verb::commit : Verb::rollback;
    if (!calm_ && dice_.chance(0.1)) {  // forgets it: its limits must end it
      p.begin = -1;
      return;
    }
  } else {
    --p.statements_left;
  }
  Caller& c = new_caller(p, peer, verb);
  c.call.tx = begin.request_id;
  c.transaction = callers_[index_of(begin)].transaction;
  if (verb != Verb::statement) p.begin = -1;
  start(c);
}

void World::kill_peer(std::uint32_t peer) {
  Peer& p = peers_[peer];
  if (!p.alive) return;
  p.alive = false;
  say("peer %u dies", peer);
  for (std::size_t i = 0; i < callers_.size(); ++i) {
    Caller& c = callers_[i];
    if (c.peer == peer && c.started && !c.answered) {
      pools_->give_up(c.call, Code::cancelled, "its peer is gone");
      if (!c.answered) violated("given up and not answered");
    }
  }
  pools_->peer_gone(p.id);
  if (pools_->has_leases(p.id)) violated("a dead peer keeps a lease");
  // Somebody else comes in its place.
  p.id += 1000;
  p.alive = !draining_;
  p.begin = -1;
}

void World::send_piece(Caller& c) {
  if (c.answered || c.last_sent || c.pieces >= c.piece_credit) return;
  ++c.pieces;
  c.last_sent = dice_.chance(0.4);
  pools_->upload(c.call, {1, 2, 3}, c.last_sent);
}

void World::answer(Call& call, Answer a) {
  const std::size_t i = index_of(call);
  if (i >= callers_.size()) violated("an answer for no call");
  Caller& c = callers_[i];
  if (c.answered) violated("answered twice");
  c.answered = true;
  c.answer = std::move(a);
  c.answered_at = loop_.now();
  forget_waiting(c);
  std::erase(unanswered_, i);
  say("  answer #%zu %s %s: %s", i, proto::name(c.answer.code).data(),
      proto::name(c.answer.outcome).data(), c.answer.fault.message.c_str());
  check_answer(c);
  ++figures_.outcomes[static_cast<std::size_t>(c.answer.outcome)];
  if (c.answer.code == Code::ok) ++figures_.ok;
  Peer& p = peers_[c.peer];
  if (c.call.peer != p.id) return;
  if (c.verb == Verb::begin && p.begin == static_cast<std::int64_t>(i)) {
    if (c.answer.lease_open) {
      at(soon(), Kind::statement, c.peer);
    } else {
      p.begin = -1;
    }
  } else if (c.verb == Verb::statement && p.begin >= 0) {
    at(soon(), Kind::statement, c.peer);
  }
  // What the transport may do when it sends: find the peer gone, or hand over its next request.
  if (in_answer_ || calm_) return;
  in_answer_ = true;
  if (dice_.chance(fault_rate_ / 20))
    kill_peer(c.peer);
  else if (dice_.chance(0.03) && !over_)
    arrive(c.peer, false);
  in_answer_ = false;
}

void World::part(Call& call, std::uint64_t sequence, ReplyBuffer) {
  Caller& c = callers_[index_of(call)];
  if (c.answered) violated("a part after the answer");
  if (sequence != ++c.parts) violated("parts out of order");
  if (!in_answer_ && dice_.chance(fault_rate_ / 20)) {
    in_answer_ = true;
    kill_peer(c.peer);
    in_answer_ = false;
  }
}

void World::upload_credit(Call& call, std::uint64_t sequence) {
  Caller& c = callers_[index_of(call)];
  if (c.answered) violated("upload credit after the answer");
  c.piece_credit = std::max(c.piece_credit, sequence);
  if (calm_ || dice_.chance(0.97)) at(soon(), Kind::piece, index_of(call));
}

// What must hold for an answer when it is given.
void World::check_answer(Caller& c) {
  const Answer& a = c.answer;
  if ((a.code == Code::ok) != (a.outcome == Outcome::applied)) violated("ok and applied disagree");
  if (c.call.deadline != kNever && c.verb != Verb::stream && c.verb != Verb::upload &&
      c.answered_at > c.call.deadline) {
    violated("answered after its deadline");
  }
  if (c.unknown_seen && c.verb == Verb::put && !c.call.idempotent &&
      a.outcome != Outcome::unknown && c.call.attempts == 1) {
    violated("an unknown attempt became something else without a proof");
  }
  if (calm_ && a.code != Code::ok && c.verb != Verb::bad && c.verb != Verb::pop &&
      a.code != Code::conflict && a.code != Code::overloaded && a.code != Code::draining) {
    violated(std::string("without any fault: ") + std::string(proto::name(a.code)) + ", " +
             a.fault.message);
  }
}

// What must hold for all answers at the end: the store's ledger knows.
void World::check_truth() {
  for (std::size_t i = 0; i < callers_.size(); ++i) {
    const Caller& c = callers_[i];
    if (!c.started) continue;
    const auto who = " (call #" + std::to_string(i) + ")";
    if (!c.answered) violated("a call was never answered" + who);
    const Outcome o = c.answer.outcome;
    const bool none = o == Outcome::not_sent || o == Outcome::rejected || o == Outcome::rolled_back;
    if (c.verb == Verb::put || c.verb == Verb::upload || c.verb == Verb::pop) {
      if (c.effects > 1 && !c.call.idempotent) violated("a write was applied twice" + who);
      if (o == Outcome::applied && c.effects == 0) violated("told applied, but was not" + who);
    }
    if (c.verb == Verb::set || c.verb == Verb::keyed) {
      if (o == Outcome::applied && c.effects == 0) violated("told applied, but was not" + who);
    }
    if (none && c.effects > 0 && c.verb != Verb::statement) {
      violated("told " + std::string(proto::name(o)) + ", but was applied" + who);
    }
    if (c.transaction < 0) continue;
    const Transaction& t = transactions_[static_cast<std::size_t>(c.transaction)];
    if (c.answer.code == Code::transaction_expired && o == Outcome::rolled_back && t.committed) {
      violated("told that its transaction was rolled back, but it was committed" + who);
    }
    if (c.verb == Verb::commit && o == Outcome::applied && !t.committed) {
      violated("told committed, but was not" + who);
    }
  }
}

void World::check_overdue() {
  for (const std::size_t i : unanswered_) {
    const Caller& c = callers_[i];
    if (c.call.deadline == kNever || c.verb == Verb::stream || c.verb == Verb::upload) continue;
    if (c.call.deadline < loop_.now()) {
      violated("a waiter was lost: call #" + std::to_string(i) + " is past its deadline");
    }
  }
}

namespace {
std::uint64_t queue_key(const plugin::Route& r, const plugin::LaneInfo& lane, Access access) {
  if (lane.per_store)
    access = lane.read_only || access == Access::read ? Access::read : Access::write;
  return (static_cast<std::uint64_t>(r.lane) << 16) | (static_cast<std::uint64_t>(access) << 8) |
         static_cast<std::uint64_t>(r.endpoint + 1);
}
}  // namespace

// A call of a service waits in a queue from its start to its first attempt.
void World::note_waiting(Caller& c) {
  if (c.call.tx != 0 || c.verb == Verb::bad) return;
  const plugin::Route r = *route(c.call, 0, nullptr);
  auto& flows = turns_[queue_key(r, lanes_[r.lane], c.call.access)];
  say("  waits in queue %lx", queue_key(r, lanes_[r.lane], c.call.access));
  flows.resize(weights_.size());
  Flow& f = flows[c.call.share.service];
  if (f.waiting++ == 0) f.passed_over = 0;
}

void World::forget_waiting(Caller& c) {
  if (c.call.tx != 0 || c.verb == Verb::bad || c.placed) return;
  c.placed = true;
  const plugin::Route r = *route(c.call, 0, nullptr);
  Flow& f = turns_[queue_key(r, lanes_[r.lane], c.call.access)][c.call.share.service];
  --f.waiting;
}

// While a service waits, the others may have as many turns as their weights say, and a few more.
void World::note_turn(Caller& c, const plugin::Route& r) {
  auto& flows = turns_[queue_key(r, lanes_[r.lane], c.call.access)];
  flows.resize(weights_.size());
  say("  turn of #%lu in queue %lx", index_of(c.call), queue_key(r, lanes_[r.lane], c.call.access));
  forget_waiting(c);
  flows[c.call.share.service].passed_over = 0;
  double all = 0;
  for (const std::uint32_t w : weights_) all += w;
  for (std::size_t s = 0; s < flows.size(); ++s) {
    Flow& f = flows[s];
    if (s == c.call.share.service || f.waiting == 0) continue;
    const double most = 2.0 * all / weights_[s] + 2.0 * static_cast<double>(weights_.size());
    if (++f.passed_over > most) {
      violated("service " + std::to_string(s) + " is starved: passed over " +
               std::to_string(static_cast<int>(f.passed_over)) + " times");
    }
  }
}

}  // namespace headgate::simulator
