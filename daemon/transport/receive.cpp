// Frames in: who sent it, is it one frame, then to the receiver.
#include <cstring>

#include "daemon/transport/router.hpp"

namespace headgate {
namespace {

constexpr int kDrain = 256;  // frames in one go, then others have their turn

const Frame::Ops kMessageOps = {
    [](void* from, void* to) {
      auto* target = static_cast<zmq_msg_t*>(to);
      zmq_msg_init(target);
      zmq_msg_move(target, static_cast<zmq_msg_t*>(from));
      zmq_msg_close(static_cast<zmq_msg_t*>(from));
    },
    [](void* storage) { zmq_msg_close(static_cast<zmq_msg_t*>(storage)); }};

static_assert(sizeof(zmq_msg_t) <= Frame::kStorage);

}  // namespace

// Ends only after a receive that found nothing with no send after it: a send, even one that fails,
// may have eaten the wake-up of a frame that came in the meantime.
void Router::take_in() {
  if (!ready_ && !touched_) return;
  int left = kDrain;
  while (left > 0) {
    ready_ = touched_ = false;
    loop_.refresh();
    while (left > 0 && receive_one()) --left;
    if (touched_ || left == 0) continue;
    if (parked_.empty()) return;
    if (flush_parked()) continue;
    touched_ = false;
    if (!receive_one()) return;
    --left;
  }
  ready_ = true;
}

bool Router::receive_one() {
  if (zmq_msg_recv(&id_frame_, socket_, ZMQ_DONTWAIT) < 0) return false;
  if (zmq_msg_more(&id_frame_) == 0) return true;
  Frame frame;
  auto* payload = static_cast<zmq_msg_t*>(frame.storage());
  zmq_msg_init(payload);
  if (zmq_msg_recv(payload, socket_, ZMQ_DONTWAIT) < 0) {
    zmq_msg_close(payload);
    return true;
  }
  const bool more = zmq_msg_more(payload) != 0;
  if (more) drop_rest();
  frame.adopt(&kMessageOps,
              {static_cast<const std::uint8_t*>(zmq_msg_data(payload)), zmq_msg_size(payload)});
  ++counts_.frames_in;
  Peer* p = sender(&id_frame_, payload);
  if (p == nullptr || p->state != Peer::State::open) return true;
  if (more) {
    cut_peer(*p, "sent a message of several frames");
    return true;
  }
  receiver_.on_frame(p->id(), std::move(frame));
  return true;
}

void Router::drop_rest() {
  zmq_msg_t m;
  zmq_msg_init(&m);
  int more = 1;
  while (more != 0 && zmq_msg_recv(&m, socket_, ZMQ_DONTWAIT) >= 0) more = zmq_msg_more(&m);
  zmq_msg_close(&m);
}

// The peer that a frame belongs to, or null. A routing id that comes back on another connection, or
// under another name, is another peer: a client may choose its id, but not its name.
Peer* Router::sender(zmq_msg_t* id, zmq_msg_t* payload) {
  const auto* bytes = static_cast<const unsigned char*>(zmq_msg_data(id));
  const int fd = zmq_msg_get(payload, ZMQ_SRCFD);
  const char* user = zmq_msg_gets(payload, "User-Id");
  if (zmq_msg_size(id) != 5 || bytes[0] != 0 || user == nullptr) {
    ++counts_.cuts;
    log_.warn("peer_cut", {{"reason", "chose its own routing id"}, {"fd", fd}});
    cut_connection(fd);
    return nullptr;
  }
  std::uint32_t routing = 0;
  std::memcpy(&routing, bytes + 1, sizeof routing);
  Peer* p = peers_.by_routing(routing);
  if (p != nullptr && p->fd == fd && p->user == user) return p;
  if (p != nullptr) {
    // A "plain:" peer carries the name that its descriptor gave it.
    if (p->fd == fd && std::strcmp(user, "plain:") == 0 && settings_.plain_tcp) return p;
    lost(*p);
  }
  return new_peer(routing, fd, user);
}

Peer* Router::new_peer(std::uint32_t routing, int fd, const char* user) {
  Peer* p = peers_.add(routing);
  if (p == nullptr) {
    log_.warn("peer_refused", {{"reason", "clients_max"}, {"user", std::string_view(user)}});
    cut_connection(fd);
    return nullptr;
  }
  p->fd = fd;
  p->user = user;
  monitor_.ready(0);  // a connection that is gone already has no descriptor to look at
  const bool open = fd >= 0 && static_cast<std::size_t>(fd) < connections_.size() &&
                    connections_[static_cast<std::size_t>(fd)].open;
  if (open) p->key = read_descriptor(fd);
  if (p->user == "plain:") {
    const auto uid = loopback_uid(fd);
    p->user = uid ? "uid:" + std::to_string(*uid) : "";
  }
  if (open) connections_[static_cast<std::size_t>(fd)].peer = p->id();
  const std::string where = p->key.text();
  if (p->user.empty() || !admission_.knows(p->user) ||
      !receiver_.on_peer(p->id(), {p->user, p->key.pid, where})) {
    cut_peer(*p, "no service has this key or user");
    return p;
  }
  p->told = true;
  if (!open) suspect(*p);
  return p;
}

}  // namespace headgate
