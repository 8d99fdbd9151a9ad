#include "session.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace headgate::detail {
namespace {

constexpr int kHandshakeMs = 3'000;

bool set(void* socket, int option, int value) {
  return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

bool set(void* socket, int option, const std::string& value) {
  return zmq_setsockopt(socket, option, value.c_str(), value.size() + 1) == 0;
}

// What keeps this user from the socket of an "ipc://" endpoint: that it is not allowed to, and who
// is. Empty: something else.
std::string not_allowed(const std::string& endpoint) {
  if (!endpoint.starts_with("ipc://")) return {};
  std::string path = endpoint.substr(6);
  if (::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) == 0 || errno != EACCES) return {};
  std::string out = "permission denied: " + path;
  struct stat s {};
  while (::stat(path.c_str(), &s) != 0) {  // what hides it
    const std::size_t slash = path.rfind('/');
    if (slash == 0 || slash == std::string::npos) return out;
    path.resize(slash);
  }
  std::vector<char> memory(16u << 10);
  group entry{};
  group* found = nullptr;
  ::getgrgid_r(s.st_gid, &entry, memory.data(), memory.size(), &found);
  const mode_t needed = S_ISDIR(s.st_mode) ? S_IXGRP : S_IWGRP;
  if (found == nullptr || (s.st_mode & needed) == 0) return out;  // the group would not help
  return out + "; " + path + " is for the group " + found->gr_name + ": join it (usermod -aG " +
         found->gr_name + " USER)";
}

std::string why(std::uint16_t event, std::uint32_t value, const std::string& endpoint) {
  switch (event) {
    case ZMQ_EVENT_DISCONNECTED:
      return "the connection was lost";
    case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
      return std::string("the handshake failed: ") + zmq_strerror(static_cast<int>(value));
    case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
      return "the handshake failed: no gateway speaks there";
    case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH:
      return "the gateway does not know this key or Unix user (ZAP status " +
             std::to_string(value) + ")";
    default: {
      const std::string denied = not_allowed(endpoint);
      return denied.empty() ? "nobody listens there" : denied;
    }
  }
}

}  // namespace

Session::Session(void* context, const Address& address, std::size_t address_index,
                 std::uint64_t hello_id, std::string_view name, std::uint64_t serial)
    : address_(address), address_index_(address_index), hello_id_(hello_id) {
  socket_ = zmq_socket(context, ZMQ_DEALER);
  if (socket_ == nullptr) {
    failure_ = zmq_strerror(errno);
    return;
  }
  setup(context, name, serial);
}

void Session::setup(void* context, std::string_view name, std::uint64_t serial) {
  bool ok = set(socket_, ZMQ_RECONNECT_IVL, -1) && set(socket_, ZMQ_LINGER, 0) &&
            set(socket_, ZMQ_SNDHWM, 0) && set(socket_, ZMQ_RCVHWM, 0) &&
            set(socket_, ZMQ_HANDSHAKE_IVL, kHandshakeMs) &&
            set(socket_, ZMQ_CONNECT_TIMEOUT, kHandshakeMs) && set(socket_, ZMQ_IPV6, 1);
  if (ok && !address_.server_key.empty())
    ok = set(socket_, ZMQ_CURVE_SERVERKEY, address_.server_key) &&
         set(socket_, ZMQ_CURVE_PUBLICKEY, address_.public_key) &&
         set(socket_, ZMQ_CURVE_SECRETKEY, address_.secret_key);
  const std::string inproc = "inproc://headgate-monitor-" + std::to_string(serial);
  ok = ok && zmq_socket_monitor(
                 socket_, inproc.c_str(),
                 ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) == 0;
  if (ok) {
    monitor_ = zmq_socket(context, ZMQ_PAIR);
    ok = monitor_ != nullptr && set(monitor_, ZMQ_LINGER, 0) &&
         zmq_connect(monitor_, inproc.c_str()) == 0;
  }
  ok = ok && zmq_connect(socket_, address_.endpoint.c_str()) == 0;
  if (!ok) {
    fail(zmq_strerror(errno));
    return;
  }
  proto::VectorOut out;
  proto::Writer w(&out);
  encode(w,
         proto::Hello{hello_id_, name, HEADGATE_VERSION, proto::kVersion, proto::kVersion, true});
  send(out.view());
}

Session::~Session() {
  if (socket_ != nullptr) zmq_socket_monitor(socket_, nullptr, 0);
  if (monitor_ != nullptr) zmq_close(monitor_);
  if (socket_ != nullptr) zmq_close(socket_);
}

bool Session::send(proto::Bytes frame) {
  if (!failure_.empty()) return false;
  int rc;
  do {
    rc = zmq_send(socket_, frame.data(), frame.size(), ZMQ_DONTWAIT);
  } while (rc < 0 && errno == EINTR);
  if (rc >= 0) return true;
  fail(std::string("the socket takes nothing: ") + zmq_strerror(errno));
  return false;
}

bool Session::receive(std::vector<std::uint8_t>* frame) {
  zmq_msg_t m;
  zmq_msg_init(&m);
  const int n = zmq_msg_recv(&m, socket_, ZMQ_DONTWAIT);
  if (n < 0) {
    zmq_msg_close(&m);
    return false;
  }
  const auto* p = static_cast<const std::uint8_t*>(zmq_msg_data(&m));
  frame->assign(p, p + zmq_msg_size(&m));
  if (zmq_msg_more(&m) != 0) fail("the gateway sent a message of several frames");
  zmq_msg_close(&m);
  return true;
}

void Session::watch() {
  for (;;) {
    zmq_msg_t m;
    zmq_msg_init(&m);
    if (zmq_msg_recv(&m, monitor_, ZMQ_DONTWAIT) < 0) {
      zmq_msg_close(&m);
      return;
    }
    if (zmq_msg_size(&m) == 6) {
      const auto* p = static_cast<const std::uint8_t*>(zmq_msg_data(&m));
      std::uint16_t event;
      std::uint32_t value;
      std::memcpy(&event, p, sizeof event);
      std::memcpy(&value, p + 2, sizeof value);
      if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) refused = Code::unauthenticated;
      fail(why(event, value, address_.endpoint));
    }
    zmq_msg_close(&m);  // the second frame names the endpoint: nothing to learn from it
  }
}

}  // namespace headgate::detail
