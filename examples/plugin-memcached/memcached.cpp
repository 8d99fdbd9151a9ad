// A plugin for memcached: one event lane, pipelined. Many callers share one connection; their
// commands leave in one write, and replies come back in the order of the commands.
//
// What an event lane must get right, and where it is done:
//   - nothing waits: the socket is non-blocking, and what it does not take stays in `out_` (pump)
//   - a reply may arrive in any slices: the parser is fed what there is (read_replies)
//   - when the connection dies, each call is told the truth: `not_sent` if no byte of it was handed
//   to
//     the kernel, else `unknown`; replies that were complete before the cut still count (die)
//   - a server that says nothing for stall_ms while something is asked is given up (timer)
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <deque>

#include "plugins/sdk/driver.hpp"
#include "protocol.hpp"

namespace {

using namespace headgate::sdk;
using headgate::proto::bytes_of;
using headgate::proto::text_of;
using headgate::proto::VectorOut;
using headgate::proto::Writer;
using memcached::Command;
using memcached::Reply;

const hg_host* g_host = nullptr;

hg_bytes describe() {
  static const std::vector<std::uint8_t> map = [] {
    VectorOut out;
    Writer w(&out);
    w.map(7);
    w.str("name");
    w.str("memcached");
    w.str("version");
    w.str("1.0");
    w.str("product");
    w.str("memcached");
    w.str("endpoints");
    w.boolean(true);
    w.str("kinds");
    w.array(1);
    w.map(3);
    w.str("kind");
    w.str("key_value");
    w.str("verbs");
    w.map(6);
    for (const char* read : {"ping", "describe", "get"}) {
      w.str(read);
      w.map(1);
      w.str("access");
      w.str("read");
    }
    for (const char* write : {"set", "delete", "increment"}) {
      w.str(write);
      w.map(1);
      w.str("access");
      w.str("write");
    }
    w.str("limits");
    w.map(1);
    w.str("key_bytes");
    w.uint(memcached::kKeyMax);
    w.str("lanes");
    w.array(1);
    w.map(7);
    w.str("name");
    w.str("shared");
    w.str("model");
    w.str("event");
    w.str("connections");
    w.uint(1);
    w.str("connections_max");
    w.uint(8);
    w.str("max_inflight");
    w.uint(1024);
    w.str("max_batch");
    w.uint(1024);
    w.str("cancel");
    w.str("none");
    w.str("options");
    w.map(1);
    w.str("stall_ms");
    w.map(5);
    w.str("type");
    w.str("duration_ms");
    w.str("default");
    w.uint(10'000);
    w.str("min");
    w.uint(10);
    w.str("max");
    w.uint(600'000);
    w.str("help");
    w.str("a server that says nothing for so long while it is asked is given up");
    const Bytes b = out.view();
    return std::vector<std::uint8_t>(b.begin(), b.end());
  }();
  return lend(Bytes(map));
}

// A body, checked.
struct Request {
  Request() = default;  // `version`: what a ping asks
  explicit Request(const hg_call& call) {
    const std::string_view verb = text(call.verb);
    if (verb == "ping") {
      Fields fields(verb, bytes(call.body), {});
      return;
    }
    if (verb == "set") {
      Fields fields(verb, bytes(call.body), {"key", "value", "nx", "xx"});
      const bool nx = fields.flag("nx"), xx = fields.flag("xx");
      if (nx && xx) throw invalid("set: nx and xx exclude each other");
      command = nx ? Command::add : xx ? Command::replace : Command::set;
      key = text_of(fields.key("key"));
      value = text_of(fields.key("value"));
    } else if (verb == "get" || verb == "delete") {
      Fields fields(verb, bytes(call.body), {"key"});
      command = verb == "get" ? Command::get : Command::remove;
      key = text_of(fields.key("key"));
    } else if (verb == "increment") {
      Fields fields(verb, bytes(call.body), {"key", "by"});
      command = Command::increment;
      key = text_of(fields.key("key"));
      const std::int64_t n = fields.opt_integer("by").value_or(1);
      if (n < 0) throw unsupported("increment: memcached cannot count below zero");
      by = static_cast<std::uint64_t>(n);
    } else {
      throw unsupported("memcached has no verb `" + std::string(verb.substr(0, 64)) + "`");
    }
    if (!memcached::good_key(key))
      throw invalid(std::string(verb) +
                    ": a memcached key has 1 to 250 bytes, none of them a space or a control");
  }
  Command command = Command::version;
  std::string_view key, value;
  std::uint64_t by = 0;
};

class MemcachedConnection final : public Connection {
 public:
  MemcachedConnection(int fd, hg_conn_id id, std::uint64_t stall_us)
      : fd_(fd), id_(id), stall_us_(stall_us) {}
  ~MemcachedConnection() override {
    die("the connection was closed");
    ::close(fd_);
  }

  void attach() override { watch(); }

  void submit(const hg_call* const* calls, std::uint32_t n) override {
    for (std::uint32_t i = 0; i < n; ++i) {
      const Request r(*calls[i]);
      ask(calls[i]->op, r);
    }
    pump();
  }
  void reset(hg_op op) override { complete(g_host, op, {}); }  // nothing leases, nothing to undo
  void ping(hg_op op) override {
    ask(op, Request{});
    pump();
  }

  void io(std::uint32_t events) override {
    if ((events & HG_IO_READ) != 0) read_replies();
    if (!dead_) pump();
  }
  void timer() override {
    if (!asked_.empty() && g_host->now_us(g_host) >= heard_us_ + stall_us_)
      return die("the server said nothing for too long");
    arm();
  }

 private:
  struct Asked {
    hg_op op;
    Command command;
    std::string key;
    std::uint64_t begins_at;  // in the stream of all bytes that were ever queued
  };

  void ask(hg_op op, const Request& r) {
    if (dead_) return fail(op, Outcome::not_sent, "the connection is gone");
    if (asked_.empty()) heard_us_ = g_host->now_us(g_host);
    asked_.push_back({op, r.command, std::string(r.key), queued_});
    const std::size_t before = out_.size();
    memcached::put_command(out_, r.command, r.key, r.value, r.by);
    queued_ += out_.size() - before;
  }

  // Hands the kernel what it takes.
  void pump() {
    while (!out_.empty()) {
      const ssize_t n = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (n > 0) {
        sent_ += static_cast<std::uint64_t>(n);
        out_.erase(0, static_cast<std::size_t>(n));
      } else if (errno == EAGAIN) {
        break;
      } else if (errno != EINTR) {
        return die(std::strerror(errno));
      }
    }
    watch();
    arm();
  }

  void read_replies() {
    char block[65536];
    for (;;) {
      const ssize_t n = ::recv(fd_, block, sizeof block, MSG_DONTWAIT);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) break;
      if (n <= 0) {
        take_replies();  // what came before the end still counts
        return die(n == 0 ? "the server closed the connection" : std::strerror(errno));
      }
      heard_us_ = g_host->now_us(g_host);
      in_.append(block, static_cast<std::size_t>(n));
      if (static_cast<std::size_t>(n) < sizeof block) break;
    }
    take_replies();
  }

  void take_replies() {
    std::size_t at = 0;
    while (!dead_ && !asked_.empty() && at < in_.size()) {
      const auto reply = memcached::read_reply(std::string_view(in_).substr(at),
                                               asked_.front().command, asked_.front().key);
      if (!reply) break;
      if (reply->kind == Reply::Kind::nonsense)
        return die("the server does not speak memcached's protocol");
      const Asked a = std::move(asked_.front());
      asked_.pop_front();
      answer(a, *reply);
      at += reply->size;
    }
    in_.erase(0, at);
    if (!dead_ && asked_.empty() && !in_.empty()) die("the server spoke unasked");
  }

  static void answer(const Asked& a, const Reply& r) {
    if (r.kind == Reply::Kind::refused || r.kind == Reply::Kind::failed) {
      Error e(r.kind == Reply::Kind::refused ? Code::invalid : Code::store_error, Outcome::rejected,
              std::string(r.value));
      e.breaker = r.kind == Reply::Kind::failed;
      return complete(g_host, a.op, {}, &e);
    }
    Sink sink(g_host, a.op);
    Writer w(&sink);
    switch (a.command) {
      case Command::get:
        w.map(2);
        w.str("value");
        r.kind == Reply::Kind::value ? w.bin(bytes_of(r.value)) : w.nil();
        w.str("version");
        w.nil();
        break;
      case Command::remove:
        w.map(1);
        w.str("deleted");
        w.uint(r.kind == Reply::Kind::deleted ? 1 : 0);
        break;
      case Command::increment:
        if (r.kind == Reply::Kind::not_found) {
          const Error e(Code::not_found, Outcome::rejected, "increment: no such key");
          return complete(g_host, a.op, {}, &e);
        }
        w.map(1);
        w.str("value");
        w.uint(r.number);
        break;
      case Command::version:
        w.map(0);
        break;
      default:
        w.map(3);
        w.str("set");
        w.boolean(r.kind == Reply::Kind::stored);
        w.str("version");
        w.nil();
        w.str("old");
        w.nil();
    }
    sink.commit();
    if (!w.ok()) {
      const Error e(sink.why() == HG_FULL ? Code::too_large : Code::cancelled,
                    a.command == Command::get ? Outcome::rejected : Outcome::applied,
                    "the reply found no room");
      return complete(g_host, a.op, {}, &e);
    }
    complete(g_host, a.op, {});
  }

  // Ends every call that has no answer, each with what is known of it.
  void die(const std::string& why) {
    if (dead_) return;
    dead_ = true;
    const bool idle = asked_.empty();
    while (!asked_.empty()) {
      const Asked a = std::move(asked_.front());
      asked_.pop_front();
      fail(a.op, a.begins_at >= sent_ ? Outcome::not_sent : Outcome::unknown, why);
    }
    g_host->watch(g_host, id_, fd_, 0);
    g_host->timer(g_host, id_, 0);
    if (!idle) return;
    hg_error e{};
    lost(why, Outcome::not_sent).fill(&e);
    g_host->lost(g_host, id_, &e);
  }
  static Error lost(const std::string& why, Outcome outcome) {
    Error e(Code::unavailable, outcome, why);
    e.retry = HG_RETRY_NEW_CONNECTION;
    e.breaker = outcome == Outcome::unknown;
    return e;
  }
  static void fail(hg_op op, Outcome outcome, const std::string& why) {
    const Error e = lost(why, outcome);
    Done done;
    done.connection = HG_CONN_BROKEN;
    complete(g_host, op, done, &e);
  }

  void watch() {
    const std::uint32_t wanted =
        HG_IO_READ | (out_.empty() ? 0u : static_cast<std::uint32_t>(HG_IO_WRITE));
    if (wanted == watched_) return;
    watched_ = wanted;
    g_host->watch(g_host, id_, fd_, wanted);
  }
  // One timer for the stall: moved only when it would come too late or is not needed.
  void arm() {
    const std::uint64_t at = asked_.empty() ? 0 : heard_us_ + stall_us_;
    if (at == armed_) return;
    armed_ = at;
    g_host->timer(g_host, id_, at);
  }

  const int fd_;
  const hg_conn_id id_;
  const std::uint64_t stall_us_;
  std::string out_, in_;
  std::deque<Asked> asked_;
  std::uint64_t queued_ = 0, sent_ = 0;
  std::uint64_t heard_us_ = 0, armed_ = 0;
  std::uint32_t watched_ = 0;
  bool dead_ = false;
};

Error refused(const std::string& endpoint, const std::string& why) {
  Error e(Code::unavailable, Outcome::not_sent, endpoint + ": " + why);
  e.retry = HG_RETRY_BACKOFF;
  e.breaker = true;
  return e;
}

// Connects until the deadline; a path or host:port.
int connect_to(const std::string& endpoint, std::uint64_t deadline_us) {
  sockaddr_storage address{};
  socklen_t size = 0;
  if (endpoint.front() == '/') {
    auto* un = reinterpret_cast<sockaddr_un*>(&address);
    if (endpoint.size() >= sizeof un->sun_path) throw refused(endpoint, "the path is too long");
    un->sun_family = AF_UNIX;
    endpoint.copy(un->sun_path, sizeof un->sun_path - 1);
    size = sizeof *un;
  } else {
    const std::size_t colon = endpoint.rfind(':');
    if (colon == std::string::npos) throw refused(endpoint, "must be host:port or a socket's path");
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    const int error = ::getaddrinfo(endpoint.substr(0, colon).c_str(),
                                    endpoint.substr(colon + 1).c_str(), &hints, &found);
    if (error != 0) throw refused(endpoint, ::gai_strerror(error));
    std::memcpy(&address, found->ai_addr, found->ai_addrlen);
    size = found->ai_addrlen;
    ::freeaddrinfo(found);
  }
  const int fd = ::socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw refused(endpoint, std::strerror(errno));
  int error = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), size) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    const std::uint64_t now = g_host->now_us(g_host);
    const std::uint64_t left_ms =
        deadline_us > now ? std::min<std::uint64_t>((deadline_us - now) / 1000, 60'000) : 0;
    pollfd p{fd, POLLOUT, 0};
    socklen_t n = sizeof error;
    if (::poll(&p, 1, static_cast<int>(left_ms)) != 1)
      error = ETIMEDOUT;
    else
      ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
  }
  if (error != 0) {
    ::close(fd);
    throw refused(endpoint, std::strerror(error));
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // fails harmlessly on a Unix socket
  return fd;
}

class MemcachedDriver final : public Driver {
 public:
  explicit MemcachedDriver(std::uint64_t stall_us) : stall_us_(stall_us) {}

  Route route(const hg_call& call, const Touches& touches) override {
    const Request r(call);
    if (!r.key.empty()) touches.touch(text(call.verb), HG_TOUCH_KEY, bytes_of(r.key));
    Route route;
    route.idempotent = r.command != Command::add && r.command != Command::replace &&
                       r.command != Command::increment;
    return route;
  }
  std::unique_ptr<Connection> open(const hg_connect& connect, std::int32_t*) override {
    if (connect.access == HG_ACCESS_READ)
      throw unsupported("memcached cannot hold a connection read-only: grant write, or nothing");
    const std::string endpoint(text(connect.endpoint));
    if (endpoint.empty()) throw refused(endpoint, "no endpoint");
    return std::make_unique<MemcachedConnection>(connect_to(endpoint, connect.deadline_us),
                                                 connect.id, stall_us_);
  }

 private:
  const std::uint64_t stall_us_;
};

std::unique_ptr<Driver> open_driver(const hg_host* host, const hg_driver_config& config) {
  g_host = host;
  const Fields options("options", bytes(config.options), {"stall_ms"});
  return std::make_unique<MemcachedDriver>(static_cast<std::uint64_t>(options.integer("stall_ms")) *
                                           1000);
}

constexpr Plugin kPlugin{"memcached", "1.0", describe, open_driver};

}  // namespace

HEADGATE_PLUGIN(kPlugin)
