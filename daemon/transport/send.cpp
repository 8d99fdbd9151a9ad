// Frames out: now, or parked until the peer can take more.
#include <cstring>

#include "daemon/transport/router.hpp"

namespace headgate {
namespace {

// Below this a reply is copied: libzmq copies it into its own batch anyway.
constexpr std::uint64_t kCopyMax = 4096;
// Bytes of large messages that libzmq may hold for one peer before we park.
constexpr std::int64_t kUnsentMax = 16 << 20;

}  // namespace

Sent Router::send(PeerId peer, proto::Bytes head, proto::Bytes body) {
  Peer* p = peers_.by_id(peer);
  if (p == nullptr || p->state != Peer::State::open) return Sent::gone;
  zmq_msg_t m;
  if (zmq_msg_init_size(&m, head.size() + body.size()) != 0) return Sent::gone;
  auto* out = static_cast<std::uint8_t*>(zmq_msg_data(&m));
  if (!head.empty()) std::memcpy(out, head.data(), head.size());
  if (!body.empty()) std::memcpy(out + head.size(), body.data(), body.size());
  return send_message(*p, &m);
}

Sent Router::send(PeerId peer, proto::Bytes head, ReplyBuffer body) {
  const std::uint64_t total = head.size() + body.size();
  if (total <= kCopyMax || head.size() + sizeof(Outbox::Hint) > ReplyBuffer::kHeadroom) {
    return send(peer, head, body.view());
  }
  Peer* p = peers_.by_id(peer);
  if (p == nullptr || p->state != Peer::State::open) return Sent::gone;
  if (p->outbox == nullptr) p->outbox = new Outbox(loop_, drained_);
  std::memcpy(body.body() - head.size(), head.data(), head.size());
  const bool room = has_room(*p, total);
  zmq_msg_t m;
  Outbox::wrap(p->outbox, std::move(body), head.size(), &m);
  return room ? send_message(*p, &m) : park(*p, &m);
}

// May libzmq be given one more large message for this peer?
bool Router::has_room(const Peer& p, std::uint64_t size) const {
  if (p.outbox == nullptr) return true;
  const auto held =
      p.outbox->bytes() - (p.parked == nullptr ? 0 : static_cast<std::int64_t>(p.parked->bytes));
  return held <= 0 || held + static_cast<std::int64_t>(size) <= kUnsentMax;
}

Sent Router::send_message(Peer& p, zmq_msg_t* m) {
  if (p.parked != nullptr) return park(p, m);
  switch (put(p, m)) {
    case Put::done:
      return Sent::sent;
    case Put::full:
      return park(p, m);
    case Put::gone:
      break;
  }
  zmq_msg_close(m);
  lost(p);
  return Sent::gone;
}

Router::Put Router::put(Peer& p, zmq_msg_t* m) {
  unsigned char id[5] = {0};
  std::memcpy(id + 1, &p.routing, 4);
  if (zmq_send(socket_, id, sizeof id, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
    const bool full = zmq_errno() == EAGAIN;
    touched_ = true;
    return full ? Put::full : Put::gone;
  }
  touched_ = true;
  if (zmq_msg_send(m, socket_, ZMQ_DONTWAIT) < 0) return Put::gone;
  ++counts_.frames_out;
  return Put::done;
}

Sent Router::park(Peer& p, zmq_msg_t* m) {
  const std::uint64_t size = zmq_msg_size(m);
  if (p.parked == nullptr) {
    p.parked = std::make_unique<Peer::Parked>();
    parked_.push_back(p);
  }
  // One frame may be larger than the limit; a second one then is too much.
  if (p.parked->bytes > 0 && p.parked->bytes + size > settings_.parked_max) {
    zmq_msg_close(m);
    cut_peer(p, "does not read its replies (parked_max)");
    return Sent::gone;
  }
  p.parked->frames.emplace_back();
  zmq_msg_init(&p.parked->frames.back());
  zmq_msg_move(&p.parked->frames.back(), m);
  zmq_msg_close(m);
  p.parked->bytes += size;
  counts_.parked_bytes += size;
  ++counts_.parked;
  touched_ = true;  // flush_parked() looks whether there is room by now, and else is woken
  return Sent::parked;
}

// True when something left.
bool Router::flush_parked() {
  bool any = false;
  parked_.each([this, &any](Peer& p) {
    Peer::Parked& q = *p.parked;
    while (!q.frames.empty()) {
      zmq_msg_t* m = &q.frames.front();
      const std::uint64_t size = zmq_msg_size(m);
      if (size > kCopyMax && !has_room(p, size)) {
        // Asked again after the wish was left: what drained before it tells nobody.
        p.outbox->tell_when_drained();
        if (!has_room(p, size)) return;
      }
      const Put done = put(p, m);
      if (done == Put::full) return;  // the peer's own wake-up will come
      if (done == Put::gone) {
        lost(p);
        return;
      }
      any = true;
      q.frames.pop_front();
      q.bytes -= size;
      counts_.parked_bytes -= size;
    }
    static_cast<Hook<ParkedTag>&>(p).unlink();
    p.parked.reset();
  });
  return any;
}

}  // namespace headgate
