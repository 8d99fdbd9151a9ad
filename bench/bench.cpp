// headgate-bench: a load generator for a gateway, or for the bare ROUTER echo beside it.
//
// Closed loop: each of N callers keeps `depth` requests in flight. Fixed rate: requests are due at
// fixed times, and latency counts from the time a request was due, so that a stalled server cannot
// hide its stall. One thread drives all callers, each with a socket of its own.
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>
#include <zmq.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>

#include "bench/histogram.hpp"
#include "proto/envelope.hpp"

namespace headgate::bench {
namespace {

using Json = nlohmann::ordered_json;

std::uint64_t now_us() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(
                                        std::chrono::steady_clock::now().time_since_epoch())
                                        .count());
}

struct Settings {
  std::string url = "ipc:///run/headgate/headgate.sock", store = "headgate", verb = "ping",
              body = "{}";
  unsigned callers = 16, depth = 1, timeout_ms = 10'000, fetch = 0;
  double seconds = 5, warmup = 1, rate = 0, pause_ms = 0;
  int server_pid = 0;
  unsigned idle = 0;
  bool bare = false, json = false;
};

// Microseconds of CPU that a process has used.
double cpu_us(int pid) {
  if (pid == 0) return 0;
  std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(in)), {});
  std::size_t p = text.rfind(')');
  if (p == std::string::npos) return 0;
  std::istringstream rest(text.substr(p + 2));
  std::string skip;
  for (int i = 0; i < 11; ++i) rest >> skip;
  double user = 0, system = 0;
  rest >> user >> system;
  return (user + system) * 1e6 / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// "$random:N" in a body stands for an integer below N; a few thousand bodies are made beforehand.
Json fill(const Json& shape, std::mt19937_64& random) {
  if (shape.is_string()) {
    const std::string s = shape;
    if (s.rfind("$random:", 0) == 0) return random() % std::stoull(s.substr(8));
    if (s.rfind("$text:", 0) == 0) return std::string(std::stoull(s.substr(6)), 'x');
    return shape;
  }
  Json out = shape;
  if (shape.is_structured())
    for (auto& [k, v] : out.items()) v = fill(v, random);
  return out;
}

struct Caller {
  void* socket = nullptr;
  std::uint64_t next_id = 1;
  unsigned inflight = 0;
  std::uint64_t answered = 0;  // while it counts
  bool welcomed = false;
  std::map<std::uint64_t, std::uint64_t> sent;  // id -> when it was sent, or due
};

class Load {
 public:
  explicit Load(Settings s) : settings_(std::move(s)) {
    std::mt19937_64 random(42);
    const Json shape = Json::parse(settings_.body);
    for (int i = 0; i < 4096; ++i) bodies_.push_back(Json::to_msgpack(fill(shape, random)));
    context_ = zmq_ctx_new();
    zmq_ctx_set(context_, ZMQ_MAX_SOCKETS,
                static_cast<int>(settings_.callers + settings_.idle + 16));
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
  }

  int run() {
    if (settings_.idle > 0) return idle();
    connect(settings_.callers);
    measure(settings_.warmup, false);
    const double cpu = cpu_us(settings_.server_pid);
    const double took = measure(settings_.seconds, true);
    report(took, cpu_us(settings_.server_pid) - cpu);
    return failed_ == 0 ? 0 : 1;
  }

 private:
  void connect(unsigned n) {
    callers_.resize(n);
    for (unsigned i = 0; i < n; ++i) {
      Caller& c = callers_[i];
      c.socket = zmq_socket(context_, ZMQ_DEALER);
      if (c.socket == nullptr)
        throw std::runtime_error(std::string("zmq_socket: ") + zmq_strerror(zmq_errno()));
      // A crowd that comes at once may find the listener's queue full; nothing else is tried again.
      const int again = settings_.idle > 0 ? 50 : -1, none = 0;
      zmq_setsockopt(c.socket, ZMQ_RECONNECT_IVL, &again, sizeof again);
      zmq_setsockopt(c.socket, ZMQ_LINGER, &none, sizeof none);
      if (zmq_connect(c.socket, settings_.url.c_str()) != 0)
        throw std::runtime_error("cannot connect to " + settings_.url);
      int fd = -1;
      std::size_t size = sizeof fd;
      zmq_getsockopt(c.socket, ZMQ_FD, &fd, &size);
      epoll_event e{};
      e.events = EPOLLIN;
      e.data.u32 = i;
      epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e);
      proto::Hello hello;
      hello.id = c.next_id++;
      hello.name = "headgate-bench";
      hello.version = "1";
      hello.pongs = true;
      send(c, [&](proto::Writer& w) { encode(w, hello); });
    }
    const std::uint64_t until = now_us() + 60'000'000;
    while (std::any_of(callers_.begin(), callers_.end(),
                       [](const Caller& c) { return !c.welcomed; })) {
      turn(10);
      if (now_us() > until)
        throw std::runtime_error("no gateway said welcome at " + settings_.url + " within 60 s");
    }
  }

  template <class F>
  void send(Caller& c, F&& write) {
    out_.clear();
    proto::Writer w(&out_);
    write(w);
    if (zmq_send(c.socket, out_.view().data(), out_.view().size(), ZMQ_DONTWAIT) < 0)
      throw std::runtime_error(std::string("zmq_send: ") + zmq_strerror(zmq_errno()));
  }

  void request(Caller& c, std::uint64_t due) {
    proto::Request r;
    r.id = c.next_id++;
    r.sent_us = now_us();
    r.store = settings_.store;
    r.verb = settings_.verb;
    r.options.timeout_ms = settings_.timeout_ms;
    r.options.fetch = settings_.fetch;
    c.sent[r.id] = due == 0 ? r.sent_us : due;
    ++c.inflight;
    const auto& body = bodies_[body_++ % bodies_.size()];
    send(c, [&](proto::Writer& w) {
      proto::encode_request_head(w, r);
      w.raw(body);
    });
  }

  // Takes in all that has come on one socket.
  void drain(unsigned index) {
    Caller& c = callers_[index];
    zmq_msg_t m;
    zmq_msg_init(&m);
    while (zmq_msg_recv(&m, c.socket, ZMQ_DONTWAIT) >= 0) {
      const proto::Bytes frame(static_cast<const std::uint8_t*>(zmq_msg_data(&m)),
                               zmq_msg_size(&m));
      take(c, frame);
    }
    zmq_msg_close(&m);
  }

  void take(Caller& c, proto::Bytes frame) {
    if (settings_.bare && !c.welcomed) {  // the hello came back
      c.welcomed = true;
      return;
    }
    proto::Cursor cur(frame);
    cur.read_array();
    cur.read_uint();
    const std::uint64_t type = cur.read_uint(), id = cur.read_uint();
    if (settings_.bare || type == static_cast<std::uint64_t>(proto::FrameType::reply)) {
      const std::uint64_t code = settings_.bare ? 0 : cur.read_uint();
      if (!c.welcomed)
        throw std::runtime_error("the gateway refused the hello with code " + std::to_string(code));
      auto it = c.sent.find(id);
      if (it == c.sent.end()) throw std::runtime_error("an answer to no request of this caller");
      if (code != 0) {
        ++failed_;
        if (first_failure_.empty())
          first_failure_ = std::string(proto::name(*proto::code_from(code)));
      }
      if (counting_) latency_.add(now_us() - it->second);
      if (counting_ && running_) ++c.answered;
      c.sent.erase(it);
      --c.inflight;
      ++answered_;
      if (settings_.rate == 0 && running_) request(c, 0);
    } else if (type == static_cast<std::uint64_t>(proto::FrameType::part)) {
      const std::uint64_t seq = cur.read_uint();
      bytes_ += frame.size();
      if (settings_.pause_ms > 0) usleep(static_cast<useconds_t>(settings_.pause_ms * 1000));
      send(c, [&](proto::Writer& w) { encode(w, proto::Credit{id, seq + 4}); });
    } else if (type == static_cast<std::uint64_t>(proto::FrameType::welcome)) {
      c.welcomed = true;
    } else if (type == static_cast<std::uint64_t>(proto::FrameType::ping)) {
      send(c, [&](proto::Writer& w) { encode(w, proto::Pong{id}); });
    }
  }

  void turn(int timeout_ms) {
    epoll_event events[256];
    const int n = epoll_wait(epoll_, events, 256, timeout_ms);
    for (int i = 0; i < n; ++i) drain(events[i].data.u32);
    // A send may have eaten the wake of a socket that was drained before it (ZMQ_FD is an edge).
    if (n == 0 || ++turns_ % 64 == 0)
      for (unsigned i = 0; i < callers_.size(); ++i) {
        int ready = 0;
        std::size_t size = sizeof ready;
        zmq_getsockopt(callers_[i].socket, ZMQ_EVENTS, &ready, &size);
        if (ready & ZMQ_POLLIN) drain(i);
      }
  }

  double measure(double seconds, bool count) {
    counting_ = count;
    answered_ = 0;
    running_ = true;
    const std::uint64_t begun = now_us(), until = begun + static_cast<std::uint64_t>(seconds * 1e6);
    if (settings_.rate == 0)
      for (Caller& c : callers_)
        while (c.inflight < settings_.depth) request(c, 0);
    double due = static_cast<double>(begun);
    std::size_t turn_of = 0;
    for (std::uint64_t now = begun; now < until; now = now_us()) {
      if (settings_.rate > 0)
        for (std::size_t tries = 0; due <= static_cast<double>(now) && tries < callers_.size();
             ++tries) {
          Caller& c = callers_[turn_of++ % callers_.size()];
          if (c.inflight >= settings_.depth) continue;
          request(c, static_cast<std::uint64_t>(due));
          due += 1e6 / settings_.rate;
          tries = 0;
        }
      turn(settings_.rate > 0 ? 0 : 1);
    }
    running_ = false;
    const double took = static_cast<double>(now_us() - begun) / 1e6;
    answers_ = answered_;
    const std::uint64_t patience = now_us() + 30'000'000;
    while (std::any_of(callers_.begin(), callers_.end(),
                       [](const Caller& c) { return c.inflight > 0; }) &&
           now_us() < patience)
      turn(1);
    return took;
  }

  // N connected clients that say nothing: for measuring what each costs the server.
  int idle() {
    connect(settings_.idle);
    std::printf("ready\n");
    std::fflush(stdout);
    const std::uint64_t until = now_us() + static_cast<std::uint64_t>(settings_.seconds * 1e6);
    while (now_us() < until) turn(100);
    return 0;
  }

  void report(double took, double cpu) {
    const double rate = static_cast<double>(answers_) / took;
    Json j = {{"verb", settings_.verb},      {"callers", settings_.callers},
              {"depth", settings_.depth},    {"seconds", took},
              {"requests_per_second", rate}, {"failed", failed_},
              {"mean_us", latency_.mean()}};
    for (double p : {50.0, 90.0, 99.0, 99.9, 99.99}) {
      char name[32];
      std::snprintf(name, sizeof name, "p%g_us", p);
      j[name] = latency_.percentile(p);
    }
    j["max_us"] = latency_.max();
    if (answers_ > 0) {
      std::uint64_t least = UINT64_MAX;
      for (const Caller& c : callers_) least = std::min(least, c.answered);
      j["slowest_caller_over_mean"] = static_cast<double>(least) *
                                      static_cast<double>(callers_.size()) /
                                      static_cast<double>(answers_);
    }
    if (settings_.fetch > 0) j["streamed_bytes"] = bytes_;
    if (settings_.server_pid != 0)
      j["server_cpu_us_per_request"] = answers_ == 0 ? 0 : cpu / static_cast<double>(answers_);
    if (!first_failure_.empty()) j["first_failure"] = first_failure_;
    if (settings_.json) {
      std::printf("%s\n", j.dump().c_str());
      return;
    }
    for (auto& [k, v] : j.items()) std::printf("%-26s %s\n", k.c_str(), v.dump().c_str());
  }

  Settings settings_;
  std::vector<std::vector<std::uint8_t>> bodies_;
  std::size_t body_ = 0;
  void* context_ = nullptr;
  int epoll_ = -1;
  std::vector<Caller> callers_;
  proto::VectorOut out_;
  Histogram latency_;
  bool counting_ = false, running_ = false;
  std::uint64_t answered_ = 0, answers_ = 0, failed_ = 0, bytes_ = 0, turns_ = 0;
  std::string first_failure_;
};

}  // namespace
}  // namespace headgate::bench

int main(int argc, char** argv) {
  headgate::bench::Settings s;
  CLI::App app{
      "Loads a Headgate gateway (or the bare ROUTER echo, with --bare) and reports rate and "
      "latency."};
  app.add_option("--url", s.url, "where it listens");
  app.add_option("--store", s.store, "store to ask");
  app.add_option("--verb", s.verb, "verb to send");
  app.add_option(
      "--body", s.body,
      R"(JSON body; "$random:N" is an integer below N, "$text:N" a text of N characters)");
  app.add_option("--callers", s.callers, "connections")->check(CLI::Range(1u, 20'000u));
  app.add_option("--depth", s.depth, "requests that each keeps in flight")
      ->check(CLI::Range(1u, 1000u));
  app.add_option("--rate", s.rate, "requests a second in all, due at fixed times (0: closed loop)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--seconds", s.seconds, "how long to measure")->check(CLI::PositiveNumber);
  app.add_option("--warmup", s.warmup, "seconds before that")->check(CLI::NonNegativeNumber);
  app.add_option("--timeout-ms", s.timeout_ms, "deadline of each request");
  app.add_option("--fetch", s.fetch, "rows a part: the replies stream");
  app.add_option("--pause-ms", s.pause_ms, "pause after each part: a slow reader");
  app.add_option("--server-pid", s.server_pid, "report the CPU that this process uses a request");
  app.add_option("--idle", s.idle,
                 "only open this many connections, say `ready`, and stay for --seconds");
  app.add_flag("--bare", s.bare, "the server is bench-echo: frames come back as they were");
  app.add_flag("--json", s.json, "one line of JSON");
  CLI11_PARSE(app, argc, argv);
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  try {
    return headgate::bench::Load(s).run();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "headgate-bench: %s\n", e.what());
    return 2;
  }
}
