// How peers end: cut by us, or gone by themselves; and connections beyond the limit.
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>

#include "daemon/transport/router.hpp"
#include "proto/envelope.hpp"

namespace headgate {
namespace {

constexpr std::uint8_t kProbes = 14;  // pauses 1, 2, 4 .. 1000 ms: about six seconds
constexpr Micros kProbeMax = std::chrono::seconds(1);

// A descriptor that libzmq accepted from one of our doors, and not some other file of ours.
bool is_client_socket(int fd) {
  const DescriptorKey k = read_descriptor(fd);
  if (!k.known) return false;
  int accepting = 0;
  socklen_t size = sizeof accepting;
  return ::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &size) == 0 && accepting == 0;
}

}  // namespace

void Router::cut(PeerId peer, std::string_view reason) {
  if (Peer* p = peers_.by_id(peer); p != nullptr) cut_peer(*p, reason);
}

void Router::cut_peer(Peer& p, std::string_view reason) {
  if (p.state != Peer::State::open) return;
  p.state = Peer::State::cut;
  ++counts_.cuts;
  log_.warn("peer_cut", {{"user", p.user}, {"pid", p.key.pid}, {"reason", reason}});
  if (p.parked != nullptr) {
    counts_.parked_bytes -= p.parked->bytes;
    static_cast<Hook<ParkedTag>&>(p).unlink();
    p.parked.reset();
  }
  if (read_descriptor(p.fd).same_as(p.key)) ::shutdown(p.fd, SHUT_RDWR);
  suspect(p);
}

void Router::cut_connection(int fd) {
  if (is_client_socket(fd)) ::shutdown(fd, SHUT_RDWR);
}

void Router::suspect(Peer& p) {
  if (static_cast<Hook<SuspectTag>&>(p).linked()) return;
  p.probes = 0;
  p.probe_at = loop_.now();
  suspects_.push_back(p);
  loop_.arm(probe_, loop_.now() + std::chrono::milliseconds(1));
}

// Asks libzmq whether it still has a connection for each suspect, by sending it a ping.
void Router::probe_suspects() {
  TimePoint next = kNever;
  suspects_.each([&](Peer& p) {
    if (p.probe_at > loop_.now()) {
      next = std::min(next, p.probe_at);
      return;
    }
    std::uint8_t bytes[16];
    proto::Out out{bytes, bytes + sizeof bytes, nullptr};
    proto::Writer w(&out);
    proto::encode(w, proto::Ping{});
    zmq_msg_t m;
    zmq_msg_init_size(&m, static_cast<std::size_t>(out.pos - bytes));
    std::copy(bytes, out.pos, static_cast<std::uint8_t*>(zmq_msg_data(&m)));
    const Put done = put(p, &m);
    if (done != Put::done) zmq_msg_close(&m);
    if (done == Put::gone) {
      lost(p);
      return;
    }
    if (++p.probes >= kProbes && p.state == Peer::State::open) {  // the hint was another's
      static_cast<Hook<SuspectTag>&>(p).unlink();
      return;
    }
    const Micros pause = std::chrono::milliseconds(1u << std::min<std::uint8_t>(p.probes, 10));
    p.probe_at = loop_.now() + std::min(pause, kProbeMax);
    next = std::min(next, p.probe_at);
  });
  if (next != kNever) loop_.arm(probe_, next);
}

// libzmq has no connection for this peer any more.
void Router::lost(Peer& p) {
  if (p.state == Peer::State::gone) return;
  p.state = Peer::State::gone;
  if (p.parked != nullptr) counts_.parked_bytes -= p.parked->bytes;
  static_cast<Hook<SuspectTag>&>(p).unlink();
  static_cast<Hook<ParkedTag>&>(p).unlink();
  peers_.forget_routing(p);
  gone_.push_back(p.id());
  loop_.defer(gone_task_);
}

void Router::tell_gone() {
  for (std::size_t i = 0; i < gone_.size(); ++i) {  // the receiver may lose others meanwhile
    Peer* p = peers_.by_id(gone_[i]);
    if (p == nullptr) continue;
    if (p->told) receiver_.on_gone(p->id());
    peers_.free(*p);
  }
  gone_.clear();
}

void Router::revoke() {
  peers_.each([this](Peer& p) {
    if (p.state == Peer::State::open && !admission_.knows(p.user)) {
      cut_peer(p, "its key or user has no service any more");
    }
  });
}

void Router::on_connected(int fd) {
  if (fd < 0 || static_cast<std::size_t>(fd) >= connections_.size()) return;
  Connection& c = connections_[static_cast<std::size_t>(fd)];
  if (!c.open) ++connected_;
  const bool over = connected_ > settings_.clients_max;
  c = {true, over, 0};
  if (!over) return;
  ++counts_.refused_connections;
  if (counts_.refused_connections % 1000 == 1) {
    log_.warn("connection_refused",
              {{"reason", "clients_max"}, {"clients_max", settings_.clients_max}});
  }
  cut_connection(fd);
}

void Router::on_disconnected(int fd) {
  if (fd < 0 || static_cast<std::size_t>(fd) >= connections_.size()) return;
  Connection& c = connections_[static_cast<std::size_t>(fd)];
  if (c.open) --connected_;
  if (Peer* p = peers_.by_id(c.peer); p != nullptr && p->fd == fd) suspect(*p);
  c = {};
}

void Router::on_handshake_failed(std::uint64_t reason) {
  log_.debug("handshake_failed", {{"event", reason}});
}

}  // namespace headgate
