// Opening and closing: options, doors, limits. Receiving, sending and ending are in files beside
// it.
#include "daemon/transport/frontend.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

#include "daemon/transport/accept.hpp"
#include "daemon/transport/router.hpp"
#include "daemon/transport/self_check.hpp"

namespace headgate {
namespace {

constexpr int kZeroCopyRecv = 10;      // ZMQ_ZERO_COPY_RECV, hidden as draft
constexpr int kZapEnforceDomain = 93;  // ZMQ_ZAP_ENFORCE_DOMAIN, hidden as draft
constexpr std::uint32_t kClientsAtLeast = 8;

}  // namespace

tl::expected<std::unique_ptr<Frontend>, std::string> Frontend::open(Loop& loop, Log& log,
                                                                    const Admission& admission,
                                                                    Receiver& receiver,
                                                                    FrontendSettings settings) {
  auto made = std::make_unique<Router>(loop, log, admission, receiver, std::move(settings));
  if (auto opened = made->open(); !opened) return tl::make_unexpected(opened.error());
  return made;
}

Router::Router(Loop& loop, Log& log, const Admission& admission, Receiver& receiver,
               FrontendSettings settings)
    : loop_(loop),
      log_(log),
      admission_(admission),
      receiver_(receiver),
      settings_(std::move(settings)),
      zap_(loop, log, admission),
      monitor_(loop, *this),
      peers_(settings_.clients_max + settings_.clients_max / 4 + 64) {
  watch_.r = drained_.r = nullptr;
  watch_.r = this;
  drained_.r = this;
  gone_task_.r = this;
  probe_.r = this;
  gone_.reserve(1024);
  zmq_msg_init(&id_frame_);
}

Router::~Router() {
  loop_.disarm(probe_);
  loop_.watch(watch_, -1, 0);
  zmq_msg_close(&id_frame_);
  ipc_.hide();
  peers_.each([](Peer& p) { p.parked.reset(); });
  monitor_.close();
  if (socket_ != nullptr) zmq_close(socket_);
  zap_.close();
  if (context_ != nullptr) zmq_ctx_term(context_);  // waits for LINGER at most
}

tl::unexpected<std::string> Router::failed(std::string_view what) const {
  return tl::make_unexpected(std::string(what) + ": " + zmq_strerror(zmq_errno()));
}

void Router::option(int name, int value) { zmq_setsockopt(socket_, name, &value, sizeof value); }

// Every connection costs one descriptor; libzmq aborts when it runs out.
tl::expected<void, std::string> Router::limit_connections() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  const std::uint64_t all = std::min<std::uint64_t>(limit.rlim_cur, 1u << 20);
  const std::uint64_t reserved = settings_.descriptors_reserved;
  if (all < reserved + kClientsAtLeast) {
    return tl::make_unexpected("RLIMIT_NOFILE is " + std::to_string(all) + ": " +
                               std::to_string(reserved) + " are needed for stores and " +
                               std::to_string(kClientsAtLeast) +
                               " for clients at least (raise LimitNOFILE)");
  }
  if (all - reserved < settings_.clients_max) {
    log_.warn("clients_max_lowered", {{"configured", settings_.clients_max},
                                      {"in_force", all - reserved},
                                      {"rlimit_nofile", all},
                                      {"reserved", reserved}});
    settings_.clients_max = static_cast<std::uint32_t>(all - reserved);
  }
  counts_.clients_max = settings_.clients_max;
  const auto first = static_cast<int>(reserved);
  accept_guard::set_range(first, first + static_cast<int>(settings_.clients_max));
  connections_.resize(all);
  return {};
}

tl::expected<void, std::string> Router::open() {
  if (auto r = limit_connections(); !r) return r;
  context_ = zmq_ctx_new();
  zmq_ctx_set(context_, ZMQ_IO_THREADS, 1);
  // A small message must not pin the whole block that it was read with.
  zmq_ctx_set(context_, kZeroCopyRecv, 0);
  if (auto r = zap_.open(context_); !r) return r;  // before anything listens
  if (auto r = make_socket(); !r) return r;
  if (!settings_.ipc_path.empty()) {
    if (auto r = listen_ipc(); !r) return r;
  }
  if (!settings_.tcp.empty()) {
    if (auto r = listen_tcp(); !r) return r;
  }
  if (accept_guard::counts().accepted == 0) {
    return tl::make_unexpected(
        "libzmq does not use our accept4: without it, clients beyond RLIMIT_NOFILE would abort "
        "the daemon");
  }
  int fd = -1;
  std::size_t size = sizeof fd;
  zmq_getsockopt(socket_, ZMQ_FD, &fd, &size);
  loop_.watch(watch_, fd, Loop::kReadable);
  ready_ = true;
  return {};
}

tl::expected<void, std::string> Router::make_socket() {
  socket_ = zmq_socket(context_, ZMQ_ROUTER);
  if (socket_ == nullptr) return failed("ROUTER");
  option(ZMQ_ROUTER_MANDATORY, 1);
  option(ZMQ_ROUTER_HANDOVER, 0);
  option(ZMQ_LINGER, 500);
  option(ZMQ_BACKLOG, kBacklog);
  option(ZMQ_RCVHWM, 1000);
  option(ZMQ_SNDHWM, 1000);
  option(ZMQ_IPV6, settings_.tcp.find('[') == std::string::npos ? 0 : 1);
  option(ZMQ_HANDSHAKE_IVL, 5'000);
  option(ZMQ_HEARTBEAT_IVL, 30'000);
  option(ZMQ_HEARTBEAT_TIMEOUT, 30'000);
  option(ZMQ_TCP_KEEPALIVE, 1);
  option(ZMQ_TCP_KEEPALIVE_IDLE, 60);
  const auto twice = static_cast<std::int64_t>(settings_.message_max * 2);
  zmq_setsockopt(socket_, ZMQ_MAXMSGSIZE, &twice, sizeof twice);
  zmq_setsockopt(socket_, ZMQ_ZAP_DOMAIN, "headgate", 8);
  const int on = 1;
  if (zmq_setsockopt(socket_, kZapEnforceDomain, &on, sizeof on) != 0) {
    return failed("ZMQ_ZAP_ENFORCE_DOMAIN is not accepted by this libzmq");
  }
  return monitor_.open(context_, socket_);
}

tl::expected<void, std::string> Router::listen_ipc() {
  auto made = IpcListener::open(settings_.ipc_path, settings_.ipc_mode);
  if (!made) return tl::make_unexpected(made.error());
  ipc_ = std::move(*made);
  const int fd = ipc_.release_descriptor();
  ipc_address_ = "ipc://" + settings_.ipc_path;
  option(ZMQ_USE_FD, fd);
  const int rc = zmq_bind(socket_, ipc_address_.c_str());
  option(ZMQ_USE_FD, -1);
  if (rc != 0) {
    ::close(fd);
    return failed("cannot listen on " + ipc_address_);
  }
  zap_.check_self(true);
  auto checked = check_stranger_is_refused(context_, zap_, ipc_address_, "");
  zap_.check_self(false);
  return checked;
}

tl::expected<void, std::string> Router::listen_tcp() {
  if (settings_.plain_tcp) {
    if (!is_loopback(settings_.tcp)) {
      return tl::make_unexpected("plain TCP is possible on loopback only, not on " + settings_.tcp);
    }
    zap_.allow_plain_tcp(true);
  } else {
    std::string secret(settings_.server_key.reveal());
    char own[41] = {};
    const bool good = secret.size() == 40 && zmq_curve_public(own, secret.c_str()) == 0;
    public_key_ = own;
    option(ZMQ_CURVE_SERVER, 1);
    const int rc = good ? zmq_setsockopt(socket_, ZMQ_CURVE_SECRETKEY, secret.c_str(), 40) : -1;
    wipe(secret);
    if (rc != 0) {
      return tl::make_unexpected(std::string(
          "daemon.server_key is not a CURVE secret key (40 characters of Z85; headgate keygen "
          "makes one)"));
    }
  }
  if (zmq_bind(socket_, settings_.tcp.c_str()) != 0) {
    if (zmq_errno() == EADDRINUSE) {
      return tl::make_unexpected("another program listens on " + settings_.tcp);
    }
    return failed("cannot listen on " + settings_.tcp);
  }
  char bound[256] = {};
  std::size_t size = sizeof bound;
  zmq_getsockopt(socket_, ZMQ_LAST_ENDPOINT, bound, &size);
  tcp_address_ = bound;
  std::string door = tcp_address_;
  for (const std::string any : {"//0.0.0.0:", "//[::]:"}) {
    if (const auto at = door.find(any); at != std::string::npos) {
      door.replace(at, any.size(), any == "//[::]:" ? "//[::1]:" : "//127.0.0.1:");
    }
  }
  if (settings_.plain_tcp) zap_.check_self(true);
  auto checked = check_stranger_is_refused(context_, zap_, door, public_key_);
  zap_.check_self(false);
  return checked;
}

void Router::stop_listening() {
  accept_guard::close_doors();
  ipc_.hide();
}

FrontendCounts Router::counts() const {
  FrontendCounts c = counts_;
  c.connections = connected_;
  c.peers = peers_.size();
  c.refused_logins = zap_.counts().refused;
  c.admitted_logins = zap_.counts().admitted;
  c.refused_connections += accept_guard::counts().refused;
  return c;
}

}  // namespace headgate
