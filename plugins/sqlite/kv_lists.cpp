// Verbs on lists, the waiting pops included.
//
// An element has a position; positions grow to the right. A push takes the next one beyond an end,
// so it costs the same whatever the list's length; lrem leaves gaps, and an index then has to be
// counted out from the nearer end (without gaps it is computed).
//
// Threads: pure functions of a Request.
#include <algorithm>

#include "plugins/sqlite/kv_request.hpp"
#include "plugins/sqlite/kv_sql.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::string_view kFirst =
    "SELECT pos, value FROM headgate_kv_list WHERE id = ?1 ORDER BY pos LIMIT 1";
constexpr std::string_view kLast =
    "SELECT pos, value FROM headgate_kv_list WHERE id = ?1 ORDER BY pos DESC LIMIT 1";
constexpr std::string_view kNthFromLeft =
    "SELECT pos FROM headgate_kv_list WHERE id = ?1 ORDER BY pos LIMIT 1 OFFSET ?2";
constexpr std::string_view kNthFromRight =
    "SELECT pos FROM headgate_kv_list WHERE id = ?1 ORDER BY pos DESC LIMIT 1 OFFSET ?2";
constexpr std::string_view kAt = "SELECT value FROM headgate_kv_list WHERE id = ?1 AND pos = ?2";
constexpr std::string_view kFrom =
    "SELECT value FROM headgate_kv_list WHERE id = ?1 AND pos >= ?2 ORDER BY pos LIMIT ?3";
constexpr std::string_view kInsert =
    "INSERT INTO headgate_kv_list(id, pos, value) VALUES(?1, ?2, ?3)";
constexpr std::string_view kSet =
    "UPDATE headgate_kv_list SET value = ?3 WHERE id = ?1 AND pos = ?2";
constexpr std::string_view kDelete = "DELETE FROM headgate_kv_list WHERE id = ?1 AND pos = ?2";
constexpr std::string_view kDeleteBefore =
    "DELETE FROM headgate_kv_list WHERE id = ?1 AND pos < ?2";
constexpr std::string_view kDeleteAfter = "DELETE FROM headgate_kv_list WHERE id = ?1 AND pos > ?2";
constexpr std::string_view kRemoveFromLeft =
    "DELETE FROM headgate_kv_list WHERE id = ?1 AND pos IN (SELECT pos FROM headgate_kv_list "
    "WHERE id = ?1 AND value = ?2 ORDER BY pos LIMIT ?3)";
constexpr std::string_view kRemoveFromRight =
    "DELETE FROM headgate_kv_list WHERE id = ?1 AND pos IN (SELECT pos FROM headgate_kv_list "
    "WHERE id = ?1 AND value = ?2 ORDER BY pos DESC LIMIT ?3)";

std::int64_t end_position(Request& q, std::int64_t id, End e) {
  Statement s = q.db().prepare(e == End::left ? kFirst : kLast);
  s.bind(1, id);
  if (!s.step())
    throw q.refused(sdk::Code::store_error, "a list without elements: the file is damaged");
  return s.integer(0);
}

// The position of the element with this index. REQUIRES: 0 <= index < row.count.
std::int64_t position(Request& q, const Row& row, std::int64_t index) {
  const std::int64_t first = end_position(q, row.id, End::left);
  if (index == 0) return first;
  const std::int64_t last = end_position(q, row.id, End::right);
  if (index == row.count - 1) return last;
  if (last - first + 1 == row.count) return first + index;
  const bool left = index < row.count / 2;
  Statement s = q.db().prepare(left ? kNthFromLeft : kNthFromRight);
  s.bind(1, row.id).bind(2, left ? index : row.count - 1 - index);
  if (!s.step()) throw q.refused(sdk::Code::store_error, "a list is shorter than its count");
  return s.integer(0);
}

// An index from the end is made one from the start; what is beyond stays outside [0, count).
std::int64_t from_start(std::int64_t index, std::int64_t count) {
  if (index >= 0) return index;
  return index < -count ? -1 : index + count;
}

// [start, stop] of Redis, clipped to the list; empty when start > stop.
struct Slice {
  std::int64_t start;
  std::int64_t stop;
  Slice(std::int64_t from, std::int64_t to, std::int64_t count)
      : start(std::max<std::int64_t>(from_start(from, count), 0)),
        stop(std::min(from_start(to, count), count - 1)) {}
  [[nodiscard]] std::int64_t size() const { return std::max<std::int64_t>(stop - start + 1, 0); }
};

void push_one(Request& q, Collection& c, std::int64_t pos, Bytes value) {
  Statement s = q.db().prepare(kInsert);
  s.bind(1, c.row.id).bind(2, pos).bind(3, solid(value)).run();
  ++c.row.count;
}

std::int64_t next_position(Request& q, const Collection& c, End e) {
  if (c.row.count == 0) return 0;
  return end_position(q, c.row.id, e) + (e == End::left ? -1 : 1);
}

void push(Request& q, End e) {
  const Fields f = q.fields({"key", "values"});
  const Bytes key = q.key(f, "key");
  const Items<Bytes> values = q.values(f, "values");
  if (q.routing()) return;
  if (values.size() == 0) {
    const std::optional<Row> row = q.keys().find(key, ValueType::list);
    return reply_int(q, "length", row ? row->count : 0);
  }
  Collection c = q.keys().open(key, ValueType::list);
  std::int64_t pos = next_position(q, c, e);
  values.each([&](Bytes v) {
    push_one(q, c, pos, v);
    pos += e == End::left ? -1 : 1;
  });
  q.keys().close(c);
  reply_int(q, "length", c.row.count);
}

// Takes one element off an end and hands it to `use` while it is lent. REQUIRES: not empty.
template <class F>
void pop_one(Request& q, Collection& c, End e, F&& use) {
  std::int64_t pos = 0;
  {
    Statement s = q.db().prepare(e == End::left ? kFirst : kLast);
    s.bind(1, c.row.id);
    if (!s.step()) throw q.refused(sdk::Code::store_error, "a list is shorter than its count");
    pos = s.integer(0);
    use(s.blob(1));
  }
  Statement s = q.db().prepare(kDelete);
  s.bind(1, c.row.id).bind(2, pos).run();
  --c.row.count;
}

void pop(Request& q, End e) {
  const Fields f = q.fields({"key", "count"});
  const Bytes key = q.key(f, "key");
  const std::optional<std::int64_t> count = q.opt_count(f, "count");
  if (q.routing()) return;
  std::optional<Collection> c = q.keys().open_existing(key, ValueType::list);
  const std::int64_t n = c ? std::min(count.value_or(1), c->row.count) : 0;
  q.out().map(1);
  q.out().str(count ? "values" : "value");
  if (count) q.out().array(static_cast<std::uint32_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    pop_one(q, *c, e, [&](Bytes v) { q.out().bin(v); });
    q.check_room();
  }
  if (!count && n == 0) q.out().nil();
  if (n > 0) q.keys().close(*c);
}

void lpush(Request& q) { push(q, End::left); }
void rpush(Request& q) { push(q, End::right); }
void lpop(Request& q) { pop(q, End::left); }
void rpop(Request& q) { pop(q, End::right); }

void llen(Request& q) {
  const Fields f = q.fields({"key"});
  const Bytes key = q.key(f, "key");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::list);
  reply_int(q, "length", row ? row->count : 0);
}

void lrange(Request& q) {
  const Fields f = q.fields({"key", "start", "stop"});
  const Bytes key = q.key(f, "key");
  const std::int64_t start = f.integer("start"), stop = f.integer("stop");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::list);
  const Slice slice(start, stop, row ? row->count : 0);
  q.out().map(1);
  q.out().str("values");
  q.out().array(static_cast<std::uint32_t>(slice.size()));
  if (slice.size() == 0) return;
  Statement s = q.db().prepare(kFrom);
  s.bind(1, row->id).bind(2, position(q, *row, slice.start)).bind(3, slice.size());
  while (s.step()) {
    q.out().bin(s.blob(0));
    q.check_room();
  }
}

void lindex(Request& q) {
  const Fields f = q.fields({"key", "index"});
  const Bytes key = q.key(f, "key");
  const std::int64_t index = f.integer("index");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::list);
  const std::int64_t i = row ? from_start(index, row->count) : -1;
  if (i < 0 || i >= row->count) return reply_value(q, "value", std::nullopt);
  Statement s = q.db().prepare(kAt);
  s.bind(1, row->id).bind(2, position(q, *row, i));
  reply_value(q, "value", s.step() ? std::optional<Bytes>(s.blob(0)) : std::nullopt);
}

void lset(Request& q) {
  const Fields f = q.fields({"key", "index", "value"});
  const Bytes key = q.key(f, "key");
  const std::int64_t index = f.integer("index");
  const Bytes value = q.value(f, "value");
  if (q.routing()) return;
  std::optional<Collection> c = q.keys().open_existing(key, ValueType::list);
  if (!c) throw q.refused(sdk::Code::not_found, "no such key");
  const std::int64_t i = from_start(index, c->row.count);
  if (i < 0 || i >= c->row.count)
    throw q.refused(sdk::Code::invalid,
                    "the index is outside a list of " + std::to_string(c->row.count) + " elements");
  Statement s = q.db().prepare(kSet);
  s.bind(1, c->row.id).bind(2, position(q, c->row, i)).bind(3, solid(value)).run();
  q.keys().close(*c);
  q.out().map(0);
}

void lrem(Request& q) {
  const Fields f = q.fields({"key", "count", "value"});
  const Bytes key = q.key(f, "key");
  const std::int64_t count = f.integer("count");
  const Bytes value = q.value(f, "value");
  if (q.routing()) return;
  std::int64_t removed = 0;
  if (std::optional<Collection> c = q.keys().open_existing(key, ValueType::list)) {
    const std::int64_t most = count == 0 || count == INT64_MIN ? INT64_MAX : std::abs(count);
    Statement s = q.db().prepare(count < 0 ? kRemoveFromRight : kRemoveFromLeft);
    s.bind(1, c->row.id).bind(2, solid(value)).bind(3, most).run();
    removed = q.db().changes();
    c->row.count -= removed;
    if (removed > 0) q.keys().close(*c);
  }
  reply_int(q, "removed", removed);
}

void ltrim(Request& q) {
  const Fields f = q.fields({"key", "start", "stop"});
  const Bytes key = q.key(f, "key");
  const std::int64_t start = f.integer("start"), stop = f.integer("stop");
  if (q.routing()) return;
  q.out().map(0);
  std::optional<Collection> c = q.keys().open_existing(key, ValueType::list);
  if (!c) return;
  const Slice slice(start, stop, c->row.count);
  if (slice.size() == 0) return q.keys().erase(key, c->row);
  if (slice.size() == c->row.count) return;
  const std::int64_t first = position(q, c->row, slice.start);
  const std::int64_t last = position(q, c->row, slice.stop);
  const auto drop = [&](std::string_view sql, std::int64_t pos) {
    Statement s = q.db().prepare(sql);
    s.bind(1, c->row.id).bind(2, pos).run();
  };
  drop(kDeleteBefore, first);
  drop(kDeleteAfter, last);
  c->row.count = slice.size();
  q.keys().close(*c);
}

// Moves one element; the reply is {value}. False, and no reply: there was none.
bool move(Request& q, Bytes source, Bytes destination, End from, End to) {
  std::optional<Collection> a = q.keys().open_existing(source, ValueType::list);
  if (!a) {
    q.keys().find(destination, ValueType::list);  // the wrong type is told even now
    return false;
  }
  std::string value;
  pop_one(q, *a, from, [&](Bytes v) { value = proto::text_of(v); });
  // An emptied list would lose its row, and with it its time to live, before it is pushed to.
  const bool same = proto::text_of(source) == proto::text_of(destination);
  if (same) {
    push_one(q, *a, next_position(q, *a, to), proto::bytes_of(value));
    q.keys().close(*a);
  } else {
    q.keys().close(*a);
    Collection b = q.keys().open(destination, ValueType::list);
    push_one(q, b, next_position(q, b, to), proto::bytes_of(value));
    q.keys().close(b);
  }
  reply_value(q, "value", proto::bytes_of(value));
  return true;
}

void lmove(Request& q) {
  const Fields f = q.fields({"source", "destination", "from", "to"});
  const Bytes source = q.key(f, "source"), destination = q.key(f, "destination");
  const End from = q.end(f, "from"), to = q.end(f, "to");
  if (q.routing()) return;
  if (!move(q, source, destination, from, to)) reply_value(q, "value", std::nullopt);
}

std::int64_t wait_ms(const Fields& f) {
  const std::int64_t ms = f.integer("wait_ms");
  if (ms < 0 || ms > kKvWaitMax)
    throw f.wrong("wait_ms", "between 0 and " + std::to_string(kKvWaitMax));
  return ms;
}

void blocking_pop(Request& q, End e) {
  const Fields f = q.fields({"keys", "wait_ms"});
  const Items<Bytes> keys = q.key_list(f, "keys");
  const std::int64_t wait = wait_ms(f);
  if (keys.size() == 0 || keys.size() > kKvWaitKeysMax)
    throw f.wrong("keys", "a list of 1 to " + std::to_string(kKvWaitKeysMax) + " keys");
  if (q.routing()) return;
  bool done = false;
  std::vector<std::uint64_t> hashes;
  keys.each([&](Bytes key) {
    hashes.push_back(Waiters::hash(Wanted::list, key));
    if (done) return;
    std::optional<Collection> c = q.keys().open_existing(key, ValueType::list);
    if (!c || !q.is_first(hashes.back(), wait)) return;
    done = true;
    q.out().map(2);
    q.out().str("key");
    q.out().bin(key);
    q.out().str("value");
    pop_one(q, *c, e, [&](Bytes v) { q.out().bin(v); });
    q.keys().close(*c);
  });
  if (!done) q.wait(hashes, wait, true);
  q.leave(hashes);
  if (done) return;
  q.out().map(2);
  q.out().str("key");
  q.out().nil();
  q.out().str("value");
  q.out().nil();
}

void blpop(Request& q) { blocking_pop(q, End::left); }
void brpop(Request& q) { blocking_pop(q, End::right); }

void blmove(Request& q) {
  const Fields f = q.fields({"source", "destination", "from", "to", "wait_ms"});
  const Bytes source = q.key(f, "source"), destination = q.key(f, "destination");
  const End from = q.end(f, "from"), to = q.end(f, "to");
  const std::int64_t wait = wait_ms(f);
  if (q.routing()) return;
  const std::vector<std::uint64_t> hashes = {Waiters::hash(Wanted::list, source)};
  const bool done = q.is_first(hashes[0], wait) && move(q, source, destination, from, to);
  if (!done) q.wait(hashes, wait, true);
  q.leave(hashes);
  if (!done) reply_value(q, "value", std::nullopt);
}

constexpr Verb kVerbs[] = {
    {"lpush", VerbAccess::write, lpush, {kv_sql::kFind, kFirst, kInsert}},
    {"rpush", VerbAccess::write, rpush, {kv_sql::kFind, kLast, kInsert}},
    {"lpop", VerbAccess::write, lpop, {kv_sql::kFind, kFirst, kDelete}},
    {"rpop", VerbAccess::write, rpop, {kv_sql::kFind, kLast, kDelete}},
    {"llen", VerbAccess::read, llen, {kv_sql::kFind}},
    {"lrange", VerbAccess::read, lrange, {kv_sql::kFind, kNthFromLeft, kFrom}},
    {"lindex", VerbAccess::read, lindex, {kv_sql::kFind, kNthFromLeft, kAt}},
    {"lset", VerbAccess::write, lset, {kv_sql::kFind, kNthFromLeft, kSet}},
    {"lrem", VerbAccess::write, lrem, {kv_sql::kFind, kRemoveFromLeft}},
    {"ltrim", VerbAccess::write, ltrim, {kv_sql::kFind, kDeleteBefore, kDeleteAfter}},
    {"lmove", VerbAccess::write, lmove, {kFirst, kDelete, kInsert}},
    {"blpop", VerbAccess::write, blpop, {kv_sql::kFind, kFirst, kDelete}, nullptr, true},
    {"brpop", VerbAccess::write, brpop, {kv_sql::kFind, kLast, kDelete}, nullptr, true},
    {"blmove", VerbAccess::write, blmove, {kFirst, kDelete, kInsert}, nullptr, true},
};

}  // namespace

std::span<const Verb> kv_list_verbs() { return kVerbs; }

}  // namespace headgate::sqlite
