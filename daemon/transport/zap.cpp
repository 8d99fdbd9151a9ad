#include "daemon/transport/zap.hpp"

#include <unistd.h>
#include <zmq.h>

#include <array>
#include <charconv>

namespace headgate {
namespace {

constexpr const char* kEndpoint = "inproc://zeromq.zap.01";
constexpr std::uint32_t kOverflowUid = 65534;  // /proc/sys/kernel/overflowuid
constexpr std::uint32_t kRefusalsLogged = 10;  // a second

// "localhost:uid:gid:pid" -> uid
bool uid_of(std::string_view address, std::uint32_t* uid) {
  if (address.rfind("localhost:", 0) != 0) return false;
  address.remove_prefix(10);
  const auto end = address.find(':');
  if (end == std::string_view::npos) return false;
  const auto r = std::from_chars(address.data(), address.data() + end, *uid);
  return r.ec == std::errc() && r.ptr == address.data() + end;
}

}  // namespace

tl::expected<void, std::string> Zap::open(void* context) {
  socket_ = zmq_socket(context, ZMQ_REP);
  const int none = 0;
  zmq_setsockopt(socket_, ZMQ_LINGER, &none, sizeof none);
  zmq_setsockopt(socket_, ZMQ_RCVHWM, &none, sizeof none);
  zmq_setsockopt(socket_, ZMQ_SNDHWM, &none, sizeof none);
  if (zmq_bind(socket_, kEndpoint) != 0) {
    return tl::make_unexpected(std::string("ZAP handler: ") + zmq_strerror(zmq_errno()));
  }
  int fd = -1;
  std::size_t size = sizeof fd;
  zmq_getsockopt(socket_, ZMQ_FD, &fd, &size);
  loop_.watch(*this, fd, Loop::kReadable);
  ready(Loop::kReadable);
  return {};
}

void Zap::close() {
  if (socket_ == nullptr) return;
  loop_.watch(*this, -1, 0);
  zmq_close(socket_);
  socket_ = nullptr;
}

void Zap::ready(std::uint32_t) {
  while (socket_ != nullptr && one()) {
  }
}

std::string Zap::name_of(std::string_view mechanism, std::string_view address,
                         std::string_view credentials, std::string_view* why) const {
  if (mechanism == "CURVE") {
    std::array<char, 41> z85{};
    if (credentials.size() != 32) return *why = "not a key", std::string();
    zmq_z85_encode(z85.data(), reinterpret_cast<const std::uint8_t*>(credentials.data()), 32);
    return "curve:" + std::string(z85.data(), 40);
  }
  if (mechanism != "NULL") return *why = "mechanism not offered", std::string();
  std::uint32_t uid = 0;
  if (uid_of(address, &uid)) {
    if (uid == kOverflowUid) return *why = "a user that is not mapped", std::string();
    return "uid:" + std::to_string(uid);
  }
  if (plain_tcp_) return "plain:";
  return *why = "no key and no Unix user", std::string();
}

// Whether the caller may be this process: the kernel tells the pid on ipc, nobody does on TCP.
bool Zap::may_be_self(std::string_view address) {
  if (!address.starts_with("localhost:")) return true;
  return address.substr(address.rfind(':') + 1) == std::to_string(::getpid());
}

// version, request id, domain, address, routing id, mechanism, credentials...
bool Zap::one() {
  std::array<std::string, 7> parts;
  std::size_t n = 0;
  int more = 1;
  while (more != 0) {
    zmq_msg_t m;
    zmq_msg_init(&m);
    if (zmq_msg_recv(&m, socket_, ZMQ_DONTWAIT) < 0) {
      zmq_msg_close(&m);
      return false;
    }
    if (n < parts.size()) {
      parts[n].assign(static_cast<const char*>(zmq_msg_data(&m)), zmq_msg_size(&m));
    }
    ++n;
    more = zmq_msg_more(&m);
    zmq_msg_close(&m);
  }
  std::string user;
  std::string_view why = "a malformed question";
  if (n >= 6 && parts[0] == "1.0") user = name_of(parts[5], parts[3], parts[6], &why);
  const std::string who = user.empty() ? parts[3] : user;
  if (!user.empty() && user != "plain:" && !admission_.knows(user)) {
    user.clear();
    why = "no service has this key or user";
  }
  const bool own_check = checking_self_ && may_be_self(parts[3]);
  if (own_check) user.clear();
  const bool in = !user.empty();
  if (in) {
    ++counts_.admitted;
  } else if (!own_check) {
    ++counts_.refused;
    log_refusal(who, why);
  }
  const auto send = [&](std::string_view s, int flags) {
    zmq_send(socket_, s.data(), s.size(), flags | ZMQ_DONTWAIT);
  };
  send("1.0", ZMQ_SNDMORE);
  send(parts[1], ZMQ_SNDMORE);
  send(in ? "200" : "400", ZMQ_SNDMORE);
  send(in ? "OK" : "refused", ZMQ_SNDMORE);
  send(user, ZMQ_SNDMORE);
  send("", 0);
  return true;
}

void Zap::log_refusal(std::string_view who, std::string_view why) {
  if (loop_.now() - log_window_ > std::chrono::seconds(1)) {
    log_window_ = loop_.now();
    logged_ = 0;
  }
  if (++logged_ > kRefusalsLogged) return;
  log_.warn("login_refused", {{"who", who}, {"why", why}});
}

}  // namespace headgate
