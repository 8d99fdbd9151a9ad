// The session's bytes: one write a turn, messages straight from the receive buffer.
#include "plugins/postgres/connection.hpp"

#include <algorithm>

#include "plugins/postgres/driver.hpp"
#include "plugins/postgres/wire/fault.hpp"

namespace headgate::postgres {
namespace {

// A turn's share, so that one busy connection does not hold the loop.
constexpr int kReadsMax = 16;
constexpr std::uint64_t kReadUs = 2000;

}  // namespace

PgConnection::PgConnection(PostgresDriver& driver, const hg_connect& connect, Session session)
    : driver_(driver),
      host_(driver.host()),
      id_(connect.id),
      read_only_(connect.access == HG_ACCESS_READ),
      session_(std::move(session)),
      prepared_(static_cast<std::size_t>(driver.options().statements_max)),
      transport_(session_.fd, session_.ssl) {}

PgConnection::~PgConnection() = default;

std::uint64_t PgConnection::now() const { return host_->now_us(host_); }

void PgConnection::attach() {
  tick_us_ = heard_us_ = now();
  watch();
}

void PgConnection::io(std::uint32_t events) {
  if (dead_) return;
  tick_us_ = now();
  if ((events & HG_IO_READ) != 0 || transport_.read_wants_write()) read_all();
  if (!dead_) pump();
}

void PgConnection::timer() {
  armed_ = 0;
  if (dead_) return;
  tick_us_ = now();
  if (busy() && !paused_ && patience_us() > 0 && tick_us_ >= heard_us_ + patience_us())
    return die("the server said nothing for too long");
  if (const std::uint64_t at = look_at(); busy() && at != 0 && tick_us_ >= at) look();
  arm();
}

void PgConnection::go_on() {
  if (!paused_ || dead_) return;
  paused_ = false;
  heard_us_ = tick_us_ = now();
  if (draining_) return;  // called from inside a message: the loop there goes on
  try {
    if (!drain()) return;
  } catch (const wire::ProtocolFault& e) {
    return die(std::string("the server broke the protocol: ") + e.what());
  }
  read_all();
  if (!dead_) pump();
}

void PgConnection::read_all() {
  try {
    for (int i = 0; !paused_ && !dead_ && (i < kReadsMax || transport_.has_hidden_bytes()); ++i) {
      const std::span<std::uint8_t> room = in_.room();
      const Transport::Moved r = transport_.read(room);
      if (r.state == Transport::State::blocked) break;
      if (r.state == Transport::State::ended) return die(transport_.why());
      heard_us_ = tick_us_;
      in_.received(r.n);
      if (!drain()) return;
      if (transport_.has_hidden_bytes()) continue;  // nothing would announce them
      if (r.n < room.size() && !transport_.encrypted()) break;
      if (i > 0 && now() > tick_us_ + kReadUs) break;
    }
  } catch (const wire::ProtocolFault& e) {
    die(std::string("the server broke the protocol: ") + e.what());
  }
}

bool PgConnection::drain() {
  draining_ = true;
  wire::Message m;
  try {
    while (!dead_ && !paused_ && in_.next(&m)) {
      switch (m.tag) {
        case wire::Tag::notice_response:
        case wire::Tag::parameter_status:
        case wire::Tag::notification_response:
          own_message(m);
          break;
        default:
          message(m);
      }
    }
  } catch (...) {
    draining_ = false;
    throw;
  }
  draining_ = false;
  return !dead_ && !paused_;
}

void PgConnection::own_message(const wire::Message& m) {
  if (m.tag == wire::Tag::notification_response)
    return notification(wire::read_notification(m.payload));
  if (m.tag == wire::Tag::notice_response) {
    const wire::Notice n = wire::read_notice(m.payload);
    return notice(n, wire::effect_of(n));
  }
  const wire::ParameterStatus p = wire::read_parameter_status(m.payload);
  // What we rely on: the form of texts, and that a read pool stays one.
  if (p.name == "client_encoding" && p.value != "UTF8")
    return die("a statement changed client_encoding");
  if (p.name == "standard_conforming_strings" && p.value != "on")
    return die("a statement changed standard_conforming_strings");
  if (read_only_ && p.name == "default_transaction_read_only" && p.value != "on")
    return die("a statement lifted the read-only setting of a connection that may only read");
}

void PgConnection::pump() {
  while (!dead_ && (!out_.empty() || feed())) {
    const proto::Bytes b = out_.view();
    if (b.empty()) break;
    const Transport::Moved r = transport_.write(b);
    if (r.state == Transport::State::ended) return die(transport_.why());
    if (r.state == Transport::State::blocked) {
      if (transport_.encrypted()) handed_ = sent_ + b.size();
      break;
    }
    sent_ += r.n;
    handed_ = std::max(handed_, sent_);
    out_.consumed(r.n);
  }
  watch();
}

void PgConnection::expect() {
  heard_us_ = tick_us_ = now();
  if (armed_ == 0) arm();
}

void PgConnection::die(const std::string& why) {
  if (dead_) return;
  dead_ = true;
  why_ = why;
  const bool was_busy = busy();
  host_->watch(host_, id_, transport_.fd(), 0);
  host_->timer(host_, id_, 0);
  ended(why);
  if (was_busy) return;
  hg_error e{};
  const sdk::Error error = lost(wire::Where::idle);
  error.fill(&e);
  host_->lost(host_, id_, &e);
}

sdk::Error PgConnection::lost(wire::Where where, bool in_transaction) const {
  wire::Situation s;
  s.where = where;
  s.in_transaction = in_transaction;
  s.read_pool = read_only_;
  return wire::error_of_lost(wire::judge_lost(s), why_);
}

void PgConnection::watch() {
  if (dead_) return;
  const bool writes = !out_.empty() || transport_.read_wants_write();
  const std::uint32_t wanted = (paused_ ? 0u : static_cast<std::uint32_t>(HG_IO_READ)) |
                               (writes ? static_cast<std::uint32_t>(HG_IO_WRITE) : 0u);
  if (wanted == watched_) return;
  watched_ = wanted;
  host_->watch(host_, id_, transport_.fd(), wanted);
}

// One timer for silence and for look(): set when it is needed, and moved only when it has rung too
// early.
void PgConnection::arm() {
  const std::uint64_t patience = patience_us();
  std::uint64_t at = busy() && !paused_ && patience > 0 ? heard_us_ + patience : 0;
  if (const std::uint64_t look = busy() ? look_at() : 0; look != 0)
    at = at == 0 ? look : std::min(at, look);
  if (at == armed_) return;
  armed_ = at;
  host_->timer(host_, id_, at);
}

}  // namespace headgate::postgres
