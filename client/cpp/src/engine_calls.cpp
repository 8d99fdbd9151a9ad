// What becomes of a call: admitted, routed, handed over, expired, answered. The engine's thread
// only.
#include <algorithm>

#include "engine.hpp"

namespace headgate::detail {
namespace {

using std::chrono::milliseconds;

// How long past its timeout a call waits for the daemon's own word.
constexpr milliseconds kGrace{500};
// How long a daemon that answered nothing to an expired call has for a ping.
constexpr milliseconds kSuspicion{2'000};

std::uint64_t monotonic_us() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
          .count());
}

milliseconds patience(const Call& c) {
  return milliseconds(std::max(c.timeout_ms, c.wait_ms + (c.wait_ms != 0 ? 1'000u : 0u))) + kGrace;
}

}  // namespace

bool Engine::alive(const CallPtr& call) const { return calls_.contains(call->id); }

void Engine::admit(const CallPtr& call) {
  calls_.emplace(call->id, call);
  call->submitted = Clock::now();
  expire_at(call, call->submitted + patience(*call));
  route(call);
}

void Engine::expire_at(const CallPtr& call, Clock::time_point when) {
  if (call->expires != Clock::time_point::max()) expiries_.erase({call->expires, call->id});
  call->expires = when;
  if (when != Clock::time_point::max()) expiries_.insert({when, call->id});
}

void Engine::route(const CallPtr& call) {
  if (call->options.tx != 0) {
    const auto tx = txs_.find(call->options.tx);
    if (tx == txs_.end()) {
      fail(call, Code::transaction_expired, Outcome::rolled_back,
           "the transaction is not open on any connection of this client");
    } else if (tx->second.busy) {
      tx->second.waiting.push_back(call);
    } else {
      tx->second.busy = call->turn = true;
      hand(call, tx->second.session);
    }
  } else if (current_ != nullptr && current_->state == Session::State::ready) {
    hand(call, current_);
  } else {
    waiting_.push_back(call);
  }
}

void Engine::hand(const CallPtr& call, Session* session) {
  const auto waited = std::chrono::duration_cast<milliseconds>(Clock::now() - call->submitted);
  const std::int64_t left = std::int64_t{call->timeout_ms} - waited.count();
  proto::Request r;
  r.id = call->id;
  r.sent_us = monotonic_us();
  r.store = call->store;
  r.verb = call->verb;
  r.body = call->body;
  r.options.timeout_ms = static_cast<std::uint32_t>(std::max<std::int64_t>(1, left));
  r.options.read_only = call->options.read_only;
  r.options.idempotent = call->options.idempotent;
  r.options.key = call->options.key;
  r.options.tx = call->options.tx;
  r.options.fetch = call->options.fetch;
  r.options.trace = call->options.trace;
  if (call->window != 0) r.options.credit = call->window;
  proto::VectorOut out(call->body.size() + proto::kRequestHeadMax);
  proto::Writer w(&out);
  encode(w, r);
  if (out.size() > session->limits.message_max) {
    fail(call, Code::too_large, Outcome::not_sent,
         "the request has " + std::to_string(out.size()) + " bytes, the gateway takes " +
             std::to_string(session->limits.message_max));
    return;
  }
  if (call->verb == "begin") txs_[call->id] = Tx{session, true, {}};
  if (!session->send(out.view())) {
    // Not handed over: it goes to the next address, unless it belongs to this one.
    txs_.erase(call->id);
    if (call->options.tx == 0)
      waiting_.push_back(call);
    else
      fail(call, Code::transaction_expired, Outcome::rolled_back, "the connection was lost");
    return;
  }
  call->handed = true;
  call->session = session;
  ++session->calls;
  // An upload's time starts at its last piece.
  if (call->kind == Call::Kind::upload) expire_at(call, Clock::time_point::max());
}

void Engine::expire(const CallPtr& call, Clock::time_point now) {
  if (!call->handed) {
    fail(call, Code::deadline, Outcome::not_sent,
         failure_.text.empty() ? "no gateway could be reached in time"
                               : "no gateway could be reached in time: " + failure_.text);
    return;
  }
  Session* s = call->session;
  send(s, [&](proto::Writer& w) { encode(w, proto::Cancel{call->id}); });
  // Nothing at all since this call was handed over: the daemon may be stopped. Ask, with less
  // patience than for an idle one.
  if (s->heard < call->submitted && s->silence_ends == Clock::time_point::max()) {
    s->silence_ends = now + std::min<milliseconds>(s->heartbeat, kSuspicion);
    send(s, [](proto::Writer& w) { encode(w, proto::Ping{0}); });
  }
  fail(call, Code::deadline, Outcome::unknown, "no answer came in time");
}

void Engine::stop(const CallPtr& call) {
  if (!alive(call)) return;
  if (!call->handed) {
    fail(call, Code::cancelled, Outcome::not_sent, "cancelled before it was sent");
    return;
  }
  send(call->session, [&](proto::Writer& w) { encode(w, proto::Cancel{call->id}); });
  // The gateway answers; should it not, this side does.
  const Clock::time_point end = Clock::now() + patience(*call);
  if (call->expires > end) expire_at(call, end);
}

// A stream of a transaction is read to its end: to cancel it would roll the transaction back.
void Engine::drop(const CallPtr& call) {
  if (!alive(call)) return;
  call->unread = true;
  if (call->kind == Call::Kind::stream && call->options.tx != 0 && call->handed)
    read_on(call);
  else
    stop(call);
}

void Engine::read_on(const CallPtr& call) {
  send(call->session, [&](proto::Writer& w) {
    encode(w, proto::Credit{call->id, call->parts_seen + call->window});
  });
}

void Engine::upload_piece(const Command& c) {
  if (!alive(c.call) || !c.call->handed) return;
  send(c.call->session, [&](proto::Writer& w) {
    encode(w, proto::Data{c.call->id, c.seq, c.last, c.piece});
  });
  if (!c.last) return;
  c.call->last_sent = true;
  if (alive(c.call)) expire_at(c.call, Clock::now() + patience(*c.call));
}

void Engine::complete(const CallPtr& call, Reply reply) {
  if (calls_.erase(call->id) == 0) return;
  expire_at(call, Clock::time_point::max());
  if (call->session != nullptr) --call->session->calls;
  call->session = nullptr;
  const Code code = reply.code;
  reply.id = call->id;
  deliver(call, std::move(reply));
  release_tx(*call, code);
}

void Engine::deliver(const CallPtr& call, Reply reply) {
  if (call->callback) {
    if (options_.deliver == Deliver::thread) {
      call->callback(std::move(reply));
    } else {
      const std::lock_guard lock(mutex_);
      due_.emplace_back(std::move(call->callback), std::move(reply));
      signal_fd(due_fd_);
    }
    call->callback = nullptr;
    reply = Reply(Code::internal, {});
  } else if (call->promise.has_value()) {
    if (reply.ok())
      call->promise->set_value(std::move(reply));
    else
      call->promise->set_exception(std::make_exception_ptr(Error(reply.code, reply.meta)));
    reply = Reply(Code::internal, {});
  }
  const std::lock_guard lock(call->mutex);
  call->reply = std::move(reply);
  call->done = true;
  call->changed.notify_all();
}

void Engine::fail(const CallPtr& call, Code code, Outcome outcome, std::string text) {
  ReplyMeta m;
  m.outcome = outcome;
  m.message = std::move(text);
  m.retryable =
      outcome == Outcome::not_sent && (code == Code::unavailable || code == Code::draining);
  complete(call, Reply(code, std::move(m)));
}

// A call of a transaction has ended: the next one of it goes out.
void Engine::release_tx(const Call& call, Code code) {
  if (call.verb == "begin") {
    const auto tx = txs_.find(call.id);
    if (tx == txs_.end()) return;
    tx->second.busy = false;
    if (code != Code::ok) drop_tx(call.id);
    return;
  }
  if (call.options.tx == 0) return;
  const auto tx = txs_.find(call.options.tx);
  if (tx == txs_.end()) return;
  const bool over = code == Code::transaction_expired ||
                    ((call.verb == "commit" || call.verb == "rollback") && call.handed);
  if (over) {
    drop_tx(call.options.tx);
    return;
  }
  if (!call.turn) return;
  tx->second.busy = false;
  while (!tx->second.waiting.empty()) {
    const CallPtr next = tx->second.waiting.front();
    tx->second.waiting.pop_front();
    if (!alive(next)) continue;
    tx->second.busy = next->turn = true;
    hand(next, tx->second.session);
    return;
  }
}

void Engine::drop_tx(std::uint64_t id) {
  const auto tx = txs_.find(id);
  if (tx == txs_.end()) return;
  const std::deque<CallPtr> waiting = std::move(tx->second.waiting);
  txs_.erase(tx);
  for (const CallPtr& c : waiting)
    if (alive(c))
      fail(c, Code::transaction_expired, Outcome::rolled_back, "the transaction has ended");
}

}  // namespace headgate::detail
