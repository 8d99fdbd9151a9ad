// Reading bodies and waiting; see kv_request.hpp.
#include "plugins/sqlite/kv_request.hpp"

#include <algorithm>
#include <cmath>

namespace headgate::sqlite {

Bytes read_bytes(proto::Cursor& c) {
  const proto::Item it = c.next();
  if (it.type != proto::Type::str && it.type != proto::Type::bin) c.fail();
  return it.bytes;
}

void read(proto::Cursor& c, Pair& out) {
  if (c.peek() != proto::Type::array || c.read_array() != 2) c.fail();
  out.first = read_bytes(c);
  out.second = read_bytes(c);
}

void read(proto::Cursor& c, Scored& out) {
  if (c.peek() != proto::Type::array || c.read_array() != 2) c.fail();
  out.score = c.read_float();
  if (out.score == 0) out.score = 0;  // -0 and 0 are one score
  out.member = read_bytes(c);
  if (std::isnan(out.score)) c.fail();
}

template <class T, class Check>
Items<T> Request::items(const Fields& f, std::string_view field, std::string_view what,
                        Check&& check) const {
  proto::Cursor c = f.at(field);
  if (c.peek() != proto::Type::array) throw f.wrong(field, what);
  const std::uint32_t n = c.read_array();
  const proto::Cursor first = c;
  for (std::uint32_t i = 0; i < n; ++i) {
    T item{};
    read(c, item);
    if (!c.ok()) throw f.wrong(field, what);
    check(item);
  }
  if (!c.ok()) throw f.wrong(field, what);
  return {first, n};
}

void Request::check_name(Bytes name, std::string_view what) const {
  if (name.size() > kKvKeyMax)
    throw sdk::Error(sdk::Code::too_large, sdk::Outcome::not_sent,
                     std::string(verb_) + ": a " + std::string(what) + " of " +
                         std::to_string(name.size()) + " bytes, the limit is " +
                         std::to_string(kKvKeyMax));
}

void Request::check_value(std::size_t size) const {
  if (size > value_max_)
    throw sdk::Error(sdk::Code::too_large,
                     routing() ? sdk::Outcome::not_sent : sdk::Outcome::rejected,
                     std::string(verb_) + ": a value of " + std::to_string(size) +
                         " bytes, the limit is " + std::to_string(value_max_));
}

void Request::touch_key(Bytes key) const {
  if (key.empty()) throw invalid("a key must not be empty");
  check_name(key, "key");
  if (touches_ != nullptr) touches_->touch(verb_, HG_TOUCH_KEY, key);
}

void Request::touch_prefix(Bytes prefix) const {
  check_name(prefix, "prefix");
  if (touches_ != nullptr) touches_->touch(verb_, HG_TOUCH_KEY_PREFIX, prefix);
}

Bytes Request::key(const Fields& f, std::string_view field) const {
  const Bytes k = f.key(field);
  touch_key(k);
  return k;
}

Items<Bytes> Request::key_list(const Fields& f, std::string_view field) const {
  return items<Bytes>(f, field, "a list of keys (strings or bytes)",
                      [&](Bytes k) { touch_key(k); });
}

Items<Pair> Request::key_values(const Fields& f, std::string_view field) const {
  return items<Pair>(f, field, "a list of [key, value] (strings or bytes)", [&](const Pair& p) {
    touch_key(p.first);
    check_value(p.second.size());
  });
}

Bytes Request::value(const Fields& f, std::string_view field) const {
  const Bytes v = f.key(field);
  check_value(v.size());
  return v;
}

std::optional<Bytes> Request::opt_value(const Fields& f, std::string_view field) const {
  if (f.raw(field).empty()) return std::nullopt;
  return value(f, field);
}

Items<Bytes> Request::values(const Fields& f, std::string_view field) const {
  return items<Bytes>(f, field, "a list of values (strings or bytes)",
                      [&](Bytes v) { check_value(v.size()); });
}

Bytes Request::member(const Fields& f, std::string_view field) const {
  const Bytes m = f.key(field);
  check_name(m, field);
  return m;
}

Items<Bytes> Request::members(const Fields& f, std::string_view field) const {
  return items<Bytes>(f, field, "a list of strings or bytes",
                      [&](Bytes m) { check_name(m, "member"); });
}

Items<Pair> Request::field_values(const Fields& f, std::string_view field) const {
  return items<Pair>(f, field, "a list of [field, value] (strings or bytes)", [&](const Pair& p) {
    check_name(p.first, "field");
    check_value(p.second.size());
  });
}

Items<Scored> Request::scored(const Fields& f, std::string_view field) const {
  return items<Scored>(f, field,
                       "a list of [score, member]: a float that is not NaN or an integer between "
                       "-2^53 and 2^53, a string or bytes",
                       [&](const Scored& s) { check_name(s.member, "member"); });
}

Number Request::by(const Fields& f) const {
  if (f.raw("by").empty()) return {false, 1, 1};
  proto::Cursor c = f.at("by");
  const proto::Item it = c.next();
  switch (it.type) {
    case proto::Type::sint:
      return {false, it.sint, 0};
    case proto::Type::uint:
      if (it.uint > static_cast<std::uint64_t>(INT64_MAX)) break;
      return {false, static_cast<std::int64_t>(it.uint), 0};
    case proto::Type::float32:
    case proto::Type::float64:
      if (!std::isfinite(it.real)) break;
      return {true, 0, it.real};
    default:
      break;
  }
  throw f.wrong("by", "an integer of 64 bits or a finite float");
}

std::optional<std::int64_t> Request::opt_ttl(const Fields& f) const {
  const std::optional<std::int64_t> v = f.opt_integer("ttl_ms");
  if (v && (*v <= 0 || *v > kKvTtlMax))
    throw f.wrong("ttl_ms", "between 1 and " + std::to_string(kKvTtlMax));
  return v;
}

std::int64_t Request::ttl(const Fields& f) const {
  static_cast<void>(f.at("ttl_ms"));  // missing is told as missing
  return *opt_ttl(f);
}

std::optional<Expected> Request::if_version(const Fields& f) const {
  if (f.raw("if_version").empty()) return std::nullopt;
  const Bytes token = f.key("if_version");
  if (token.empty()) return Expected{true, 0};
  const std::optional<std::int64_t> v = parse_version(token);
  if (!v) throw f.wrong("if_version", "a version that a read returned, or empty");
  return Expected{false, *v};
}

std::optional<std::int64_t> Request::opt_count(const Fields& f, std::string_view field,
                                               std::int64_t least) const {
  const std::optional<std::int64_t> v = f.opt_integer(field);
  if (v && *v < least) throw f.wrong(field, std::to_string(least) + " or more");
  return v;
}

End Request::end(const Fields& f, std::string_view field) const {
  const std::string_view s = f.str(field);
  if (s == "left") return End::left;
  if (s == "right") return End::right;
  throw f.wrong(field, "`left` or `right`");
}

void Request::check_room() const {
  if (out().ok()) return;
  if (sink().why() == HG_STOP)
    throw sdk::Error(sdk::Code::cancelled, sdk::Outcome::rejected, "nobody waits for the reply");
  throw refused(sdk::Code::too_large,
                "the reply exceeds the store's reply_max: ask for less at once");
}

std::uint64_t Request::digest_of(std::string_view verb) {
  return Waiters::hash(Wanted::list, proto::bytes_of(verb));
}

bool Request::is_first(std::uint64_t hash, std::int64_t wait_ms) const {
  return in_batch() || wait_ms <= 0 ||
         work_->waiters.is_first(hash, call_.received_us, work_->host->now_us(work_->host));
}

void Request::wait(const std::vector<std::uint64_t>& hashes, std::int64_t wait_ms, bool in_line,
                   std::uint32_t poll_ms) const {
  if (in_batch() || wait_ms <= 0) return;
  const std::uint64_t now = work_->host->now_us(work_->host);
  std::uint64_t until = call_.received_us + static_cast<std::uint64_t>(wait_ms) * 1000;
  // The last look must come before the call's own end, which would be an error.
  if (call_.work_until_us != 0)
    until = std::min(until, call_.work_until_us - std::min(kKvWaitMarginUs, call_.work_until_us));
  // Less than a millisecond is no pause that could be asked for.
  if (now + 1000 > until) return;
  sdk::Error e(sdk::Code::not_found, sdk::Outcome::rejected,
               std::string(verb_) + ": nothing is there yet");
  e.retry = HG_RETRY_WAIT;
  e.retry_after_ms = static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>((until - now) / 1000, 1, std::max(poll_ms, 1u)));
  e.wait_token = work_->waiters.note(hashes, in_line ? call_.received_us : 0, now);
  throw e;
}

void reply_int(const Request& q, std::string_view field, std::int64_t v) {
  q.out().map(1);
  q.out().str(field);
  q.out().sint(v);
}

void reply_flag(const Request& q, std::string_view field, bool v) {
  q.out().map(1);
  q.out().str(field);
  q.out().boolean(v);
}

void reply_value(const Request& q, std::string_view field, const std::optional<Bytes>& v) {
  q.out().map(1);
  q.out().str(field);
  if (v)
    q.out().bin(*v);
  else
    q.out().nil();
}

void remove_members(Request& q, ValueType type, std::string_view field, std::string_view sql,
                    std::string_view counted) {
  const Fields f = q.fields({"key", field});
  const Bytes key = q.key(f, "key");
  const Items<Bytes> members = q.members(f, field);
  if (q.routing()) return;
  std::int64_t removed = 0;
  if (std::optional<Collection> c = q.keys().open_existing(key, type)) {
    members.each([&](Bytes member) {
      Statement s = q.db().prepare(sql);
      s.bind(1, c->row.id).bind(2, solid(member)).run();
      removed += q.db().changes();
    });
    c->row.count -= removed;
    if (removed > 0) q.keys().close(*c);
  }
  reply_int(q, counted, removed);
}

}  // namespace headgate::sqlite
