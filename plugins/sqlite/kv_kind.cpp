// The table of verbs, and how one is routed, executed and explained; see kv_kind.hpp.
#include "plugins/sqlite/kv_kind.hpp"

#include <algorithm>
#include <chrono>
#include <vector>

#include "plugins/sqlite/kv_request.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::int64_t kPurgeEvery = 32;  // rows due before a purge is worth its look-ups
constexpr std::int64_t kPurgeDueMax = 1 << 20;
constexpr std::uint64_t kPurgePauseUs = 20'000;
constexpr std::uint64_t kReplyRoom = 64u << 10;  // of a reply that is not the value

// Every verb, by name.
const std::vector<Verb>& verbs() {
  static const std::vector<Verb> all = [] {
    std::vector<Verb> out;
    for (const auto part : {kv_string_verbs(), kv_scan_verbs(), kv_hash_verbs(), kv_list_verbs(),
                            kv_set_verbs(), kv_zset_verbs(), kv_lock_verbs()})
      out.insert(out.end(), part.begin(), part.end());
    std::sort(out.begin(), out.end(), [](const Verb& a, const Verb& b) { return a.name < b.name; });
    return out;
  }();
  return all;
}

const Verb& find_verb(std::string_view name) {
  const std::vector<Verb>& all = verbs();
  const auto at = std::lower_bound(all.begin(), all.end(), name,
                                   [](const Verb& v, std::string_view n) { return v.name < n; });
  if (at == all.end() || at->name != name)
    throw sdk::unsupported("this store has no verb `" + std::string(name.substr(0, 64)) + "`");
  return *at;
}

std::int64_t system_clock_ms() {
  using namespace std::chrono;
  return duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count();
}

// A value that can be written can be read back in one reply.
std::size_t value_max(std::uint64_t reply_max) {
  if (reply_max == 0) return kKvValueMax;
  const std::uint64_t fits = reply_max > 2 * kReplyRoom ? reply_max - kReplyRoom : reply_max / 2;
  return static_cast<std::size_t>(std::min<std::uint64_t>(kKvValueMax, fits));
}

}  // namespace

KeyValueKind::KeyValueKind(const hg_host* host, const hg_driver_config& config,
                           WallClock wall_clock)
    : host_(host),
      wall_clock_(std::move(wall_clock)),
      value_max_(value_max(config.reply_max)),
      part_max_(config.part_max != 0 ? config.part_max : proto::kPartMax),
      waiters_(host, config.driver_id) {}

void KeyValueKind::prepare(Database& db) { Keyspace::prepare(db); }

sdk::Route KeyValueKind::route(std::string_view name, Bytes body, const hg_call& call,
                               const sdk::Touches& touches) {
  const Verb& verb = find_verb(name);
  sdk::Route r;
  const bool reads = verb.access == VerbAccess::read;
  r.lane = reads ? kReadLane : kWriteLane;
  r.idempotent = reads;
  r.digest = r.tag = Request::digest_of(name);
  Request q(name, body, call, value_max_, touches, r);
  verb.run(q);
  return r;
}

void KeyValueKind::execute(std::string_view name, Bytes body, const hg_call& call, Database& db,
                           sdk::Sink& sink, sdk::Done&) {
  const Verb& verb = find_verb(name);
  Keyspace keys(db, wall_clock_());
  proto::Writer out(&sink);
  Work work{keys, sink, out, host_, waiters_, part_max_};
  Request q(name, body, call, value_max_, work);
  verb.run(q);
  q.check_room();
  sink.commit();
  if (verb.access == VerbAccess::read) return;
  const std::int64_t due = purge_due_.fetch_add(2 * keys.written()) + 2 * keys.written();
  const std::uint64_t now = host_->now_us(host_);
  if (due < kPurgeEvery || now < purge_after_us_) return;
  const std::int64_t step = std::min(due, Keyspace::kPurgeStepMax);
  const std::int64_t found = keys.purge(step);
  purge_due_ = std::clamp<std::int64_t>(due - found, 0, kPurgeDueMax);
  if (found < step) purge_after_us_ = now + kPurgePauseUs;  // nothing more is dead yet
}

void KeyValueKind::explain(std::string_view name, Bytes body, Database& db, sdk::Sink& sink) {
  const Verb& verb = find_verb(name);
  // Reads the body as route does, and tells nobody.
  const hg_call call{};
  sdk::Route r;
  const sdk::Touches nobody(host_, nullptr);
  Request q(name, body, call, value_max_, nobody, r);
  verb.run(q);
  Explanation e;
  if (verb.explain != nullptr)
    verb.explain(q, e);
  else
    for (const std::string_view sql : verb.sql)
      if (!sql.empty()) e.sql.push_back(sql);

  proto::Writer w(&sink);
  w.map(e.from ? 3 : 1);
  w.str("statements");
  w.array(static_cast<std::uint32_t>(e.sql.size()));
  for (const std::string_view sql : e.sql) {
    w.map(2);
    w.str("sql");
    w.str(sql);
    w.str("plan");
    std::vector<std::string> lines;
    Statement s = db.prepare("EXPLAIN QUERY PLAN " + std::string(sql));
    while (s.step()) lines.emplace_back(s.text(3));
    w.array(static_cast<std::uint32_t>(lines.size()));
    for (const std::string& line : lines) w.str(line);
  }
  if (e.from) {
    w.str("from");
    w.bin(proto::bytes_of(*e.from));
    w.str("to");
    if (e.to)
      w.bin(proto::bytes_of(*e.to));
    else
      w.nil();
  }
  sink.commit();
}

void KeyValueKind::committed(std::string_view name, Bytes body) {
  if (waiters_.nobody()) return;
  // `how` for each name in the field: one, or a list of them.
  const auto tell = [&](Wanted what, std::string_view field, void (Waiters::*how)(std::uint64_t)) {
    proto::Cursor c(body);
    for (std::uint32_t n = c.read_map(); n > 0 && c.read_str() != field; --n) c.skip();
    for (std::uint32_t n = c.peek() == proto::Type::array ? c.read_array() : 1; n > 0; --n) {
      const Bytes key = read_bytes(c);
      if (c.ok()) (waiters_.*how)(Waiters::hash(what, key));
    }
  };
  if (name == "lpush" || name == "rpush")
    tell(Wanted::list, "key", &Waiters::wake);
  else if (name == "lmove" || name == "blmove")
    tell(Wanted::list, "destination", &Waiters::wake);
  else if (name == "unlock")
    tell(Wanted::lock, "name", &Waiters::wake);
  if (name == "blpop" || name == "brpop")
    tell(Wanted::list, "keys", &Waiters::wake_passed);
  else if (name == "blmove")
    tell(Wanted::list, "source", &Waiters::wake_passed);
}

std::unique_ptr<Kind> make_key_value_kind(const hg_host* host, const hg_driver_config& config) {
  return std::make_unique<KeyValueKind>(host, config, system_clock_ms);
}

void describe_key_value(proto::Writer& w) {
  struct Common {
    std::string_view name, access;
    bool streams;
  };
  // Answered by the connections, for every kind.
  static constexpr Common kCommon[] = {{"ping", "read", false},
                                       {"describe", "read", false},
                                       {"batch", "read", false},
                                       {"explain", "read", false},
                                       {"backup", "admin", true}};
  const auto verb = [&w](std::string_view name, std::string_view access, bool streams, bool waits) {
    w.str(name);
    w.map(4);
    w.str("access");
    w.str(access);
    w.str("streams");
    w.boolean(streams);
    w.str("uploads");
    w.boolean(false);
    w.str("waits");
    w.boolean(waits);
  };
  w.map(4);
  w.str("kind");
  w.str("key_value");
  w.str("verbs");
  w.map(static_cast<std::uint32_t>(std::size(kCommon) + verbs().size()));
  for (const Common& c : kCommon) verb(c.name, c.access, c.streams, false);
  for (const Verb& v : verbs())
    verb(v.name, v.access == VerbAccess::read ? "read" : "write", v.streams, v.waits);
  static constexpr std::string_view kCapabilities[] = {
      "version", "ttl", "increment", "scan", "delete_prefix", "transactions", "structures", "lock"};
  w.str("capabilities");
  w.array(std::size(kCapabilities));
  for (const std::string_view c : kCapabilities) w.str(c);
  static constexpr std::pair<std::string_view, std::uint64_t> kLimits[] = {
      {"key_bytes", kKvKeyMax},   {"value_bytes", kKvValueMax},  {"glob_bytes", kKvGlobMax},
      {"scan_count", kKvScanMax}, {"wait_keys", kKvWaitKeysMax}, {"wait_ms", kKvWaitMax},
      {"ttl_ms", kKvTtlMax}};
  w.str("limits");
  w.map(std::size(kLimits));
  for (const auto& [name, value] : kLimits) {
    w.str(name);
    w.uint(value);
  }
}

}  // namespace headgate::sqlite
