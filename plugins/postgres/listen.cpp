// LISTEN and UNLISTEN out, notifications in, parts to whoever subscribed.
#include "plugins/postgres/listen.hpp"

#include "plugins/postgres/driver.hpp"

namespace headgate::postgres {
namespace {

constexpr std::size_t kChannelBytesMax = 63;  // the server cuts longer names

void write_part(proto::Writer& w, bool first) {
  w.map(first ? 2 : 1);
  if (!first) return;
  w.str("columns");
  w.array(3);
  const std::pair<const char*, const char*> columns[] = {
      {"channel", "text"}, {"payload", "text"}, {"pid", "int4"}};
  for (const auto& [name, type] : columns) {
    w.array(5);
    w.str(name);
    w.str(type);
    w.boolean(false);
    w.nil();
    w.nil();
  }
}

sdk::Error gone() {
  return {sdk::Code::cancelled, sdk::Outcome::applied, "the subscription was given up"};
}

}  // namespace

std::vector<std::string> read_channels(proto::Bytes body) {
  const sdk::Fields f("listen", body, {"channels"});
  proto::Cursor c = f.at("channels");
  const std::uint32_t n = c.read_array();
  std::vector<std::string> out;
  if (!c.ok() || n == 0 || n > kChannelsMax) throw f.wrong("channels", "a list of 1 to 64 names");
  for (std::uint32_t i = 0; i < n; ++i) {
    const std::string_view name = c.read_str();
    if (!c.ok() || name.empty() || name.size() > kChannelBytesMax ||
        name.find('\0') != std::string_view::npos)
      throw f.wrong("channels", "names of 1 to 63 bytes");
    out.emplace_back(name);
  }
  return out;
}

ListenConnection::ListenConnection(PostgresDriver& driver, const hg_connect& connect,
                                   Session session)
    : PgConnection(driver, connect, std::move(session)) {}

ListenConnection::~ListenConnection() { die("the connection was closed"); }

void ListenConnection::submit(const hg_call* const* calls, std::uint32_t n) {
  const std::lock_guard lock(mutex_);
  for (std::uint32_t i = 0; i < n; ++i) {
    if (dead()) {
      const sdk::Error e = lost(wire::Where::unsent);
      sdk::complete(host_, calls[i]->op, {.connection = HG_CONN_BROKEN}, &e);
      continue;
    }
    try {
      subscribe(*calls[i]);
    } catch (const sdk::Error& e) {
      sdk::complete(host_, calls[i]->op, {}, &e);
    }
  }
  drop_channels();
  pump();
  arm_keepalive();
}

void ListenConnection::subscribe(const hg_call& call) {
  Subscriber s;
  for (const std::string& name : read_channels(sdk::bytes(call.body))) {
    if (!s.channels.insert(name).second) continue;
    // Each asks anew: LISTEN twice does no harm, and its answer is this subscriber's own.
    ++channels_[name];
    ++s.unconfirmed;
    wire::query(out_, "LISTEN " + quoted(name));
    ask({.op = call.op, .listens = true});
  }
  s.fetch = std::max<std::uint64_t>(1, call.fetch);
  subscribers_.emplace(call.op, std::move(s));
}

void ListenConnection::ask(Asked a) {
  if (asked_.empty()) owed_since_ = now();
  pings_ += a.pings ? 1 : 0;
  asked_.push(a);
}

// Names that nobody wants any more. REQUIRES: the lock.
void ListenConnection::drop_channels() {
  for (const std::string& name : std::exchange(unused_, {})) {
    if (channels_.contains(name)) continue;  // wanted again meanwhile
    wire::query(out_, "UNLISTEN " + quoted(name));
    ask({});
  }
}

void ListenConnection::message(const wire::Message& m) {
  owed_since_ = tick();
  if (asked_.empty()) {
    if (m.tag == wire::Tag::error_response)
      return die(wire::clean_text(wire::read_notice(m.payload).message));
    return die("the server spoke unasked");
  }
  if (m.tag == wire::Tag::command_complete) return;
  if (m.tag == wire::Tag::error_response) {
    const wire::Notice n = wire::read_notice(m.payload);
    const wire::Verdict v = wire::judge(n, {.where = wire::Where::statement});
    error_.emplace(wire::error_of(v, n));
    if (n.fatal()) die(error_->message);
    return;
  }
  if (m.tag != wire::Tag::ready_for_query)
    return die("the server sent a message that was not asked for");
  const Asked a = asked_.pop();
  const std::optional<sdk::Error> error = std::exchange(error_, std::nullopt);
  if (a.pings) {
    --pings_;
    return sdk::complete(host_, a.op, {});
  }
  if (!a.listens) return;
  const std::lock_guard lock(mutex_);
  const auto it = subscribers_.find(a.op);
  if (it == subscribers_.end()) return;
  if (error) return end(a.op, *error);
  if (--it->second.unconfirmed > 0) return;
  // All channels are listened to: the first part says so.
  sdk::Sink sink(host_, a.op);
  proto::Writer w(&sink);
  write_part(w, true);
  w.str("rows");
  w.array(0);
  it->second.sent_us = tick();
  const int flow = w.ok() ? sink.flush_part() : HG_STOP;
  if (flow == HG_STOP) return end(a.op, gone());
  it->second.waits = flow == HG_WAIT;
}

void ListenConnection::notification(const wire::Notification& n) {
  owed_since_ = tick();
  const std::lock_guard lock(mutex_);
  const bool text = proto::valid_utf8(n.channel) && proto::valid_utf8(n.payload);
  if (!text) return die("the server sent a notification that is not UTF-8");
  proto::VectorOut out(n.channel.size() + n.payload.size() + 16);
  proto::Writer w(&out);
  w.array(3);
  w.str(n.channel);
  w.str(n.payload);
  w.sint(n.pid);
  const auto row =
      std::make_shared<const std::vector<std::uint8_t>>(out.view().begin(), out.view().end());
  for (auto it = subscribers_.begin(); it != subscribers_.end();) {
    const hg_op op = it->first;
    Subscriber& s = it->second;
    ++it;  // it may end
    if (!s.channels.contains(n.channel) || s.unconfirmed > 0) continue;
    if (s.backlog_bytes + row->size() + kNoteBytes > kBacklogBytesMax) {
      end(op, {sdk::Code::overloaded, sdk::Outcome::applied,
               "the subscriber is too slow: notifications would be lost"});
      continue;
    }
    s.backlog.push_back(row);
    s.backlog_bytes += row->size() + kNoteBytes;
    if (!s.waits && (s.backlog.size() >= s.fetch || s.backlog_bytes >= driver_.part_max()))
      send(op, s);
  }
}

// What this turn brought leaves at its end: one part for each subscriber, not one a notification.
void ListenConnection::io(std::uint32_t events) {
  PgConnection::io(events);
  const std::lock_guard lock(mutex_);
  for (auto it = subscribers_.begin(); it != subscribers_.end();) {
    const hg_op op = it->first;
    Subscriber& s = it->second;
    ++it;  // it may end
    if (!s.waits && !s.backlog.empty()) send(op, s);
  }
}

// REQUIRES: the lock.
void ListenConnection::send(hg_op op, Subscriber& s) {
  do {
    std::size_t rows = 0, bytes = 0;
    while (rows < s.backlog.size() && rows < s.fetch &&
           (rows == 0 || bytes + s.backlog[rows]->size() <= driver_.part_max()))
      bytes += s.backlog[rows++]->size();
    sdk::Sink sink(host_, op);
    proto::Writer w(&sink);
    write_part(w, false);
    w.str("rows");
    w.array(static_cast<std::uint32_t>(rows));
    for (; rows > 0; --rows) {
      w.raw(*s.backlog.front());
      s.backlog_bytes -= s.backlog.front()->size() + kNoteBytes;
      s.backlog.pop_front();
    }
    s.sent_us = now();
    const int flow = w.ok() ? sink.flush_part() : HG_STOP;
    if (flow == HG_STOP) return end(op, gone());
    s.waits = flow == HG_WAIT;
  } while (!s.waits && !s.backlog.empty());
}

// REQUIRES: the lock.
void ListenConnection::end(hg_op op, const sdk::Error& e) {
  const auto it = subscribers_.find(op);
  if (it == subscribers_.end()) return;
  for (const std::string& name : it->second.channels) {
    const auto c = channels_.find(name);
    if (c == channels_.end() || --c->second > 0) continue;
    channels_.erase(c);
    unused_.push_back(name);
  }
  subscribers_.erase(it);
  sdk::complete(host_, op, {}, &e);
}

void ListenConnection::timer() {
  if (dead()) return;
  const std::lock_guard lock(mutex_);
  const std::uint64_t at = now();
  const std::uint64_t owed = asked_.empty() || at < owed_since_ ? 0 : at - owed_since_;
  if (owed >= static_cast<std::uint64_t>(driver_.options().stall_ms) * 1000)
    return die("the server said nothing for too long");
  for (auto it = subscribers_.begin(); it != subscribers_.end();) {
    const hg_op op = it->first;
    Subscriber& s = it->second;
    ++it;
    if (s.unconfirmed > 0 || s.waits || at < s.sent_us + kKeepaliveUs) continue;
    if (owed >= kKeepaliveUs) continue;  // it would say that the server is there
    send(op, s);
  }
  drop_channels();
  if (asked_.empty() && !subscribers_.empty()) {
    wire::sync(out_);
    ask({});
  }
  pump();
  keepalive_at_ = 0;
  arm_keepalive();
}

// REQUIRES: the lock.
void ListenConnection::arm_keepalive() {
  if (dead() || keepalive_at_ != 0) return;
  if (subscribers_.empty() && unused_.empty() && asked_.empty()) return;
  keepalive_at_ = now() + kKeepaliveUs / 2;
  host_->timer(host_, id_, keepalive_at_);
}

void ListenConnection::resume(hg_op op) {
  const std::lock_guard lock(mutex_);
  const auto it = subscribers_.find(op);
  if (it == subscribers_.end() || dead()) return;
  it->second.waits = false;
  send(op, it->second);  // also when nothing is kept: it shows whether the caller is still there
}

void ListenConnection::cancel(hg_op op) {
  const std::lock_guard lock(mutex_);
  end(op, gone());
}

void ListenConnection::ended(const std::string&) {
  const std::lock_guard lock(mutex_);
  while (!asked_.empty()) {
    const Asked a = asked_.pop();
    if (!a.pings) continue;
    --pings_;
    const sdk::Error e = lost(wire::Where::unsent);
    sdk::complete(host_, a.op, {.connection = HG_CONN_BROKEN}, &e);
  }
  sdk::Error e(sdk::Code::unavailable, sdk::Outcome::applied,
               "the subscription ended with its connection: " + why_dead());
  e.retry = HG_RETRY_NEW_CONNECTION;
  for (const auto& [op, s] : std::exchange(subscribers_, {}))
    sdk::complete(host_, op, {.connection = HG_CONN_BROKEN}, &e);
  channels_.clear();
}

void ListenConnection::reset(hg_op op) { sdk::complete(host_, op, {}); }

void ListenConnection::ping(hg_op op) {
  if (dead()) {
    const sdk::Error e = lost(wire::Where::unsent);
    return sdk::complete(host_, op, {.connection = HG_CONN_BROKEN}, &e);
  }
  wire::sync(out_);
  ask({.op = op, .pings = true});
  pump();
  arm_keepalive();
}

}  // namespace headgate::postgres
