// Verbs on sets. Members come in the order of their bytes.
//
// Threads: pure functions of a Request.
#include <algorithm>

#include "plugins/sqlite/kv_request.hpp"
#include "plugins/sqlite/kv_sql.hpp"

namespace headgate::sqlite {
namespace {

// spop chooses at random among this many members (or more, when more are asked for): choosing among
// all of a large set would read all of it.
constexpr std::int64_t kPopWindow = 1024;

constexpr std::string_view kAll =
    "SELECT member FROM headgate_kv_set WHERE id = ?1 ORDER BY member";
constexpr std::string_view kHas = "SELECT 1 FROM headgate_kv_set WHERE id = ?1 AND member = ?2";
constexpr std::string_view kInsert =
    "INSERT INTO headgate_kv_set(id, member) VALUES(?1, ?2) ON CONFLICT DO NOTHING";
constexpr std::string_view kDelete = "DELETE FROM headgate_kv_set WHERE id = ?1 AND member = ?2";
constexpr std::string_view kSome =
    "SELECT member FROM (SELECT member FROM headgate_kv_set WHERE id = ?1 LIMIT ?2) "
    "ORDER BY random() LIMIT ?3";
constexpr std::string_view kUnion =
    "SELECT DISTINCT member FROM headgate_kv_set WHERE id IN (SELECT value FROM json_each(?1)) "
    "ORDER BY member";

bool has(Request& q, std::int64_t id, Bytes member) {
  Statement s = q.db().prepare(kHas);
  return s.bind(1, id).bind(2, solid(member)).step();
}

void sadd(Request& q) {
  const Fields f = q.fields({"key", "members"});
  const Bytes key = q.key(f, "key");
  const Items<Bytes> members = q.members(f, "members");
  if (q.routing()) return;
  std::int64_t added = 0;
  if (members.size() == 0) {
    q.keys().find(key, ValueType::set);  // the wrong type is told even now
  } else {
    Collection c = q.keys().open(key, ValueType::set);
    members.each([&](Bytes m) {
      Statement s = q.db().prepare(kInsert);
      s.bind(1, c.row.id).bind(2, solid(m)).run();
      added += q.db().changes();
    });
    c.row.count += added;
    if (added > 0) q.keys().close(c);
  }
  reply_int(q, "added", added);
}

void srem(Request& q) { remove_members(q, ValueType::set, "members", kDelete, "removed"); }

void smembers(Request& q) {
  const Fields f = q.fields({"key"});
  const Bytes key = q.key(f, "key");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::set);
  q.out().map(1);
  q.out().str("members");
  q.out().array(row ? static_cast<std::uint32_t>(row->count) : 0);
  if (!row) return;
  Statement s = q.db().prepare(kAll);
  s.bind(1, row->id);
  while (s.step()) {
    q.out().bin(s.blob(0));
    q.check_room();
  }
}

void sismember(Request& q) {
  const Fields f = q.fields({"key", "member"});
  const Bytes key = q.key(f, "key");
  const Bytes member = q.member(f, "member");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::set);
  reply_flag(q, "exists", row && has(q, row->id, member));
}

void scard(Request& q) {
  const Fields f = q.fields({"key"});
  const Bytes key = q.key(f, "key");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::set);
  reply_int(q, "length", row ? row->count : 0);
}

void spop(Request& q) {
  const Fields f = q.fields({"key", "count"});
  const Bytes key = q.key(f, "key");
  const std::int64_t count = q.opt_count(f, "count").value_or(1);
  if (q.routing()) return;
  std::optional<Collection> c = q.keys().open_existing(key, ValueType::set);
  const std::int64_t n = c ? std::min(count, c->row.count) : 0;
  std::vector<std::string> taken;
  if (n > 0) {
    Statement s = q.db().prepare(kSome);
    s.bind(1, c->row.id).bind(2, std::max(kPopWindow, n)).bind(3, n);
    while (s.step()) taken.emplace_back(proto::text_of(s.blob(0)));
  }
  q.out().map(1);
  q.out().str("members");
  q.out().array(static_cast<std::uint32_t>(taken.size()));
  for (const std::string& m : taken) {
    Statement s = q.db().prepare(kDelete);
    s.bind(1, c->row.id).bind(2, solid(proto::bytes_of(m))).run();
    q.out().bin(proto::bytes_of(m));
    q.check_room();
  }
  if (taken.empty()) return;
  c->row.count -= static_cast<std::int64_t>(taken.size());
  q.keys().close(*c);
}

// An array in the reply whose length is known at its end.
class Members {
 public:
  explicit Members(Request& q) : q_(q) {
    q.out().map(1);
    q.out().str("members");
    at_ = q.sink().offset();
    q.out().array32(0);
  }
  void add(Bytes m) {
    q_.out().bin(m);
    q_.check_room();
    ++n_;
  }
  void finish() {
    q_.check_room();
    q_.sink().patch_array32(at_, n_);
  }

 private:
  Request& q_;
  std::uint64_t at_ = 0;
  std::uint32_t n_ = 0;
};

// The sets that exist among `keys`; `missing` says whether any does not.
std::vector<Row> find_all(Request& q, const Items<Bytes>& keys, bool* missing) {
  std::vector<Row> rows;
  keys.each([&](Bytes key) {
    if (const std::optional<Row> row = q.keys().find(key, ValueType::set))
      rows.push_back(*row);
    else
      *missing = true;
  });
  return rows;
}

Items<Bytes> read_keys(Request& q) {
  const Fields f = q.fields({"keys"});
  const Items<Bytes> keys = q.key_list(f, "keys");
  if (keys.size() == 0) throw f.wrong("keys", "a list of at least one key");
  return keys;
}

void sinter(Request& q) {
  const Items<Bytes> keys = read_keys(q);
  if (q.routing()) return;
  bool missing = false;
  std::vector<Row> rows = find_all(q, keys, &missing);
  Members out(q);
  if (!missing) {
    std::sort(rows.begin(), rows.end(),
              [](const Row& a, const Row& b) { return a.count < b.count; });
    Statement s = q.db().prepare(kAll);
    s.bind(1, rows[0].id);
    while (s.step()) {
      const Bytes m = s.blob(0);
      if (std::all_of(rows.begin() + 1, rows.end(), [&](const Row& r) { return has(q, r.id, m); }))
        out.add(m);
    }
  }
  out.finish();
}

void sunion(Request& q) {
  const Items<Bytes> keys = read_keys(q);
  if (q.routing()) return;
  bool missing = false;
  std::string ids = "[";
  for (const Row& r : find_all(q, keys, &missing)) {
    if (ids.size() > 1) ids += ',';
    ids += std::to_string(r.id);
  }
  ids += ']';
  Members out(q);
  Statement s = q.db().prepare(kUnion);
  s.bind(1, std::string_view(ids));
  while (s.step()) out.add(s.blob(0));
  out.finish();
}

void sdiff(Request& q) {
  const Items<Bytes> keys = read_keys(q);
  if (q.routing()) return;
  std::optional<Row> first;
  std::vector<Row> others;
  bool at_first = true;
  keys.each([&](Bytes key) {
    const std::optional<Row> row = q.keys().find(key, ValueType::set);
    if (at_first)
      first = row;
    else if (row)
      others.push_back(*row);
    at_first = false;
  });
  Members out(q);
  if (first) {
    Statement s = q.db().prepare(kAll);
    s.bind(1, first->id);
    while (s.step()) {
      const Bytes m = s.blob(0);
      if (std::none_of(others.begin(), others.end(), [&](const Row& r) { return has(q, r.id, m); }))
        out.add(m);
    }
  }
  out.finish();
}

constexpr Verb kVerbs[] = {
    {"sadd", VerbAccess::write, sadd, {kv_sql::kFind, kInsert}},
    {"srem", VerbAccess::write, srem, {kv_sql::kFind, kDelete}},
    {"smembers", VerbAccess::read, smembers, {kv_sql::kFind, kAll}},
    {"sismember", VerbAccess::read, sismember, {kv_sql::kFind, kHas}},
    {"scard", VerbAccess::read, scard, {kv_sql::kFind}},
    {"spop", VerbAccess::write, spop, {kv_sql::kFind, kSome, kDelete}},
    {"sinter", VerbAccess::read, sinter, {kv_sql::kFind, kAll, kHas}},
    {"sunion", VerbAccess::read, sunion, {kv_sql::kFind, kUnion}},
    {"sdiff", VerbAccess::read, sdiff, {kv_sql::kFind, kAll, kHas}},
};

}  // namespace

std::span<const Verb> kv_set_verbs() { return kVerbs; }

}  // namespace headgate::sqlite
