// The thread: how it is started and ended, its loop and its clock; what others ask of it.
#include "engine.hpp"

#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#include <algorithm>
#include <cerrno>
#include <csignal>

namespace headgate::detail {
namespace {

using std::chrono::milliseconds;

void drain_fd(int fd) {
  std::uint64_t n;
  (void)!::read(fd, &n, sizeof n);
}

// `wait_ms` of a verb that waits by nature; 0 when the body has none.
std::uint32_t wait_of(std::string_view verb, proto::Bytes body) {
  if (verb != "blpop" && verb != "brpop" && verb != "blmove" && verb != "lock") return 0;
  proto::Cursor c(body);
  const std::uint32_t pairs = c.read_map();
  for (std::uint32_t i = 0; i < pairs && c.ok(); ++i) {
    const std::string_view key = c.read_str();
    if (key != "wait_ms") {
      c.skip();
      continue;
    }
    const std::uint64_t v = c.peek() == proto::Type::uint ? c.read_uint() : 0;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(v, proto::kTimeoutMsMax));
  }
  return 0;
}

}  // namespace

void signal_fd(int fd) {
  const std::uint64_t one = 1;
  (void)!::write(fd, &one, sizeof one);
}

Engine::Engine(ConnectOptions options, std::vector<Address> addresses)
    : options_(std::move(options)), addresses_(std::move(addresses)) {
  // Signals belong to the program's own threads, not to ours and libzmq's.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  context_ = zmq_ctx_new();
  wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  due_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (context_ != nullptr && wake_fd_ >= 0 && due_fd_ >= 0)
    thread_ = std::thread([this] { loop(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Engine::~Engine() {
  close();
  if (context_ != nullptr) zmq_ctx_term(context_);
  if (wake_fd_ >= 0) ::close(wake_fd_);
  if (due_fd_ >= 0) ::close(due_fd_);
}

void Engine::close() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  if (!thread_.joinable()) return;
  signal_fd(wake_fd_);
  thread_.join();
}

void Engine::connect() {
  if (!thread_.joinable())
    throw Error(Code::internal, Outcome::not_sent, "no descriptors left for the client's thread");
  std::unique_lock lock(mutex_);
  settled_.wait(lock, [&] { return welcomed_ || refused_.has_value(); });
  if (!welcomed_) throw Error(refused_->code, Outcome::not_sent, refused_->text);
}

CallPtr Engine::make(Call::Kind kind, std::string_view store, std::string_view verb,
                     std::vector<std::uint8_t> body, const CallOptions& options) {
  auto invalid = [](const std::string& why) -> Error {
    return {Code::invalid, Outcome::not_sent, why};
  };
  const Millis timeout = options.timeout.value_or(options_.timeout);
  if (timeout.count() < 1 || timeout.count() > proto::kTimeoutMsMax)
    throw invalid("timeout must be from 1 ms to 24 h");
  if (kind == Call::Kind::plain && options.fetch != 0)
    throw invalid("fetch streams the result: use stream()");
  if (options.key.size() > proto::kKeyMax) throw invalid("key must have at most 255 bytes");
  if (options.credit > proto::kCreditMax) throw invalid("credit must be at most 1024");
  auto c = std::make_shared<Call>();
  c->engine = this;
  c->kind = kind;
  c->store = store;
  c->verb = verb;
  c->options = options;
  c->timeout_ms = static_cast<std::uint32_t>(timeout.count());
  c->wait_ms = wait_of(verb, body);
  c->body = std::move(body);
  if (kind == Call::Kind::stream) {
    if (c->options.fetch == 0) c->options.fetch = 1'000;
    c->window = options.credit != 0 ? options.credit : proto::kCreditDefault;
    c->granted = c->window;
  }
  const std::lock_guard lock(mutex_);
  c->id = ++last_id_;
  return c;
}

void Engine::post(Command c) {
  bool wake = false;
  bool closed = false;
  {
    const std::lock_guard lock(mutex_);
    closed = stopping_;
    if (!closed) commands_.push_back(std::move(c));
    wake = std::exchange(sleeping_, false);
  }
  if (wake) signal_fd(wake_fd_);
  if (closed && c.what == Command::Do::submit) {
    ReplyMeta m;
    m.message = "the client was closed";
    deliver(c.call, Reply(Code::unavailable, std::move(m)));
  }
}

void Engine::submit(CallPtr call) { post({Command::Do::submit, std::move(call), 0, false, {}}); }
void Engine::cancel(CallPtr call) { post({Command::Do::cancel, std::move(call), 0, false, {}}); }
void Engine::forget(CallPtr call) { post({Command::Do::forget, std::move(call), 0, false, {}}); }
void Engine::credit(CallPtr call, std::uint64_t seq) {
  post({Command::Do::credit, std::move(call), seq, false, {}});
}
void Engine::data(CallPtr call, std::uint64_t seq, bool last, std::vector<std::uint8_t> piece) {
  post({Command::Do::data, std::move(call), seq, last, std::move(piece)});
}

Reply Engine::run(CallPtr call) {
  submit(call);
  std::unique_lock lock(call->mutex);
  call->changed.wait(lock, [&] { return call->done; });
  Reply r = std::move(call->reply);
  lock.unlock();
  r.throw_unless_ok();
  return r;
}

std::vector<StoreInfo> Engine::stores() const {
  const std::lock_guard lock(mutex_);
  return stores_;
}
proto::Limits Engine::limits() const {
  const std::lock_guard lock(mutex_);
  return limits_;
}
std::string Engine::address() const {
  const std::lock_guard lock(mutex_);
  return address_;
}

int Engine::event_fd() const {
  if (options_.deliver != Deliver::process)
    throw Error(Code::invalid, Outcome::not_sent, "event_fd() needs Deliver::process");
  return due_fd_;
}

std::size_t Engine::process() {
  std::deque<std::pair<Callback, Reply>> now;
  {
    const std::lock_guard lock(mutex_);
    drain_fd(due_fd_);
    now.swap(due_);
  }
  for (auto& [callback, reply] : now) callback(std::move(reply));
  return now.size();
}

void Engine::loop() {
  while (take_commands()) {
    for (std::size_t i = 0; i < sessions_.size(); ++i) read(sessions_[i].get());
    reap();
    on_time(Clock::now());
    ensure_session(Clock::now());
    reap();
    sleep();
  }
  end_all();
}

// False: the client is being destroyed.
bool Engine::take_commands() {
  std::vector<Command> now;
  bool stopping = false;
  {
    const std::lock_guard lock(mutex_);
    sleeping_ = false;
    now.swap(commands_);
    stopping = stopping_;
  }
  for (const Command& c : now) {
    switch (c.what) {
      case Command::Do::submit:
        admit(c.call);
        break;
      case Command::Do::cancel:
        stop(c.call);
        break;
      case Command::Do::forget:
        drop(c.call);
        break;
      case Command::Do::credit:
        if (alive(c.call) && c.call->handed)
          send(c.call->session, [&](proto::Writer& w) {
            encode(w, proto::Credit{c.call->id, c.seq});
          });
        break;
      case Command::Do::data:
        upload_piece(c);
        break;
    }
  }
  return !stopping;
}

void Engine::sleep() {
  {
    const std::lock_guard lock(mutex_);
    if (!commands_.empty() || stopping_) return;
    sleeping_ = true;
  }
  std::vector<zmq_pollitem_t> items = {{nullptr, wake_fd_, ZMQ_POLLIN, 0}};
  for (const auto& s : sessions_) {
    items.push_back({s->socket(), 0, ZMQ_POLLIN, 0});
    items.push_back({s->monitor(), 0, ZMQ_POLLIN, 0});
  }
  const Clock::time_point next = next_time();
  long ms = 60'000;
  if (next != Clock::time_point::max()) {
    const auto left = std::chrono::ceil<milliseconds>(next - Clock::now()).count();
    ms = static_cast<long>(std::clamp<std::int64_t>(left, 0, ms));
  }
  zmq_poll(items.data(), static_cast<int>(items.size()), ms);
  for (std::size_t i = 0; i < sessions_.size(); ++i)
    sessions_[i]->monitor_speaks = (items[2 + 2 * i].revents & ZMQ_POLLIN) != 0;
  if ((items[0].revents & ZMQ_POLLIN) != 0) drain_fd(wake_fd_);
}

Clock::time_point Engine::next_time() const {
  Clock::time_point t = expiries_.empty() ? Clock::time_point::max() : expiries_.begin()->first;
  for (const auto& s : sessions_) {
    if (s->state == Session::State::connecting)
      t = std::min(t, s->opened + options_.connect_timeout);
    else if (s->silence_ends != Clock::time_point::max())
      t = std::min(t, s->silence_ends);
    else
      t = std::min(t, s->heard + s->heartbeat);
  }
  if (current_ == nullptr && (!waiting_.empty() || wanted_)) t = std::min(t, not_before_);
  return t;
}

void Engine::on_time(Clock::time_point now) {
  while (!expiries_.empty() && expiries_.begin()->first <= now) {
    const auto found = calls_.find(expiries_.begin()->second);
    expiries_.erase(expiries_.begin());
    if (found != calls_.end()) {
      const CallPtr call = found->second;
      call->expires = Clock::time_point::max();
      expire(call, now);
    }
  }
  for (const auto& s : sessions_) {
    if (s->state == Session::State::connecting) {
      if (now >= s->opened + options_.connect_timeout) s->fail("no welcome came in time");
    } else if (now >= s->silence_ends) {
      s->fail("the gateway has gone silent");
    } else if (s->silence_ends == Clock::time_point::max() && now >= s->heard + s->heartbeat) {
      s->silence_ends = now + s->heartbeat;
      send(s.get(), [](proto::Writer& w) { encode(w, proto::Ping{0}); });
    }
  }
  reap();
}

void Engine::end_all() {
  while (!calls_.empty()) {
    const CallPtr c = calls_.begin()->second;
    fail(c, Code::unavailable, c->handed ? Outcome::unknown : Outcome::not_sent,
         "the client was closed");
  }
  current_ = nullptr;
  sessions_.clear();
}

}  // namespace headgate::detail
