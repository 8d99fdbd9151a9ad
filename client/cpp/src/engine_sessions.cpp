// Sessions: opened, read, lost; and what their frames mean for calls.
#include <algorithm>

#include "engine.hpp"

namespace headgate::detail {
namespace {

constexpr std::chrono::milliseconds kPauseMax{1'000};
constexpr int kFramesATurn = 256;  // of one session, before the others have theirs

ReplyMeta meta_of(const proto::Meta& m) {
  ReplyMeta out;
  out.outcome = m.outcome;
  out.attempts = m.attempts;
  out.retryable = m.retryable;
  out.retry_after = std::chrono::milliseconds(m.retry_after_ms);
  out.sqlstate = m.sqlstate;
  out.vendor_code = m.vendor_code;
  out.message = m.message;
  out.detail.assign(m.detail.begin(), m.detail.end());
  out.store = m.store;
  out.rows_affected = m.rows_affected;
  out.last_id = m.last_id;
  proto::Cursor c(m.warnings);
  const std::uint32_t n = m.warnings.empty() ? 0 : c.read_array();
  for (std::uint32_t i = 0; i < n && c.ok(); ++i) out.warnings.emplace_back(c.read_str());
  out.replayed = m.replayed;
  out.replicated = m.replicated;
  out.queue_time = std::chrono::microseconds(m.queue_us);
  out.store_time = std::chrono::microseconds(m.store_us);
  return out;
}

std::size_t offset_of(const std::vector<std::uint8_t>& frame, Bytes body) {
  return static_cast<std::size_t>(body.data() - frame.data());
}

}  // namespace

void Engine::ensure_session(Clock::time_point now) {
  if (current_ != nullptr || (waiting_.empty() && !wanted_) || now < not_before_) return;
  const std::size_t index = next_address_ % addresses_.size();
  std::uint64_t id = 0;
  {
    const std::lock_guard lock(mutex_);
    id = ++last_id_;
  }
  sessions_.push_back(
      std::make_unique<Session>(context_, addresses_[index], index, id, options_.name, ++serial_));
  current_ = sessions_.back().get();
}

void Engine::send(Session* s, const std::function<void(proto::Writer&)>& write) {
  proto::VectorOut out;
  proto::Writer w(&out);
  write(w);
  s->send(out.view());
}

void Engine::read(Session* s) {
  if (!s->failed().empty()) return;
  std::vector<std::uint8_t> frame;
  for (int n = 0; n < kFramesATurn && s->failed().empty() && s->receive(&frame); ++n)
    if (s->failed().empty()) on_frame(s, std::move(frame));
  if (s->monitor_speaks) s->watch();
}

void Engine::retire(Session* s) {
  if (s->state == Session::State::ready) s->state = Session::State::draining;
  if (current_ != s) return;
  current_ = nullptr;
  next_address_ = s->address_index() + 1;
  tried_ = 0;
  const std::lock_guard lock(mutex_);
  address_.clear();
}

void Engine::reap() {
  for (std::size_t i = 0; i < sessions_.size();) {
    Session* s = sessions_[i].get();
    const bool drained = s->state == Session::State::draining && s->calls == 0 &&
                         std::none_of(txs_.begin(), txs_.end(),
                                      [&](const auto& t) { return t.second.session == s; });
    if (s->failed().empty() && !drained) {
      ++i;
      continue;
    }
    if (!s->failed().empty()) lost(s);
    // lost() completes calls, and a callback may have led to new ones: never to new sessions.
    std::erase_if(sessions_, [&](const auto& p) { return p.get() == s; });
    i = 0;
  }
}

void Engine::lost(Session* s) {
  const std::string where = s->address().endpoint + ": " + s->failed();
  const bool was_ready = s->state != Session::State::connecting;
  const bool was_current = s == current_;
  if (was_current) {
    current_ = nullptr;
    next_address_ = s->address_index() + 1;
    const std::lock_guard lock(mutex_);
    address_.clear();
  }
  std::vector<CallPtr> handed;
  for (const auto& [id, call] : calls_)
    if (call->session == s) handed.push_back(call);
  std::vector<std::uint64_t> gone;
  for (const auto& [id, tx] : txs_)
    if (tx.session == s) gone.push_back(id);
  for (const std::uint64_t id : gone) drop_tx(id);
  for (const CallPtr& c : handed) fail(c, Code::unavailable, Outcome::unknown, where);
  if (!was_current) return;
  if (was_ready) {
    tried_ = 0;
    return;
  }
  // A refusal says more than an address where nobody listens.
  if (s->refused.has_value())
    failure_ = {*s->refused, where};
  else if (failure_.code == Code::unavailable)
    failure_ = {Code::unavailable, where};
  if (++tried_ >= addresses_.size()) give_up_waiting();
}

// No address could be had: those who wait are told at once, and the next round begins later.
void Engine::give_up_waiting() {
  tried_ = 0;
  wanted_ = false;
  not_before_ = Clock::now() + pause_;
  pause_ = std::min(pause_ * 2, kPauseMax);
  const std::deque<CallPtr> waiting = std::exchange(waiting_, {});
  for (const CallPtr& c : waiting)
    if (alive(c)) fail(c, failure_.code, Outcome::not_sent, failure_.text);
  {
    const std::lock_guard lock(mutex_);
    refused_ = failure_;
  }
  settled_.notify_all();
  failure_ = {};
}

void Engine::on_frame(Session* s, std::vector<std::uint8_t> frame) {
  // What one reply may hold is the daemon's business; the client's own limit is only sanity.
  proto::Limits wide = s->limits;
  wide.message_max = std::max<std::uint64_t>(2 * s->limits.message_max, frame.size());
  wide.elements_max = UINT32_MAX;
  wide.depth_max = proto::kDepthMax;
  const auto m = decode(frame, proto::From::daemon, wide);
  if (!m.has_value()) {
    if (m.error().cut)
      s->fail("the gateway broke the protocol: " + std::string(m.error().reason()));
    return;  // a type of the future
  }
  s->heard = Clock::now();
  s->silence_ends = Clock::time_point::max();
  if (const auto* welcome = std::get_if<proto::Welcome>(&*m)) {
    on_welcome(s, *welcome);
  } else if (const auto* p = std::get_if<proto::Part>(&*m)) {
    on_part(s, *p, frame);
  } else if (const auto* r = std::get_if<proto::Reply>(&*m)) {
    on_reply(s, *r, frame);
  } else if (const auto* c = std::get_if<proto::Credit>(&*m)) {
    on_credit(*c);
  } else if (const auto* ping = std::get_if<proto::Ping>(&*m)) {
    send(s, [&](proto::Writer& w) { encode(w, proto::Pong{ping->id}); });
  } else if (std::holds_alternative<proto::Goaway>(*m)) {
    retire(s);
    end_listening(s);
  }
}

// A draining gateway waits for what is in flight, and a subscription would never end.
void Engine::end_listening(Session* s) {
  std::vector<CallPtr> endless;
  for (const auto& [id, call] : calls_)
    if (call->session == s && call->verb == "listen") endless.push_back(call);
  for (const CallPtr& c : endless) {
    send(s, [&](proto::Writer& w) { encode(w, proto::Cancel{c->id}); });
    fail(c, Code::draining, c->parts_seen > 0 ? Outcome::applied : Outcome::unknown,
         "the gateway is being stopped: listen again, to another one");
  }
}

void Engine::on_welcome(Session* s, const proto::Welcome& w) {
  if (s->state != Session::State::connecting || w.id != s->hello_id()) {
    s->fail("the gateway broke the protocol: a welcome that nobody asked for");
    return;
  }
  if (w.version != proto::kVersion) {
    s->fail("the gateway chose protocol " + std::to_string(w.version));
    return;
  }
  s->state = Session::State::ready;
  s->limits = w.limits;
  s->heartbeat = std::chrono::milliseconds(w.heartbeat_ms);
  wanted_ = false;
  tried_ = 0;
  failure_ = {};
  pause_ = std::chrono::milliseconds(50);
  not_before_ = {};
  std::vector<StoreInfo> stores;
  proto::StoreReader reader(w.stores);
  for (proto::GrantedStore g; reader.next(&g);) {
    StoreInfo info{std::string(g.name), std::string(g.kind), {}};
    proto::Cursor c(g.verbs);
    const std::uint32_t n = c.read_array();
    for (std::uint32_t i = 0; i < n && c.ok(); ++i) info.verbs.emplace_back(c.read_str());
    stores.push_back(std::move(info));
  }
  {
    const std::lock_guard lock(mutex_);
    welcomed_ = true;
    stores_ = std::move(stores);
    limits_ = w.limits;
    address_ = s->address().endpoint;
  }
  settled_.notify_all();
  const std::deque<CallPtr> waiting = std::exchange(waiting_, {});
  for (const CallPtr& c : waiting)
    if (alive(c)) route(c);
}

void Engine::on_part(Session* s, const proto::Part& p, std::vector<std::uint8_t>& frame) {
  const auto found = calls_.find(p.id);
  if (found == calls_.end()) return;  // it expired here: the cancel is on its way
  const CallPtr call = found->second;
  if (call->kind != Call::Kind::stream || call->session != s || p.seq != call->parts_seen + 1) {
    s->fail("the gateway broke the protocol: a part out of order");
    return;
  }
  if (++call->parts_seen == 1) expire_at(call, Clock::time_point::max());  // it lives by progress
  if (call->unread) {
    if (call->options.tx != 0) read_on(call);
    return;
  }
  const std::size_t at = offset_of(frame, p.body);
  const std::lock_guard lock(call->mutex);
  call->pieces.push_back({std::move(frame), at});
  call->changed.notify_all();
}

void Engine::on_reply(Session* s, const proto::Reply& r, std::vector<std::uint8_t>& frame) {
  const auto meta = proto::decode_meta(r.meta);
  if (!meta.has_value()) {
    s->fail("the gateway broke the protocol: " + std::string(meta.error().reason()));
    return;
  }
  if (r.id == s->hello_id() && s->state == Session::State::connecting) {
    s->refused = r.code;
    s->fail("the gateway refused: " + std::string(meta->message));
    return;
  }
  const auto found = calls_.find(r.id);
  if (found == calls_.end() || found->second->session != s) return;  // late: the caller was told
  const CallPtr call = found->second;
  Reply reply(r.code, meta_of(*meta));
  if (move_on(call, reply)) return;
  const std::size_t at = offset_of(frame, r.body);
  reply.adopt(std::move(frame), at);
  complete(call, std::move(reply));
}

// A draining daemon did not take the call up: another address may.
bool Engine::move_on(const CallPtr& call, const Reply& reply) {
  if (reply.code != Code::draining || reply.meta.outcome != Outcome::not_sent) return false;
  Session* s = call->session;
  retire(s);
  if (call->options.tx != 0 || call->parts_seen != 0 || ++call->moved >= addresses_.size())
    return false;
  {
    const std::lock_guard lock(call->mutex);
    if (call->upload_sent != 0) return false;
  }
  --s->calls;
  call->session = nullptr;
  call->handed = false;
  txs_.erase(call->id);
  if (call->kind == Call::Kind::upload)
    expire_at(call, Clock::now() + std::chrono::milliseconds(call->timeout_ms));
  waiting_.push_back(call);
  return true;
}

void Engine::on_credit(const proto::Credit& c) {
  const auto found = calls_.find(c.id);
  if (found == calls_.end() || found->second->kind != Call::Kind::upload) return;
  const CallPtr call = found->second;
  const std::lock_guard lock(call->mutex);
  call->upload_credit = std::max(call->upload_credit, c.seq);
  call->changed.notify_all();
}

}  // namespace headgate::detail
