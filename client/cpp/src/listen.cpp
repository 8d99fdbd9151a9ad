// The parts of a listen stream, as notifications.
#include "headgate/listen.hpp"

#include "engine.hpp"
#include "headgate/sql.hpp"

namespace headgate {
namespace {

// Parts that may come ahead of the reader. While nothing is notified one comes every few seconds,
// so this is also how long a program may be busy with one notification.
constexpr std::uint32_t kCredit = 256;

}  // namespace

Listener::Listener(std::shared_ptr<detail::Call> call) : call_(call), stream_(std::move(call)) {
  // The first part says that the channels are listened to; the call's timeout bounds it.
  while (!take(std::chrono::hours(1))) {
  }
}

bool Listener::take(Millis time) {
  bool end = false;
  const std::optional<Bytes> piece = stream_.next_within(time, &end);
  if (!piece.has_value()) {
    if (!end || closed()) return false;
    stream_.reply().throw_unless_ok();  // again, when it has been told already
    throw Error(Code::internal, Outcome::unknown, "the gateway ended a subscription with ok");
  }
  notes_.clear();
  at_ = 0;
  const msgpack::object_handle h = detail::parse(*piece);
  detail::read_rows(h.get(), &notes_);
  return true;
}

std::optional<Notification> Listener::next() {
  while (!closed()) {
    if (at_ < notes_.size()) return std::move(notes_[at_++]);
    take(std::chrono::hours(1));
  }
  return std::nullopt;
}

std::optional<Notification> Listener::next_within(Millis time) {
  const auto until = detail::Clock::now() + time;
  while (!closed()) {
    if (at_ < notes_.size()) return std::move(notes_[at_++]);
    const auto left = std::chrono::ceil<Millis>(until - detail::Clock::now());
    if (!take(std::max(left, Millis(0))) && detail::Clock::now() >= until) break;
  }
  return std::nullopt;
}

void Listener::run(const std::function<void(const Notification&)>& f) {
  while (const std::optional<Notification> n = next()) f(*n);
}

void Listener::close() {
  {
    const std::lock_guard lock(call_->mutex);
    if (std::exchange(call_->abandoned, true)) return;
    call_->changed.notify_all();
    if (call_->done) return;
  }
  call_->engine->forget(call_);
}

bool Listener::closed() const {
  const std::lock_guard lock(call_->mutex);
  return call_->abandoned;
}

Listener Sql::listen(const std::vector<std::string>& channels) const {
  CallOptions o = options_;
  o.tx = 0;
  if (o.credit == 0) o.credit = kCredit;
  auto call = engine_->make(detail::Call::Kind::stream, store_, "listen",
                            pack(Doc("channels", channels)), o);
  engine_->submit(call);
  return Listener(std::move(call));
}

void Sql::notify(std::string_view channel, std::string_view payload) const {
  execute("select pg_notify($1, $2)", channel, payload);
}

}  // namespace headgate
