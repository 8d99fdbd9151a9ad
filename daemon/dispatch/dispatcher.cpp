// Frames of every type, to the function that serves it.
#include "daemon/dispatch/dispatcher.hpp"

#include <algorithm>
#include <variant>

#include "daemon/pool/attempts.hpp"

namespace headgate {

Dispatcher::Dispatcher(Loop& loop, Log& log, DispatchSettings settings)
    : loop_(loop), log_(log), settings_(settings), inflight_(settings.calls_max) {
  liveness_.d = this;
  loop_.arm(liveness_, loop_.now() + std::chrono::seconds(1));
}

Dispatcher::~Dispatcher() {
  loop_.disarm(liveness_);
  inflight_.each([this](InflightCall& c) { inflight_.remove(c); });  // of a stop that did not wait
}

void Dispatcher::set_stores(std::vector<StoreEntry*> stores) {
  stores_ = std::move(stores);
  std::vector<std::string> names;
  names.reserve(stores_.size());
  for (const StoreEntry* s : stores_) names.push_back(s->name);
  store_names_ = access::NameTable(std::move(names));
}

void Dispatcher::set_policy(std::shared_ptr<const access::Policy> policy) {
  policy_ = std::move(policy);
  for (auto& p : peers_) {
    if (p == nullptr || p->id == 0) continue;
    // A peer whose key or user has moved to another service speaks for that one from now on; one
    // that nobody knows any more is cut by the transport.
    if (const auto s = policy_->service_of(p->user)) p->service = *s;
    p->own = policy_->is_own(p->user);
  }
}

void Dispatcher::apply(DispatchSettings settings) {
  settings_ = settings;
  inflight_.set_calls_max(settings.calls_max);
}

Dispatcher::PeerState* Dispatcher::state(PeerId peer) {
  const std::uint32_t slot = slot_of(peer);
  if (slot >= peers_.size() || peers_[slot] == nullptr) return nullptr;
  return peers_[slot]->id == peer ? peers_[slot].get() : nullptr;
}

Dispatcher::ServiceCounts& Dispatcher::service(std::uint32_t index) {
  if (index >= services_.size()) services_.resize(index + 1);
  return services_[index];
}

bool Dispatcher::on_peer(PeerId peer, const PeerInfo& info) {
  const auto who = policy_->service_of(info.user);
  if (!who) return false;
  const std::uint32_t slot = slot_of(peer);
  if (slot >= peers_.size()) peers_.resize(slot + 1);
  if (peers_[slot] == nullptr) peers_[slot] = std::make_unique<PeerState>();
  PeerState& p = *peers_[slot];
  p.id = peer;
  p.greeted = p.pongs = false;
  p.unanswered = 0;
  p.service = *who;
  p.own = policy_->is_own(info.user);
  p.user = info.user;
  p.where = info.where;
  p.client.clear();
  p.pid = info.pid;
  p.requests = 0;
  p.since = p.window = loop_.now();
  p.offset = p.offset_before = INT64_MAX;
  return true;
}

void Dispatcher::on_frame(PeerId peer, Frame frame) {
  PeerState* p = state(peer);
  if (p == nullptr) return;
  RequestBytes* bytes = bytes_.take(std::move(frame));
  const auto message = proto::decode(bytes->frame.bytes(), proto::From::client, settings_.limits);
  if (!message) {
    refuse_frame(*p, message.error());
    release(bytes);
    return;
  }
  if (const auto* request = std::get_if<proto::Request>(&*message)) {
    on_request(*p, *request, bytes);
  } else if (const auto* credit = std::get_if<proto::Credit>(&*message)) {
    on_credit(*p, *credit);
  } else if (const auto* data = std::get_if<proto::Data>(&*message)) {
    on_data(*p, *data);
  } else if (const auto* cancel = std::get_if<proto::Cancel>(&*message)) {
    on_cancel(*p, *cancel);
  } else if (const auto* hello = std::get_if<proto::Hello>(&*message)) {
    on_hello(*p, *hello);
  } else if (const auto* ping = std::get_if<proto::Ping>(&*message)) {
    std::uint8_t out_bytes[16];
    proto::Out out{out_bytes, out_bytes + sizeof out_bytes, nullptr};
    proto::Writer w(&out);
    proto::encode(w, proto::Pong{ping->id});
    frames_->send(peer, {out_bytes, static_cast<std::size_t>(out.pos - out_bytes)}, proto::Bytes{});
  } else {
    p->unanswered = 0;  // a pong: decode lets nothing else of a client's through
  }
  release(bytes);
}

void Dispatcher::refuse_frame(PeerState& p, const proto::Refusal& r) {
  ++counts_.refused_frames;
  if (r.cut || !r.has_id) {
    frames_->cut(p.id, r.reason());
    return;
  }
  InflightCall* c = inflight_.find(p.id, r.id);
  if (r.type == static_cast<std::uint64_t>(proto::FrameType::data)) {
    if (c != nullptr) give_up(*c, r.code, r.reason());
    return;
  }
  if (c != nullptr) {
    frames_->cut(p.id, "used the id of a call in flight again");
    return;
  }
  reply(p.id, r.id, {r.code, r.reason()});
}

void Dispatcher::on_data(PeerState& p, const proto::Data& f) {
  InflightCall* c = inflight_.find(p.id, f.id);
  if (c == nullptr) return;  // it may have crossed the reply
  if (!c->upload) {
    give_up(*c, Code::invalid, "data: this verb takes no upload");
  } else if (c->upload_ended || f.seq != c->upload_next) {
    give_up(*c, Code::invalid, "data: pieces are numbered from 1 without gaps, and end with last");
  } else if (f.seq > c->upload_credit) {
    give_up(*c, Code::invalid, "data: no credit for this piece");
  } else {
    ++c->upload_next;
    c->upload_ended = f.last;
    // The last piece may be nil: an end and no rows, which no plugin needs to know.
    const bool nothing = f.last && f.body.size() == 1 && f.body[0] == 0xc0;
    c->at->attempts->upload(*c, {f.body.begin(), nothing ? f.body.begin() : f.body.end()}, f.last);
  }
}

void Dispatcher::on_credit(PeerState& p, const proto::Credit& f) {
  InflightCall* c = inflight_.find(p.id, f.id);
  if (c == nullptr || c->fetch == 0 || c->at->attempts == nullptr) return;
  c->at->attempts->credit(*c, f.seq);
}

void Dispatcher::on_cancel(PeerState& p, const proto::Cancel& f) {
  if (InflightCall* c = inflight_.find(p.id, f.id); c != nullptr) {
    give_up(*c, Code::cancelled, "cancelled by the caller");
  }
}

void Dispatcher::give_up(InflightCall& c, Code why, std::string_view message) {
  c.at->attempts->give_up(c, why, message);
}

bool Dispatcher::kill(std::uint64_t call_id) {
  InflightCall* c = inflight_.by_id(call_id);
  if (c == nullptr || c->at->attempts == nullptr) return false;
  give_up(*c, Code::cancelled, "killed by the operator");
  return true;
}

void Dispatcher::give_up_for_drain(std::uint64_t call_id) {
  InflightCall* c = inflight_.by_id(call_id);
  if (c == nullptr || c->at->attempts == nullptr) return;
  give_up(*c, Code::draining, "this gateway had no time left to finish the call");
}

void Dispatcher::on_gone(PeerId peer) {
  PeerState* p = state(peer);
  if (p == nullptr) return;
  p->id = 0;  // what is answered from here on is dropped
  while (Call* c = p->calls.front()) {
    auto& call = static_cast<InflightCall&>(*c);
    static_cast<Hook<PeerTag>&>(call).unlink();
    if (call.at->attempts != nullptr) give_up(call, Code::cancelled, "the caller is gone");
  }
  for (StoreEntry* s : stores_) {
    if (s->attempts != nullptr) s->attempts->peer_gone(peer);
  }
}

}  // namespace headgate
