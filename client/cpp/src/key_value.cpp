#include "headgate/key_value.hpp"

#include "engine.hpp"

namespace headgate {
namespace {

using Bin = msgpack::type::raw_ref;  // packs as bin, copies nothing

Bin bin(std::string_view s) { return {s.data(), static_cast<std::uint32_t>(s.size())}; }

std::vector<Bin> bins(const std::vector<std::string>& all) {
  std::vector<Bin> out;
  out.reserve(all.size());
  for (const std::string& s : all) out.push_back(bin(s));
  return out;
}

std::vector<std::pair<Bin, Bin>> bins(const KeyValue::Pairs& all) {
  std::vector<std::pair<Bin, Bin>> out;
  out.reserve(all.size());
  for (const auto& [a, b] : all) out.emplace_back(bin(a), bin(b));
  return out;
}

void add_ttl(Doc* d, const std::optional<Millis>& ttl) {
  if (ttl.has_value()) d->add("ttl_ms", ttl->count());
}

}  // namespace

KeyValue KeyValue::with(CallOptions o) const { return {engine_, store_, std::move(o)}; }

Reply KeyValue::call(std::string_view verb, const Doc& body, Millis wait) const {
  CallOptions o = options_;
  // A verb that waits has its own wait besides the time that the rest may take.
  if (wait.count() > 0 && o.timeout.has_value() && *o.timeout < wait) o.timeout = wait + *o.timeout;
  o.fetch = 0;
  return engine_->run(
      engine_->make(detail::Call::Kind::plain, store_, verb, headgate::pack(body), o));
}

Value KeyValue::request(std::string_view verb, const Doc& body) const {
  return Value::parse(call(verb, body).body());
}

template <class T>
T KeyValue::field(std::string_view verb, const Doc& body, std::string_view key, Millis wait) const {
  const Reply r = call(verb, body, wait);
  const msgpack::object_handle h = detail::parse(r.body());
  return detail::field_as<T>(h.get(), key);
}

std::optional<std::string> KeyValue::get(Bytes key) const {
  return field<std::optional<std::string>>("get", Doc("key", bin(key)), "value");
}

std::optional<Versioned> KeyValue::get_versioned(Bytes key) const {
  const Value v = request("get", Doc("key", bin(key)));
  if (v["value"].is_nil()) return std::nullopt;
  return Versioned{v["value"].as<std::string>(), v["version"].as<std::optional<std::string>>()};
}

SetResult KeyValue::set(Bytes key, Bytes value, const SetOptions& o) const {
  Doc d("key", bin(key), "value", bin(value));
  if (o.nx) d.add("nx", true);
  if (o.xx) d.add("xx", true);
  add_ttl(&d, o.ttl);
  if (o.keep_ttl) d.add("keep_ttl", true);
  if (o.get_old) d.add("get_old", true);
  if (o.if_version.has_value()) d.add("if_version", bin(*o.if_version));
  const Value v = request("set", d);
  return {v["set"].as<bool>(), v["version"].as<std::optional<std::string>>(),
          v["old"].as<std::optional<std::string>>()};
}

bool KeyValue::remove(Bytes key) const {
  return field<std::int64_t>("delete", Doc("key", bin(key)), "deleted") > 0;
}
std::int64_t KeyValue::remove_many(const Strings& keys) const {
  return field<std::int64_t>("delete_many", Doc("keys", bins(keys)), "deleted");
}
std::int64_t KeyValue::exists(const Strings& keys) const {
  return field<std::int64_t>("exists", Doc("keys", bins(keys)), "count");
}
std::vector<std::optional<std::string>> KeyValue::get_many(const Strings& keys) const {
  return field<std::vector<std::optional<std::string>>>("get_many", Doc("keys", bins(keys)),
                                                        "values");
}
bool KeyValue::set_many(const Pairs& items, bool nx, std::optional<Millis> ttl) const {
  Doc d("items", bins(items));
  if (nx) d.add("nx", true);
  add_ttl(&d, ttl);
  return field<bool>("set_many", d, "set");
}
std::int64_t KeyValue::increment(Bytes key, std::int64_t by, std::optional<Millis> ttl) const {
  Doc d("key", bin(key), "by", by);
  add_ttl(&d, ttl);
  return field<std::int64_t>("increment", d, "value");
}
double KeyValue::increment_float(Bytes key, double by) const {
  return field<double>("increment", Doc("key", bin(key), "by", by), "value");
}
std::int64_t KeyValue::append(Bytes key, Bytes value) const {
  return field<std::int64_t>("append", Doc("key", bin(key), "value", bin(value)), "length");
}
std::optional<std::string> KeyValue::get_delete(Bytes key) const {
  return field<std::optional<std::string>>("get_delete", Doc("key", bin(key)), "value");
}
bool KeyValue::expire(Bytes key, Millis ttl) const {
  return field<bool>("expire", Doc("key", bin(key), "ttl_ms", ttl.count()), "set");
}
bool KeyValue::persist(Bytes key) const {
  return field<bool>("persist", Doc("key", bin(key)), "set");
}
std::optional<Millis> KeyValue::ttl(Bytes key) const {
  const auto ms = field<std::optional<std::int64_t>>("ttl", Doc("key", bin(key)), "ttl_ms");
  if (!ms.has_value()) return std::nullopt;
  return Millis(*ms);
}
std::optional<std::string> KeyValue::type(Bytes key) const {
  return field<std::optional<std::string>>("type", Doc("key", bin(key)), "type");
}

ScanPage KeyValue::scan(std::string_view by, Bytes what, const std::optional<std::string>& cursor,
                        std::int64_t count, bool values) const {
  Doc d(by, bin(what));
  if (cursor.has_value()) d.add("cursor", bin(*cursor));
  if (count != 0) d.add("count", count);
  if (values) d.add("values", true);
  const Value v = request("scan", d);
  ScanPage p;
  p.keys = v["keys"].as<Strings>();
  if (!v["values"].is_nil()) p.values = v["values"].as<std::vector<std::optional<std::string>>>();
  p.cursor = v["cursor"].as<std::optional<std::string>>();
  return p;
}
ScanPage KeyValue::scan_prefix(Bytes prefix, const std::optional<std::string>& cursor,
                               std::int64_t count, bool values) const {
  return scan("prefix", prefix, cursor, count, values);
}
ScanPage KeyValue::scan_glob(Bytes glob, const std::optional<std::string>& cursor,
                             std::int64_t count, bool values) const {
  return scan("glob", glob, cursor, count, values);
}
std::int64_t KeyValue::delete_prefix(Bytes prefix) const {
  return field<std::int64_t>("delete_prefix", Doc("prefix", bin(prefix)), "deleted");
}
bool KeyValue::compare_and_set(Bytes key, const std::optional<std::string>& expected, Bytes value,
                               std::optional<Millis> ttl) const {
  Doc d("key", bin(key), "value", bin(value));
  if (expected.has_value())
    d.add("expected", bin(*expected));
  else
    d.add("expected", msgpack::type::nil_t());
  add_ttl(&d, ttl);
  return field<bool>("compare_and_set", d, "set");
}

std::int64_t KeyValue::hset(Bytes key, const Pairs& fields) const {
  return field<std::int64_t>("hset", Doc("key", bin(key), "fields", bins(fields)), "added");
}
std::optional<std::string> KeyValue::hget(Bytes key, Bytes f) const {
  return field<std::optional<std::string>>("hget", Doc("key", bin(key), "field", bin(f)), "value");
}
KeyValue::Pairs KeyValue::hgetall(Bytes key) const {
  return field<Pairs>("hgetall", Doc("key", bin(key)), "fields");
}
std::int64_t KeyValue::hdel(Bytes key, const Strings& fields) const {
  return field<std::int64_t>("hdel", Doc("key", bin(key), "fields", bins(fields)), "removed");
}
std::int64_t KeyValue::hincrby(Bytes key, Bytes f, std::int64_t by) const {
  return field<std::int64_t>("hincrby", Doc("key", bin(key), "field", bin(f), "by", by), "value");
}

std::int64_t KeyValue::lpush(Bytes key, const Strings& values) const {
  return field<std::int64_t>("lpush", Doc("key", bin(key), "values", bins(values)), "length");
}
std::int64_t KeyValue::rpush(Bytes key, const Strings& values) const {
  return field<std::int64_t>("rpush", Doc("key", bin(key), "values", bins(values)), "length");
}
std::optional<std::string> KeyValue::lpop(Bytes key) const {
  return field<std::optional<std::string>>("lpop", Doc("key", bin(key)), "value");
}
std::optional<std::string> KeyValue::rpop(Bytes key) const {
  return field<std::optional<std::string>>("rpop", Doc("key", bin(key)), "value");
}
std::int64_t KeyValue::llen(Bytes key) const {
  return field<std::int64_t>("llen", Doc("key", bin(key)), "length");
}
KeyValue::Strings KeyValue::lrange(Bytes key, std::int64_t start, std::int64_t stop) const {
  return field<Strings>("lrange", Doc("key", bin(key), "start", start, "stop", stop), "values");
}
std::int64_t KeyValue::lrem(Bytes key, std::int64_t count, Bytes value) const {
  return field<std::int64_t>("lrem", Doc("key", bin(key), "count", count, "value", bin(value)),
                             "removed");
}
std::optional<std::string> KeyValue::lmove(Bytes source, Bytes destination, std::string_view from,
                                           std::string_view to) const {
  return field<std::optional<std::string>>(
      "lmove", Doc("source", bin(source), "destination", bin(destination), "from", from, "to", to),
      "value");
}
std::optional<std::string> KeyValue::blmove(Bytes source, Bytes destination, std::string_view from,
                                            std::string_view to, Millis wait) const {
  return field<std::optional<std::string>>(
      "blmove",
      Doc("source", bin(source), "destination", bin(destination), "from", from, "to", to, "wait_ms",
          wait.count()),
      "value", wait);
}

std::optional<std::pair<std::string, std::string>> KeyValue::pop(std::string_view verb,
                                                                 const Strings& keys,
                                                                 Millis wait) const {
  const Reply r = call(verb, Doc("keys", bins(keys), "wait_ms", wait.count()), wait);
  const Value v = Value::parse(r.body());
  if (v["key"].is_nil()) return std::nullopt;
  return std::pair(v["key"].as<std::string>(), v["value"].as<std::string>());
}
std::optional<std::pair<std::string, std::string>> KeyValue::blpop(const Strings& keys,
                                                                   Millis wait) const {
  return pop("blpop", keys, wait);
}
std::optional<std::pair<std::string, std::string>> KeyValue::brpop(const Strings& keys,
                                                                   Millis wait) const {
  return pop("brpop", keys, wait);
}

std::int64_t KeyValue::sadd(Bytes key, const Strings& members) const {
  return field<std::int64_t>("sadd", Doc("key", bin(key), "members", bins(members)), "added");
}
std::int64_t KeyValue::srem(Bytes key, const Strings& members) const {
  return field<std::int64_t>("srem", Doc("key", bin(key), "members", bins(members)), "removed");
}
KeyValue::Strings KeyValue::smembers(Bytes key) const {
  return field<Strings>("smembers", Doc("key", bin(key)), "members");
}
bool KeyValue::sismember(Bytes key, Bytes member) const {
  return field<bool>("sismember", Doc("key", bin(key), "member", bin(member)), "exists");
}
std::int64_t KeyValue::scard(Bytes key) const {
  return field<std::int64_t>("scard", Doc("key", bin(key)), "length");
}

std::int64_t KeyValue::zadd(Bytes key, const Scores& members) const {
  std::vector<std::pair<double, Bin>> all;
  for (const auto& [member, score] : members) all.emplace_back(score, bin(member));
  return field<std::int64_t>("zadd", Doc("key", bin(key), "members", all), "added");
}
double KeyValue::zincrby(Bytes key, Bytes member, double by) const {
  return field<double>("zincrby", Doc("key", bin(key), "member", bin(member), "by", by), "score");
}
std::int64_t KeyValue::zrem(Bytes key, const Strings& members) const {
  return field<std::int64_t>("zrem", Doc("key", bin(key), "members", bins(members)), "removed");
}
std::optional<double> KeyValue::zscore(Bytes key, Bytes member) const {
  return field<std::optional<double>>("zscore", Doc("key", bin(key), "member", bin(member)),
                                      "score");
}
std::optional<std::int64_t> KeyValue::zrank(Bytes key, Bytes member, bool reverse) const {
  Doc d("key", bin(key), "member", bin(member));
  if (reverse) d.add("reverse", true);
  return field<std::optional<std::int64_t>>("zrank", d, "rank");
}
std::int64_t KeyValue::zcard(Bytes key) const {
  return field<std::int64_t>("zcard", Doc("key", bin(key)), "length");
}
KeyValue::Scores KeyValue::zrange(Bytes key, std::int64_t start, std::int64_t stop,
                                  bool reverse) const {
  Doc d("key", bin(key), "start", start, "stop", stop);
  if (reverse) d.add("reverse", true);
  return field<Scores>("zrange", d, "members");
}

std::optional<std::int64_t> KeyValue::lock(Bytes name, Bytes owner, Millis ttl, Millis wait) const {
  Doc d("name", bin(name), "owner", bin(owner), "ttl_ms", ttl.count());
  if (wait.count() > 0) d.add("wait_ms", wait.count());
  const Reply r = call("lock", d, wait);
  const Value v = Value::parse(r.body());
  if (!v["locked"].as<bool>()) return std::nullopt;
  return v["fence"].as<std::int64_t>();
}
bool KeyValue::unlock(Bytes name, Bytes owner) const {
  return field<bool>("unlock", Doc("name", bin(name), "owner", bin(owner)), "unlocked");
}

}  // namespace headgate
