#include "daemon/transport/self_check.hpp"

#include <zmq.h>

#include <cstdint>
#include <cstring>

#include "daemon/transport/zap.hpp"

namespace headgate {
namespace {

constexpr int kPatienceMs = 5'000;

struct Socket {
  void* s;
  Socket(void* context, int type) : s(zmq_socket(context, type)) {
    const int none = 0;
    zmq_setsockopt(s, ZMQ_LINGER, &none, sizeof none);
  }
  ~Socket() { zmq_close(s); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
};

std::uint16_t read_event(void* monitor) {
  unsigned char head[6] = {};
  char address[256];
  if (zmq_recv(monitor, head, sizeof head, ZMQ_DONTWAIT) < 0) return 0;
  zmq_recv(monitor, address, sizeof address, ZMQ_DONTWAIT);
  std::uint16_t event = 0;
  std::memcpy(&event, head, sizeof event);
  return event;
}

}  // namespace

tl::expected<void, std::string> check_stranger_is_refused(void* context, Zap& zap,
                                                          const std::string& endpoint,
                                                          const std::string& server_key) {
  // A name of its own: libzmq gives one back some time after it was closed.
  static int checks = 0;
  const std::string watched = "inproc://headgate.self-check." + std::to_string(++checks);
  Socket stranger(context, ZMQ_DEALER);
  const int ipv6 = endpoint.find('[') == std::string::npos ? 0 : 1;
  zmq_setsockopt(stranger.s, ZMQ_IPV6, &ipv6, sizeof ipv6);
  const int never = -1;
  zmq_setsockopt(stranger.s, ZMQ_RECONNECT_IVL, &never, sizeof never);
  if (!server_key.empty()) {
    char own[41];
    char secret[41];
    if (zmq_curve_keypair(own, secret) != 0) {
      return tl::make_unexpected(std::string("libzmq was built without CURVE"));
    }
    zmq_setsockopt(stranger.s, ZMQ_CURVE_SERVERKEY, server_key.c_str(), server_key.size());
    zmq_setsockopt(stranger.s, ZMQ_CURVE_PUBLICKEY, own, 40);
    zmq_setsockopt(stranger.s, ZMQ_CURVE_SECRETKEY, secret, 40);
  }
  zmq_socket_monitor(stranger.s, watched.c_str(),
                     ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |
                         ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_CONNECT_DELAYED |
                         ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL);
  Socket monitor(context, ZMQ_PAIR);
  zmq_connect(monitor.s, watched.c_str());
  zmq_connect(stranger.s, endpoint.c_str());
  for (int waited = 0; waited < kPatienceMs;) {
    zmq_pollitem_t items[] = {{zap.socket(), 0, ZMQ_POLLIN, 0}, {monitor.s, 0, ZMQ_POLLIN, 0}};
    if (zmq_poll(items, 2, 100) == 0) waited += 100;
    zap.ready(0);
    while (const std::uint16_t event = read_event(monitor.s)) {
      if (event == ZMQ_EVENT_CONNECT_DELAYED) continue;
      zmq_socket_monitor(stranger.s, nullptr, 0);
      if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) return {};
      if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
        return tl::make_unexpected("an unknown caller was let in at " + endpoint +
                                   ": refusing to serve");
      }
      return tl::make_unexpected("the self-check at " + endpoint + " failed (event " +
                                 std::to_string(event) + ")");
    }
  }
  return tl::make_unexpected("the self-check at " + endpoint + " got no answer");
}

}  // namespace headgate
