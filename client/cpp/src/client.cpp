// The handles: Client, Pending, Stream, Upload, Reply and Error.
#include "headgate/client.hpp"

#include "call.hpp"
#include "engine.hpp"

namespace headgate {
namespace {

std::string sentence(Code code, const ReplyMeta& m) {
  std::string s(name(code));
  if (!m.message.empty()) s += ": " + m.message;
  return s + " (" + std::string(name(m.outcome)) + ")";
}

ReplyMeta meta_with(Outcome outcome, std::string message) {
  ReplyMeta m;
  m.outcome = outcome;
  m.message = std::move(message);
  return m;
}

std::vector<std::uint8_t> copy(Bytes b) { return {b.begin(), b.end()}; }

// Ends a call whose handle goes away before its end.
void abandon(const std::shared_ptr<detail::Call>& call) {
  if (call == nullptr) return;
  {
    const std::lock_guard lock(call->mutex);
    if (call->done) return;
  }
  call->engine->forget(call);
}

void ask_to_cancel(const std::shared_ptr<detail::Call>& call) {
  {
    const std::lock_guard lock(call->mutex);
    if (call->done) return;
  }
  call->engine->cancel(call);
}

}  // namespace

Error::Error(Code code, ReplyMeta meta)
    : std::runtime_error(sentence(code, meta)), code_(code), meta_(std::move(meta)) {}

Error::Error(Code code, Outcome outcome, std::string message)
    : Error(code, meta_with(outcome, std::move(message))) {}

void Reply::throw_unless_ok() const {
  if (!ok()) throw Error(code, meta);
}

Reply Pending::wait() {
  std::unique_lock lock(call_->mutex);
  call_->changed.wait(lock, [&] { return call_->done; });
  return std::move(call_->reply);
}

bool Pending::wait_for(Millis time) const {
  std::unique_lock lock(call_->mutex);
  return call_->changed.wait_for(lock, time, [&] { return call_->done; });
}

void Pending::cancel() { ask_to_cancel(call_); }
std::uint64_t Pending::id() const { return call_->id; }

Stream& Stream::operator=(Stream&& o) noexcept {
  if (this != &o) {
    abandon(call_);
    call_ = std::move(o.call_);
    piece_ = std::move(o.piece_);
    ended_ = o.ended_;
  }
  return *this;
}

Stream::~Stream() { abandon(call_); }

std::optional<Bytes> Stream::next() {
  for (bool end = false;;) {
    const std::optional<Bytes> b = next_within(std::chrono::hours(1), &end);
    if (b.has_value() || end) return b;
  }
}

std::optional<Bytes> Stream::next_within(Millis time, bool* end) {
  *end = ended_;
  if (ended_) return std::nullopt;
  std::unique_lock lock(call_->mutex);
  if (!call_->changed.wait_for(
          lock, time, [&] { return call_->done || call_->abandoned || !call_->pieces.empty(); }))
    return std::nullopt;
  if (call_->abandoned) {
    *end = ended_ = true;
    return std::nullopt;
  }
  if (!call_->pieces.empty()) {
    detail::Call::Piece p = std::move(call_->pieces.front());
    call_->pieces.pop_front();
    ++call_->taken;
    std::uint64_t grant = 0;
    const std::uint64_t window = call_->options.credit != 0 ? call_->options.credit : 4;
    if (!call_->done && call_->granted - call_->taken <= window / 2)
      grant = call_->granted = call_->taken + window;
    lock.unlock();
    if (grant != 0) call_->engine->credit(call_, grant);
    piece_ = std::move(p.frame);
    return Bytes(piece_).subspan(p.body_at);
  }
  ended_ = true;
  call_->reply.throw_unless_ok();
  const Bytes rest = call_->reply.body();
  if (!rest.empty() && rest[0] != proto::kNilBody[0]) return rest;
  *end = true;
  return std::nullopt;
}

const Reply& Stream::reply() const { return call_->reply; }
void Stream::cancel() { ask_to_cancel(call_); }
std::uint64_t Stream::id() const { return call_->id; }

Upload& Upload::operator=(Upload&& o) noexcept {
  if (this != &o) {
    abandon(call_);
    call_ = std::move(o.call_);
  }
  return *this;
}

Upload::~Upload() { abandon(call_); }

void Upload::send(Bytes piece) {
  constexpr std::size_t kHead = 32;
  if (piece.size() + kHead > call_->engine->limits().message_max)
    throw Error(Code::too_large, Outcome::rolled_back,
                "a piece of an upload has " + std::to_string(piece.size()) + " bytes: send less");
  std::unique_lock lock(call_->mutex);
  call_->changed.wait(lock,
                      [&] { return call_->done || call_->upload_sent < call_->upload_credit; });
  if (call_->done) {
    call_->reply.throw_unless_ok();
    throw Error(Code::invalid, Outcome::applied, "the upload has ended");
  }
  const std::uint64_t seq = ++call_->upload_sent;
  lock.unlock();
  call_->engine->data(call_, seq, false, copy(piece));
}

Reply Upload::finish() {
  std::unique_lock lock(call_->mutex);
  call_->changed.wait(lock,
                      [&] { return call_->done || call_->upload_sent < call_->upload_credit; });
  if (!call_->done) {
    const std::uint64_t seq = ++call_->upload_sent;
    lock.unlock();
    call_->engine->data(call_, seq, true, {proto::kNilBody[0]});
    lock.lock();
    call_->changed.wait(lock, [&] { return call_->done; });
  }
  call_->reply.throw_unless_ok();
  return std::move(call_->reply);
}

void Upload::cancel() { ask_to_cancel(call_); }
std::uint64_t Upload::id() const { return call_->id; }

Client::Client(ConnectOptions options) {
  std::vector<detail::Address> addresses = detail::addresses(options.url, options.key_file);
  engine_ = std::make_shared<detail::Engine>(std::move(options), std::move(addresses));
  engine_->connect();
}

Client::Client(std::string_view url) : Client(ConnectOptions{.url = std::string(url)}) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&& o) noexcept {
  if (this != &o) {
    if (engine_ != nullptr) engine_->close();
    engine_ = std::move(o.engine_);
  }
  return *this;
}
Client::~Client() {
  if (engine_ != nullptr) engine_->close();
}

Reply Client::call(std::string_view store, std::string_view verb, Bytes body,
                   const CallOptions& options) {
  return engine_->run(engine_->make(detail::Call::Kind::plain, store, verb, copy(body), options));
}

std::future<Reply> Client::call_async(std::string_view store, std::string_view verb, Bytes body,
                                      const CallOptions& options) {
  auto call = engine_->make(detail::Call::Kind::plain, store, verb, copy(body), options);
  std::future<Reply> f = call->promise.emplace().get_future();
  engine_->submit(std::move(call));
  return f;
}

Pending Client::call_async(std::string_view store, std::string_view verb, Bytes body,
                           const CallOptions& options, Callback callback) {
  auto call = engine_->make(detail::Call::Kind::plain, store, verb, copy(body), options);
  call->callback = std::move(callback);
  engine_->submit(call);
  return Pending(std::move(call));
}

Pending Client::start(std::string_view store, std::string_view verb, Bytes body,
                      const CallOptions& options) {
  auto call = engine_->make(detail::Call::Kind::plain, store, verb, copy(body), options);
  engine_->submit(call);
  return Pending(std::move(call));
}

Stream Client::stream(std::string_view store, std::string_view verb, Bytes body,
                      const CallOptions& options) {
  auto call = engine_->make(detail::Call::Kind::stream, store, verb, copy(body), options);
  engine_->submit(call);
  return Stream(std::move(call));
}

Upload Client::upload(std::string_view store, std::string_view verb, Bytes body,
                      const CallOptions& options) {
  auto call = engine_->make(detail::Call::Kind::upload, store, verb, copy(body), options);
  engine_->submit(call);
  return Upload(std::move(call));
}

Sql Client::sql(std::string_view store) { return {engine_, std::string(store)}; }
Documents Client::documents(std::string_view store) { return {engine_, std::string(store)}; }
KeyValue Client::key_value(std::string_view store) { return {engine_, std::string(store)}; }

std::vector<StoreInfo> Client::stores() const { return engine_->stores(); }
GatewayLimits Client::limits() const {
  const proto::Limits l = engine_->limits();
  return {l.message_max,    l.reply_max,  l.part_max,  l.depth_max,         l.elements_max,
          l.timeout_ms_max, l.credit_max, l.fetch_max, l.calls_per_peer_max};
}
std::string Client::address() const { return engine_->address(); }
int Client::event_fd() const { return engine_->event_fd(); }
std::size_t Client::process() { return engine_->process(); }

}  // namespace headgate
