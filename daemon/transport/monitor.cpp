#include "daemon/transport/monitor.hpp"

#include <zmq.h>

#include <cstring>

namespace headgate {
namespace {
constexpr const char* kEndpoint = "inproc://headgate.monitor";
}

tl::expected<void, std::string> Monitor::open(void* context, void* socket) {
  socket_ = socket;
  const int wanted = ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED |
                     ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL |
                     ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
  if (zmq_socket_monitor(socket, kEndpoint, wanted) != 0) {
    return tl::make_unexpected(std::string("socket monitor: ") + zmq_strerror(zmq_errno()));
  }
  pair_ = zmq_socket(context, ZMQ_PAIR);
  const int none = 0;  // no bound: libzmq's I/O thread would block on a full one
  zmq_setsockopt(pair_, ZMQ_RCVHWM, &none, sizeof none);
  zmq_setsockopt(pair_, ZMQ_LINGER, &none, sizeof none);
  if (zmq_connect(pair_, kEndpoint) != 0) {
    return tl::make_unexpected(std::string("socket monitor: ") + zmq_strerror(zmq_errno()));
  }
  int fd = -1;
  std::size_t size = sizeof fd;
  zmq_getsockopt(pair_, ZMQ_FD, &fd, &size);
  loop_.watch(*this, fd, Loop::kReadable);
  ready(Loop::kReadable);
  return {};
}

void Monitor::close() {
  if (pair_ == nullptr) return;
  loop_.watch(*this, -1, 0);
  zmq_socket_monitor(socket_, nullptr, 0);
  zmq_close(pair_);
  pair_ = nullptr;
}

void Monitor::ready(std::uint32_t) {
  while (pair_ != nullptr && one()) {
  }
}

// A frame of 16 bits event and 32 bits value, then one with the endpoint.
bool Monitor::one() {
  unsigned char head[6];
  const int n = zmq_recv(pair_, head, sizeof head, ZMQ_DONTWAIT);
  if (n < 0) return false;
  char address[256];
  zmq_recv(pair_, address, sizeof address, ZMQ_DONTWAIT);
  if (n != sizeof head) return true;
  std::uint16_t event = 0;
  std::uint32_t value = 0;
  std::memcpy(&event, head, sizeof event);
  std::memcpy(&value, head + 2, sizeof value);
  switch (event) {
    case ZMQ_EVENT_ACCEPTED:
      events_.on_connected(static_cast<int>(value));
      break;
    case ZMQ_EVENT_DISCONNECTED:
      events_.on_disconnected(static_cast<int>(value));
      break;
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
      events_.on_handshake_failed(event);
      break;
    default:
      break;
  }
  return true;
}

}  // namespace headgate
