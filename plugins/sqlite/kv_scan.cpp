// scan and delete_prefix: verbs on ranges of keys, and hscan's page over one hash.
//
// A page ends at `count` keys, at kPageBytes, or when kExaminedMax keys or kGlobStepsMax steps of
// the pattern have been spent on it; its cursor is the last key looked at, so a page can hold fewer
// keys than asked for, or none, and still have a successor. A key that stays for the whole scan is
// given exactly once, whatever is written or deleted meanwhile: the cursor is a place in the
// keys' order, not a count. A streamed scan sees one moment.
//
// Threads: pure functions of a Request.
#include <algorithm>

#include "plugins/sqlite/kv_glob.hpp"
#include "plugins/sqlite/kv_request.hpp"
#include "plugins/sqlite/kv_sql.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::int64_t kCountDefault = 100;
constexpr std::size_t kPageBytes = 1u << 20;
constexpr std::int64_t kExaminedMax = 20'000;
constexpr std::uint64_t kGlobStepsMax = 4'000'000;

constexpr std::string_view kKeysFrom =
    "SELECT key, type, expires, id FROM headgate_kv_keys WHERE key >= ?1 ORDER BY key";
constexpr std::string_view kKeysBetween =
    "SELECT key, type, expires, id FROM headgate_kv_keys WHERE key >= ?1 AND key < ?2 ORDER BY key";
constexpr std::string_view kValuesFrom =
    "SELECT key, type, expires, id, value FROM headgate_kv_keys WHERE key >= ?1 ORDER BY key";
constexpr std::string_view kValuesBetween =
    "SELECT key, type, expires, id, value FROM headgate_kv_keys WHERE key >= ?1 AND key < ?2 "
    "ORDER BY key";

// delete_prefix: count what a caller could see, leave the contents to the purge, drop the rows.
constexpr std::string_view kLiveBetween =
    "SELECT count(*) FROM headgate_kv_keys WHERE key >= ?1 AND key < ?2 "
    "AND (expires = 0 OR expires > ?3)";
constexpr std::string_view kLiveFrom =
    "SELECT count(*) FROM headgate_kv_keys WHERE key >= ?1 AND (expires = 0 OR expires > ?3)";
constexpr std::string_view kGarbageBetween =
    "INSERT INTO headgate_kv_garbage(id, type) SELECT id, type FROM headgate_kv_keys "
    "WHERE key >= ?1 AND key < ?2 AND id > 0";
constexpr std::string_view kGarbageFrom =
    "INSERT INTO headgate_kv_garbage(id, type) SELECT id, type FROM headgate_kv_keys "
    "WHERE key >= ?1 AND id > 0";
constexpr std::string_view kDeleteBetween =
    "DELETE FROM headgate_kv_keys WHERE key >= ?1 AND key < ?2";
constexpr std::string_view kDeleteFrom = "DELETE FROM headgate_kv_keys WHERE key >= ?1";

constexpr std::string_view kFieldsFrom =
    "SELECT field, value FROM headgate_kv_hash WHERE id = ?1 AND field >= ?2 ORDER BY field";

std::string own(Bytes b) { return std::string(proto::text_of(b)); }

// The first key behind `cursor`, or `from` when the cursor lies before it.
std::string begin_of(const std::string& from, const std::optional<Bytes>& cursor) {
  if (!cursor || cursor->empty()) return from;
  std::string after = own(*cursor);
  after.push_back('\0');
  return std::max(after, from);  // as bytes: char_traits compares unsigned
}

// The range of keys that a scan has to look at.
struct Range {
  std::string from;
  std::string to;  // empty: to the last key
};

struct ScanBody {
  std::optional<Bytes> prefix;
  std::optional<Bytes> glob;
  std::optional<Bytes> cursor;
  std::optional<std::int64_t> count;
  bool values = false;

  explicit ScanBody(Request& q) {
    const Fields f = q.fields({"prefix", "glob", "cursor", "count", "values"});
    if (!f.raw("prefix").empty()) prefix = f.key("prefix");
    if (!f.raw("glob").empty()) glob = f.key("glob");
    if (prefix.has_value() == glob.has_value())
      throw q.invalid("exactly one of `prefix` and `glob`");
    if (prefix && prefix->empty())
      throw q.invalid("an empty prefix is refused: the glob `*` means all keys");
    if (glob && (glob->empty() || glob->size() > kKvGlobMax))
      throw f.wrong("glob", "between 1 and " + std::to_string(kKvGlobMax) + " bytes");
    if (!f.raw("cursor").empty()) {
      cursor = f.key("cursor");
      q.check_name(*cursor, "cursor");
    }
    count = q.opt_count(f, "count", 1);
    values = f.flag("values");
    if (prefix) {
      q.touch_prefix(*prefix);
    } else if (q.routing()) {
      const std::string literal = Glob::literal_of(*glob);
      q.touch_prefix(proto::bytes_of(literal));
    }
  }

  [[nodiscard]] Range range() const {
    Range r;
    if (prefix) {
      r.from = own(*prefix);
      r.to = after_prefix(r.from);
    } else {
      const Glob g(*glob);
      r.from = g.literal();
      r.to = g.exact() ? r.from + '\0' : after_prefix(r.from);
    }
    r.from = begin_of(r.from, cursor);
    return r;
  }
  [[nodiscard]] std::string_view sql(const Range& r) const {
    if (r.to.empty()) return values ? kValuesFrom : kKeysFrom;
    return values ? kValuesBetween : kKeysBetween;
  }
};

// The keys and values of one page or part, written as msgpack while they are found.
class Page {
 public:
  explicit Page(bool values) : with_values_(values) {}

  void add(Request& q, const Statement& s) {
    proto::Writer(&keys_).bin(s.blob(0));
    ++n_;
    if (!with_values_) return;
    proto::Writer w(&values_);
    const std::int64_t id = s.integer(3);
    if (s.integer(1) != static_cast<std::int64_t>(ValueType::string)) {
      w.nil();
    } else if (id == 0) {
      w.bin(s.blob(4));
    } else {
      Statement large = q.db().prepare(kv_sql::kLarge);
      if (large.bind(1, id).step())
        w.bin(large.blob(0));
      else
        w.nil();
    }
  }
  [[nodiscard]] std::int64_t size() const { return n_; }
  [[nodiscard]] std::size_t bytes() const { return keys_.size() + values_.size(); }
  void write(proto::Writer& w) const {
    w.str("keys");
    w.array(static_cast<std::uint32_t>(n_));
    w.raw(keys_.view());
    w.str("values");
    if (with_values_) {
      w.array(static_cast<std::uint32_t>(n_));
      w.raw(values_.view());
    } else {
      w.nil();
    }
  }
  void clear() {
    keys_.clear();
    values_.clear();
    n_ = 0;
  }

 private:
  proto::VectorOut keys_, values_;
  std::int64_t n_ = 0;
  bool with_values_;
};

void stream(Request& q, const ScanBody& b, Statement& s, const std::optional<Glob>& glob) {
  Page page(b.values);
  std::int64_t left = b.count.value_or(INT64_MAX);
  const auto fetch =
      static_cast<std::int64_t>(std::min<std::uint64_t>(q.call().fetch, proto::kFetchMax));
  while (left > 0 && s.step()) {
    if (!q.keys().live(s.integer(2)) || (glob && !glob->matches(s.blob(0)))) continue;
    page.add(q, s);
    --left;
    if (page.size() < fetch && page.bytes() < q.work().part_max) continue;
    q.out().map(2);
    page.write(q.out());
    page.clear();
    q.check_room();
    if (q.sink().flush_part() != HG_GO)
      throw sdk::Error(sdk::Code::cancelled, sdk::Outcome::rejected,
                       "scan: the stream was given up");
  }
  q.out().map(2);
  page.write(q.out());
}

void scan(Request& q) {
  const ScanBody b(q);
  if (q.streaming()) q.lease();
  if (q.routing()) return;
  const Range r = b.range();
  std::optional<Glob> glob;
  if (b.glob) glob.emplace(*b.glob);
  if (glob && (glob->exact() || glob->whole_range())) glob.reset();  // the range says it all
  Statement s = q.db().prepare(b.sql(r));
  s.bind(1, proto::bytes_of(r.from));
  if (!r.to.empty()) s.bind(2, proto::bytes_of(r.to));
  if (q.streaming()) return stream(q, b, s, glob);

  const std::int64_t count = std::min(b.count.value_or(kCountDefault), kKvScanMax);
  Page page(b.values);
  std::string last;
  bool more = false;
  for (std::int64_t examined = 0; s.step(); ++examined) {
    if (page.size() == count || page.bytes() >= kPageBytes || examined == kExaminedMax ||
        (glob && glob->steps() >= kGlobStepsMax)) {
      more = true;
      break;
    }
    last = proto::text_of(s.blob(0));
    if (q.keys().live(s.integer(2)) && (!glob || glob->matches(s.blob(0)))) page.add(q, s);
  }
  q.out().map(3);
  page.write(q.out());
  q.out().str("cursor");
  if (more)
    q.out().bin(proto::bytes_of(last));
  else
    q.out().nil();
}

void explain_scan(Request& q, Explanation& e) {
  const ScanBody b(q);
  Range r = b.range();
  e.sql.push_back(b.sql(r));
  e.from = std::move(r.from);
  if (!r.to.empty()) e.to = std::move(r.to);
}

Bytes read_prefix(Request& q) {
  const Fields f = q.fields({"prefix"});
  const Bytes prefix = f.key("prefix");
  if (prefix.empty()) throw q.invalid("an empty prefix is refused");
  q.touch_prefix(prefix);
  return prefix;
}

void delete_prefix(Request& q) {
  const Bytes prefix = read_prefix(q);
  q.harmless(true);
  q.alone();
  if (q.routing()) return;
  const std::string to = after_prefix(proto::text_of(prefix));
  const auto on_range = [&](std::string_view between, std::string_view from) {
    Statement s = q.db().prepare(to.empty() ? from : between);
    s.bind(1, prefix);
    if (!to.empty()) s.bind(2, proto::bytes_of(to));
    return s;
  };
  std::int64_t n = 0;
  {
    Statement s = on_range(kLiveBetween, kLiveFrom);
    if (s.bind(3, q.keys().now_ms()).step()) n = s.integer(0);
  }
  on_range(kGarbageBetween, kGarbageFrom).run();
  on_range(kDeleteBetween, kDeleteFrom).run();
  q.keys().count_written(q.db().changes());
  reply_int(q, "deleted", n);
}

void explain_delete_prefix(Request& q, Explanation& e) {
  const Bytes prefix = read_prefix(q);
  std::string to = after_prefix(proto::text_of(prefix));
  if (to.empty())
    e.sql = {kLiveFrom, kGarbageFrom, kDeleteFrom};
  else
    e.sql = {kLiveBetween, kGarbageBetween, kDeleteBetween};
  e.from = own(prefix);
  if (!to.empty()) e.to = std::move(to);
}

void hscan(Request& q) {
  const Fields f = q.fields({"key", "glob", "cursor", "count"});
  const Bytes key = q.key(f, "key");
  std::optional<Glob> glob;
  if (!f.raw("glob").empty()) {
    const Bytes pattern = f.key("glob");
    if (pattern.empty() || pattern.size() > kKvGlobMax)
      throw f.wrong("glob", "between 1 and " + std::to_string(kKvGlobMax) + " bytes");
    if (!q.routing()) glob.emplace(pattern);
  }
  std::optional<Bytes> cursor;
  if (!f.raw("cursor").empty()) cursor = q.member(f, "cursor");
  const std::optional<std::int64_t> asked = q.opt_count(f, "count", 1);
  if (q.routing()) return;

  const std::int64_t count = std::min(asked.value_or(kCountDefault), kKvScanMax);
  proto::VectorOut found;
  proto::Writer w(&found);
  std::uint32_t n = 0;
  std::string last;
  bool more = false;
  if (const std::optional<Row> row = q.keys().find(key, ValueType::hash)) {
    // An empty field is the first there can be, so the cursor nil, not the empty one, is the start.
    std::string from;
    if (cursor) from = own(*cursor) + '\0';
    Statement s = q.db().prepare(kFieldsFrom);
    s.bind(1, row->id).bind(2, solid(proto::bytes_of(from)));
    for (std::int64_t examined = 0; s.step(); ++examined) {
      if (n == count || found.size() >= kPageBytes || examined == kExaminedMax ||
          (glob && glob->steps() >= kGlobStepsMax)) {
        more = true;
        break;
      }
      last = proto::text_of(s.blob(0));
      if (glob && !glob->matches(s.blob(0))) continue;
      w.array(2);
      w.bin(s.blob(0));
      w.bin(s.blob(1));
      ++n;
    }
  }
  q.out().map(2);
  q.out().str("fields");
  q.out().array(n);
  q.out().raw(found.view());
  q.out().str("cursor");
  if (more)
    q.out().bin(proto::bytes_of(last));
  else
    q.out().nil();
}

constexpr Verb kVerbs[] = {
    {"scan", VerbAccess::read, scan, {}, explain_scan, false, true},
    {"delete_prefix", VerbAccess::write, delete_prefix, {}, explain_delete_prefix},
    {"hscan", VerbAccess::read, hscan, {kv_sql::kFind, kFieldsFrom}},
};

}  // namespace

std::span<const Verb> kv_scan_verbs() { return kVerbs; }

}  // namespace headgate::sqlite
