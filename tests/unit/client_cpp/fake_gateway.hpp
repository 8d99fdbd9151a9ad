// FakeGateway is a ROUTER that answers what a test tells it to: hello by itself, everything else by
// the test's handler, which runs in the gateway's thread.
//
// Owner: a test. Threads: handle() runs in the gateway's; send functions may be called from any,
// they are queued.
#pragma once
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "proto/envelope.hpp"

namespace headgate::test {

using Frame = std::vector<std::uint8_t>;

class TempDir {
 public:
  TempDir() {
    std::string pattern = std::filesystem::temp_directory_path() / "hg-client-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  [[nodiscard]] std::string url(const std::string& name) const {
    return "ipc://" + path_ + "/" + name;
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class FakeGateway {
 public:
  struct Got {
    std::string peer;
    Frame frame;
    proto::Message message;
  };
  using Handler = std::function<void(FakeGateway&, const Got&)>;

  struct Settings {
    std::string url;
    proto::Limits limits{};
    std::uint32_t heartbeat_ms = 10'000;
    bool pong = true;
    bool answer_hello = true;
    proto::Code refuse_hello = proto::Code::ok;
    std::string server_secret{};  // CURVE
  };

  FakeGateway(Settings settings, Handler handler)
      : settings_(std::move(settings)), handler_(std::move(handler)) {
    context_ = zmq_ctx_new();
    router_ = zmq_socket(context_, ZMQ_ROUTER);
    const int zero = 0, one = 1;
    zmq_setsockopt(router_, ZMQ_LINGER, &zero, sizeof zero);
    zmq_setsockopt(router_, ZMQ_SNDHWM, &zero, sizeof zero);
    zmq_setsockopt(router_, ZMQ_RCVHWM, &zero, sizeof zero);
    if (!settings_.server_secret.empty()) {
      zmq_setsockopt(router_, ZMQ_CURVE_SERVER, &one, sizeof one);
      zmq_setsockopt(router_, ZMQ_CURVE_SECRETKEY, settings_.server_secret.c_str(), 41);
    }
    bound_ = zmq_bind(router_, settings_.url.c_str()) == 0;
    std::array<char, 256> endpoint{};
    std::size_t n = endpoint.size();
    zmq_getsockopt(router_, ZMQ_LAST_ENDPOINT, endpoint.data(), &n);
    endpoint_ = endpoint.data();
    wake_ = eventfd(0, EFD_NONBLOCK);
    thread_ = std::thread([this] { loop(); });
  }
  ~FakeGateway() { stop(); }

  // As a daemon that dies: the socket closes at once.
  void stop() {
    if (!thread_.joinable()) return;
    stopping_ = true;
    wake();
    thread_.join();
    zmq_close(router_);
    zmq_ctx_term(context_);
    ::close(wake_);
  }
  [[nodiscard]] bool bound() const { return bound_; }
  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }

  // Frames other than hello and pong that have come, as they came.
  [[nodiscard]] std::vector<Got> got() const {
    const std::lock_guard lock(mutex_);
    return got_;
  }
  // Waits until `enough` holds of what has come; false after 5 s.
  bool wait(const std::function<bool(const std::vector<Got>&)>& enough) const {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(5), [&] { return enough(got_); });
  }
  template <class T>
  bool wait_for(std::size_t n) const {
    return wait([&](const std::vector<Got>& g) {
      std::size_t have = 0;
      for (const Got& x : g) have += std::holds_alternative<T>(x.message) ? 1 : 0;
      return have >= n;
    });
  }
  [[nodiscard]] int hellos() const { return hellos_; }
  // Stops reading and answering, as SIGSTOP does; the socket stays.
  void freeze(bool on) {
    frozen_ = on;
    wake();
  }

  void send(const std::string& peer, Frame frame) {
    {
      const std::lock_guard lock(mutex_);
      out_.emplace_back(peer, std::move(frame));
    }
    wake();
  }
  void write(const std::string& peer, const std::function<void(proto::Writer&)>& f) {
    proto::VectorOut out;
    proto::Writer w(&out);
    f(w);
    send(peer, {out.view().begin(), out.view().end()});
  }
  // body: writes one value; empty: nil.
  using Body = std::function<void(proto::Writer&)>;
  void reply(const std::string& peer, std::uint64_t id, const Body& body = {}) {
    proto::Meta m;
    m.outcome = proto::Outcome::applied;
    m.attempts = 1;
    reply(peer, id, proto::Code::ok, m, body);
  }
  void reply(const std::string& peer, std::uint64_t id, proto::Code code, const proto::Meta& meta,
             const Body& body = {}) {
    write(peer, [&](proto::Writer& w) {
      encode_reply_head(w, id, code, meta);
      if (body)
        body(w);
      else
        w.nil();
    });
  }
  void refuse(const std::string& peer, std::uint64_t id, proto::Code code, proto::Outcome outcome,
              std::string_view message) {
    proto::Meta m;
    m.outcome = outcome;
    m.message = message;
    reply(peer, id, code, m);
  }
  void part(const std::string& peer, std::uint64_t id, std::uint64_t seq, const Body& body) {
    write(peer, [&](proto::Writer& w) {
      encode_part_head(w, id, seq);
      body(w);
    });
  }

 private:
  void wake() {
    const std::uint64_t one = 1;
    (void)!::write(wake_, &one, sizeof one);
  }

  void loop() {
    while (!stopping_) {
      zmq_pollitem_t items[] = {{nullptr, wake_, ZMQ_POLLIN, 0}, {router_, 0, ZMQ_POLLIN, 0}};
      zmq_poll(items, frozen_ ? 1 : 2, 1000);
      if (items[0].revents != 0) {
        std::uint64_t n;
        (void)!::read(wake_, &n, sizeof n);
      }
      if (frozen_) continue;
      flush();
      while (!stopping_ && !frozen_ && receive()) flush();
    }
  }

  void flush() {
    std::deque<std::pair<std::string, Frame>> now;
    {
      const std::lock_guard lock(mutex_);
      now.swap(out_);
    }
    for (const auto& [peer, frame] : now) {
      zmq_send(router_, peer.data(), peer.size(), ZMQ_SNDMORE | ZMQ_DONTWAIT);
      zmq_send(router_, frame.data(), frame.size(), ZMQ_DONTWAIT);
    }
  }

  Frame one_frame(bool* more) {
    zmq_msg_t m;
    zmq_msg_init(&m);
    const int n = zmq_msg_recv(&m, router_, ZMQ_DONTWAIT);
    Frame f;
    if (n >= 0) {
      const auto* p = static_cast<const std::uint8_t*>(zmq_msg_data(&m));
      f.assign(p, p + n);
    }
    *more = n >= 0 && zmq_msg_more(&m) != 0;
    zmq_msg_close(&m);
    return f;
  }

  bool receive() {
    bool more = false;
    const Frame peer_frame = one_frame(&more);
    if (!more) return false;
    Got g;
    g.peer.assign(peer_frame.begin(), peer_frame.end());
    g.frame = one_frame(&more);
    const auto m = decode(g.frame, proto::From::client, settings_.limits);
    if (!m.has_value()) {
      bad_frames_++;
      return true;
    }
    g.message = *m;
    if (const auto* hello = std::get_if<proto::Hello>(&g.message)) {
      on_hello(g.peer, *hello);
      return true;
    }
    if (const auto* ping = std::get_if<proto::Ping>(&g.message)) {
      const std::uint64_t id = ping->id;
      if (settings_.pong) write(g.peer, [id](proto::Writer& w) { encode(w, proto::Pong{id}); });
    }
    // The views of the copy that is kept must point into its own frame.
    {
      const std::lock_guard lock(mutex_);
      got_.push_back({g.peer, g.frame, *m});
      got_.back().message = *decode(got_.back().frame, proto::From::client, settings_.limits);
      changed_.notify_all();
    }
    if (handler_) handler_(*this, g);
    return true;
  }

  void on_hello(const std::string& peer, const proto::Hello& hello) {
    ++hellos_;
    if (!settings_.answer_hello) return;
    if (settings_.refuse_hello != proto::Code::ok) {
      refuse(peer, hello.id, settings_.refuse_hello, proto::Outcome::not_sent, "not you");
      return;
    }
    proto::VectorOut stores;
    proto::Writer w(&stores);
    w.array(1);
    const std::array<std::string_view, 2> verbs = {"query", "execute"};
    encode_store(w, "orders", "sql", verbs);
    proto::Welcome welcome{hello.id, proto::kVersion, settings_.limits, settings_.heartbeat_ms,
                           stores.view()};
    write(peer, [&](proto::Writer& out) { encode(out, welcome); });
  }

  Settings settings_;
  Handler handler_;
  void* context_ = nullptr;
  void* router_ = nullptr;
  bool bound_ = false;
  std::string endpoint_;
  int wake_ = -1;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> frozen_{false};
  std::atomic<int> hellos_{0};
  std::atomic<int> bad_frames_{0};
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<Got> got_;
  std::deque<std::pair<std::string, Frame>> out_;
  std::thread thread_;

 public:
  [[nodiscard]] int bad_frames() const { return bad_frames_; }
};

// Answers every request with {}.
inline void answer_all(FakeGateway& g, const FakeGateway::Got& got) {
  if (const auto* r = std::get_if<proto::Request>(&got.message))
    g.reply(got.peer, r->id, [](proto::Writer& w) { w.map(0); });
}

}  // namespace headgate::test
