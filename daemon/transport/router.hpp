// Router is Frontend as libzmq makes it: see frontend.hpp for what it promises.
//
// How a peer ends: cut() or a monitor's DISCONNECTED makes it a suspect; suspects are probed with a
// ping until a send answers EHOSTUNREACH, which is libzmq's word that the connection is gone; then
// the receiver is told, at the end of the turn.
#pragma once
#include <zmq.h>

#include <utility>

#include "daemon/transport/frontend.hpp"
#include "daemon/transport/listen.hpp"
#include "daemon/transport/monitor.hpp"
#include "daemon/transport/peers.hpp"
#include "daemon/transport/zap.hpp"

namespace headgate {

class Router final : public Frontend, private MonitorEvents {
 public:
  Router(Loop& loop, Log& log, const Admission& admission, Receiver& receiver,
         FrontendSettings settings);
  ~Router() override;
  tl::expected<void, std::string> open();

  void take_in() override;
  [[nodiscard]] bool restless() const override { return ready_ || touched_; }
  Sent send(PeerId peer, proto::Bytes head, proto::Bytes body) override;
  Sent send(PeerId peer, proto::Bytes head, ReplyBuffer body) override;
  void cut(PeerId peer, std::string_view reason) override;
  void stop_listening() override;
  void revoke() override;
  void set_parked_max(std::uint64_t bytes) override { settings_.parked_max = bytes; }
  [[nodiscard]] FrontendCounts counts() const override;
  [[nodiscard]] std::string server_public_key() const override { return public_key_; }
  [[nodiscard]] std::string tcp_address() const override { return tcp_address_; }

 private:
  tl::expected<void, std::string> limit_connections();
  tl::expected<void, std::string> make_socket();
  tl::expected<void, std::string> listen_ipc();
  tl::expected<void, std::string> listen_tcp();
  [[nodiscard]] tl::unexpected<std::string> failed(std::string_view what) const;
  void option(int name, int value);

  // receive.cpp
  bool receive_one();
  Peer* sender(zmq_msg_t* id, zmq_msg_t* payload);
  Peer* new_peer(std::uint32_t routing, int fd, const char* user);
  void drop_rest();

  // send.cpp
  Sent send_message(Peer& p, zmq_msg_t* m);
  enum class Put : std::uint8_t { done, full, gone };
  Put put(Peer& p, zmq_msg_t* m);
  Sent park(Peer& p, zmq_msg_t* m);
  bool flush_parked();
  [[nodiscard]] bool has_room(const Peer& p, std::uint64_t size) const;

  // ending.cpp
  void cut_peer(Peer& p, std::string_view reason);
  void cut_connection(int fd);
  void suspect(Peer& p);
  void probe_suspects();
  void lost(Peer& p);
  void tell_gone();
  void on_connected(int fd) override;
  void on_disconnected(int fd) override;
  void on_handshake_failed(std::uint64_t reason) override;

  struct RouterWatch : Watcher {
    Router* r = nullptr;
    void ready(std::uint32_t) override { r->ready_ = true; }
  };
  struct DrainedTask : Task {
    Router* r = nullptr;
    void run() override { r->touched_ = true; }
  };
  struct GoneTask : Task {
    Router* r = nullptr;
    void run() override { r->tell_gone(); }
  };
  struct ProbeTimer : Timer {
    Router* r = nullptr;
    void fire() override { r->probe_suspects(); }
  };
  // What a monitor says of one descriptor.
  struct Connection {
    bool open = false;
    bool refused = false;  // over clients_max
    PeerId peer = 0;       // once it has sent something
  };

  Loop& loop_;
  Log& log_;
  const Admission& admission_;
  Receiver& receiver_;
  FrontendSettings settings_;
  void* context_ = nullptr;
  void* socket_ = nullptr;
  Zap zap_;
  Monitor monitor_;
  IpcListener ipc_;
  std::string ipc_address_, tcp_address_, public_key_;
  Peers peers_;
  List<Peer, SuspectTag> suspects_;
  List<Peer, ParkedTag> parked_;
  std::vector<PeerId> gone_;
  std::vector<Connection> connections_;  // by descriptor
  std::uint32_t connected_ = 0;
  bool ready_ = true;     // the descriptor said so, or the bound of a drain was met
  bool touched_ = false;  // something was sent since the last receive that found nothing
  RouterWatch watch_;
  DrainedTask drained_;
  GoneTask gone_task_;
  ProbeTimer probe_;
  FrontendCounts counts_;
  zmq_msg_t id_frame_;
};

}  // namespace headgate
