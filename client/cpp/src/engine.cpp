// The thread's loop, and what becomes of calls.
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

// How long past its timeout a call waits for the daemon's own word.
constexpr milliseconds kGrace{500};
// How long a daemon that answered nothing to an expired call has for a ping.
constexpr milliseconds kSuspicion{2'000};

std::uint64_t monotonic_us() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
          .count());
}

void signal_fd(int fd) {
  const std::uint64_t one = 1;
  (void)!::write(fd, &one, sizeof one);
}

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

milliseconds patience(const Call& c) {
  return milliseconds(std::max(c.timeout_ms, c.wait_ms + (c.wait_ms != 0 ? 1'000u : 0u))) + kGrace;
}

}  // namespace

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
      case Command::Do::submit: admit(c.call); break;
      case Command::Do::cancel: stop(c.call); break;
      case Command::Do::forget:
        if (!alive(c.call)) break;
        c.call->window = 0;
        stop(c.call);
        break;
      case Command::Do::credit:
        if (alive(c.call) && c.call->handed)
          send(c.call->session, [&](proto::Writer& w) {
            encode(w, proto::Credit{c.call->id, c.seq});
          });
        break;
      case Command::Do::data: upload_piece(c); break;
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

bool Engine::alive(const CallPtr& call) const { return calls_.contains(call->id); }

void Engine::admit(const CallPtr& call) {
  calls_.emplace(call->id, call);
  call->submitted = Clock::now();
  expire_at(call, call->submitted + patience(*call));
  route(call);
}

void Engine::expire_at(const CallPtr& call, Clock::time_point when) {
  if (call->expires != Clock::time_point::max()) expiries_.erase({call->expires, call->id});
  call->expires = when;
  if (when != Clock::time_point::max()) expiries_.insert({when, call->id});
}

void Engine::route(const CallPtr& call) {
  if (call->options.tx != 0) {
    const auto tx = txs_.find(call->options.tx);
    if (tx == txs_.end()) {
      fail(call, Code::transaction_expired, Outcome::rolled_back,
           "the transaction is not open on any connection of this client");
    } else if (tx->second.busy) {
      tx->second.waiting.push_back(call);
    } else {
      tx->second.busy = true;
      hand(call, tx->second.session);
    }
  } else if (current_ != nullptr && current_->state == Session::State::ready) {
    hand(call, current_);
  } else {
    waiting_.push_back(call);
  }
}

void Engine::hand(const CallPtr& call, Session* session) {
  const auto waited = std::chrono::duration_cast<milliseconds>(Clock::now() - call->submitted);
  const std::int64_t left = std::int64_t{call->timeout_ms} - waited.count();
  proto::Request r;
  r.id = call->id;
  r.sent_us = monotonic_us();
  r.store = call->store;
  r.verb = call->verb;
  r.body = call->body;
  r.options.timeout_ms = static_cast<std::uint32_t>(std::max<std::int64_t>(1, left));
  r.options.read_only = call->options.read_only;
  r.options.idempotent = call->options.idempotent;
  r.options.key = call->options.key;
  r.options.tx = call->options.tx;
  r.options.fetch = call->options.fetch;
  r.options.trace = call->options.trace;
  if (call->window != 0) r.options.credit = call->window;
  proto::VectorOut out(call->body.size() + proto::kRequestHeadMax);
  proto::Writer w(&out);
  encode(w, r);
  if (out.size() > session->limits.message_max) {
    fail(call, Code::too_large, Outcome::not_sent,
         "the request has " + std::to_string(out.size()) + " bytes, the gateway takes " +
             std::to_string(session->limits.message_max));
    return;
  }
  if (call->verb == "begin") txs_[call->id] = Tx{session, true, {}};
  if (!session->send(out.view())) {
    // Not handed over: it goes to the next address, unless it belongs to this one.
    txs_.erase(call->id);
    if (call->options.tx == 0) waiting_.push_back(call);
    else fail(call, Code::transaction_expired, Outcome::rolled_back, "the connection was lost");
    return;
  }
  call->handed = true;
  call->session = session;
  ++session->calls;
  // An upload's time starts at its last piece.
  if (call->kind == Call::Kind::upload) expire_at(call, Clock::time_point::max());
}

void Engine::expire(const CallPtr& call, Clock::time_point now) {
  if (!call->handed) {
    fail(call, Code::deadline, Outcome::not_sent,
         failure_.text.empty() ? "no gateway could be reached in time"
                               : "no gateway could be reached in time: " + failure_.text);
    return;
  }
  Session* s = call->session;
  send(s, [&](proto::Writer& w) { encode(w, proto::Cancel{call->id}); });
  // Nothing at all since this call was handed over: the daemon may be stopped. Ask, with less
  // patience than for an idle one.
  if (s->heard < call->submitted && s->silence_ends == Clock::time_point::max()) {
    s->silence_ends = now + std::min<milliseconds>(s->heartbeat, kSuspicion);
    send(s, [](proto::Writer& w) { encode(w, proto::Ping{0}); });
  }
  fail(call, Code::deadline, Outcome::unknown, "no answer came in time");
}

void Engine::stop(const CallPtr& call) {
  if (!alive(call)) return;
  if (!call->handed) {
    fail(call, Code::cancelled, Outcome::not_sent, "cancelled before it was sent");
    return;
  }
  send(call->session, [&](proto::Writer& w) { encode(w, proto::Cancel{call->id}); });
  // The gateway answers; should it not, this side does.
  const Clock::time_point end = Clock::now() + patience(*call);
  if (call->expires > end) expire_at(call, end);
}

void Engine::upload_piece(const Command& c) {
  if (!alive(c.call) || !c.call->handed) return;
  send(c.call->session, [&](proto::Writer& w) {
    encode(w, proto::Data{c.call->id, c.seq, c.last, c.piece});
  });
  if (!c.last) return;
  c.call->last_sent = true;
  if (alive(c.call)) expire_at(c.call, Clock::now() + patience(*c.call));
}

void Engine::complete(const CallPtr& call, Reply reply) {
  if (calls_.erase(call->id) == 0) return;
  expire_at(call, Clock::time_point::max());
  if (call->session != nullptr) --call->session->calls;
  call->session = nullptr;
  const Code code = reply.code;
  reply.id = call->id;
  deliver(call, std::move(reply));
  release_tx(*call, code);
}

void Engine::deliver(const CallPtr& call, Reply reply) {
  if (call->callback) {
    if (options_.deliver == Deliver::thread) {
      call->callback(std::move(reply));
    } else {
      const std::lock_guard lock(mutex_);
      due_.emplace_back(std::move(call->callback), std::move(reply));
      signal_fd(due_fd_);
    }
    call->callback = nullptr;
    reply = Reply(Code::internal, {});
  } else if (call->promise.has_value()) {
    if (reply.ok()) call->promise->set_value(std::move(reply));
    else call->promise->set_exception(std::make_exception_ptr(Error(reply.code, reply.meta)));
    reply = Reply(Code::internal, {});
  }
  const std::lock_guard lock(call->mutex);
  call->reply = std::move(reply);
  call->done = true;
  call->changed.notify_all();
}

void Engine::fail(const CallPtr& call, Code code, Outcome outcome, std::string text) {
  ReplyMeta m;
  m.outcome = outcome;
  m.message = std::move(text);
  m.retryable =
      outcome == Outcome::not_sent && (code == Code::unavailable || code == Code::draining);
  complete(call, Reply(code, std::move(m)));
}

// A call of a transaction has ended: the next one of it goes out.
void Engine::release_tx(const Call& call, Code code) {
  if (call.verb == "begin") {
    const auto tx = txs_.find(call.id);
    if (tx == txs_.end()) return;
    tx->second.busy = false;
    if (code != Code::ok) drop_tx(call.id);
    return;
  }
  if (call.options.tx == 0) return;
  const auto tx = txs_.find(call.options.tx);
  if (tx == txs_.end()) return;
  const bool over = code == Code::transaction_expired ||
                    ((call.verb == "commit" || call.verb == "rollback") && call.handed);
  if (over) {
    drop_tx(call.options.tx);
    return;
  }
  if (!call.handed) return;  // it never had the turn
  tx->second.busy = false;
  while (!tx->second.waiting.empty()) {
    const CallPtr next = tx->second.waiting.front();
    tx->second.waiting.pop_front();
    if (!alive(next)) continue;
    tx->second.busy = true;
    hand(next, tx->second.session);
    return;
  }
}

void Engine::drop_tx(std::uint64_t id) {
  const auto tx = txs_.find(id);
  if (tx == txs_.end()) return;
  const std::deque<CallPtr> waiting = std::move(tx->second.waiting);
  txs_.erase(tx);
  for (const CallPtr& c : waiting)
    if (alive(c))
      fail(c, Code::transaction_expired, Outcome::rolled_back, "the transaction has ended");
}

}  // namespace headgate::detail
