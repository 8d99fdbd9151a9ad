// Verbs on hashes; hscan stands in kv_scan.cpp.
//
// Threads: pure functions of a Request.
#include "plugins/sqlite/kv_request.hpp"
#include "plugins/sqlite/kv_sql.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::string_view kGet = "SELECT value FROM headgate_kv_hash WHERE id = ?1 AND field = ?2";
constexpr std::string_view kAll =
    "SELECT field, value FROM headgate_kv_hash WHERE id = ?1 ORDER BY field";
constexpr std::string_view kUpdate =
    "UPDATE headgate_kv_hash SET value = ?3 WHERE id = ?1 AND field = ?2";
constexpr std::string_view kInsert =
    "INSERT INTO headgate_kv_hash(id, field, value) VALUES(?1, ?2, ?3)";
constexpr std::string_view kDelete = "DELETE FROM headgate_kv_hash WHERE id = ?1 AND field = ?2";

// True when the field is new.
bool put_field(Request& q, Collection& c, Bytes field, Bytes value) {
  const auto write = [&](std::string_view sql) {
    Statement s = q.db().prepare(sql);
    s.bind(1, c.row.id).bind(2, solid(field)).bind(3, solid(value)).run();
  };
  if (c.row.count > 0) {
    write(kUpdate);
    if (q.db().changes() > 0) return false;
  }
  write(kInsert);
  ++c.row.count;
  return true;
}

void write_field(Request& q, const std::optional<Row>& row, Bytes field) {
  if (row) {
    Statement s = q.db().prepare(kGet);
    s.bind(1, row->id).bind(2, solid(field));
    if (s.step()) return q.out().bin(s.blob(0));
  }
  q.out().nil();
}

void hset(Request& q) {
  const Fields f = q.fields({"key", "fields"});
  const Bytes key = q.key(f, "key");
  const Items<Pair> pairs = q.field_values(f, "fields");
  if (q.routing()) return;
  std::int64_t added = 0;
  if (pairs.size() == 0) {
    q.keys().find(key, ValueType::hash);  // the wrong type is told even now
  } else {
    Collection c = q.keys().open(key, ValueType::hash);
    pairs.each([&](const Pair& p) { added += put_field(q, c, p.first, p.second) ? 1 : 0; });
    q.keys().close(c);
  }
  reply_int(q, "added", added);
}

void hget(Request& q) {
  const Fields f = q.fields({"key", "field"});
  const Bytes key = q.key(f, "key");
  const Bytes field = q.member(f, "field");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::hash);
  q.out().map(1);
  q.out().str("value");
  write_field(q, row, field);
}

void hmget(Request& q) {
  const Fields f = q.fields({"key", "fields"});
  const Bytes key = q.key(f, "key");
  const Items<Bytes> names = q.members(f, "fields");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::hash);
  q.out().map(1);
  q.out().str("values");
  q.out().array(names.size());
  names.each([&](Bytes field) {
    q.check_room();
    write_field(q, row, field);
  });
}

void hgetall(Request& q) {
  const Fields f = q.fields({"key"});
  const Bytes key = q.key(f, "key");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::hash);
  q.out().map(1);
  q.out().str("fields");
  q.out().array(row ? static_cast<std::uint32_t>(row->count) : 0);
  if (!row) return;
  Statement s = q.db().prepare(kAll);
  s.bind(1, row->id);
  while (s.step()) {
    q.out().array(2);
    q.out().bin(s.blob(0));
    q.out().bin(s.blob(1));
    q.check_room();
  }
}

void hdel(Request& q) { remove_members(q, ValueType::hash, "fields", kDelete, "deleted"); }

void hexists(Request& q) {
  const Fields f = q.fields({"key", "field"});
  const Bytes key = q.key(f, "key");
  const Bytes field = q.member(f, "field");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::hash);
  bool there = false;
  if (row) {
    Statement s = q.db().prepare(kGet);
    there = s.bind(1, row->id).bind(2, solid(field)).step();
  }
  reply_flag(q, "exists", there);
}

void hlen(Request& q) {
  const Fields f = q.fields({"key"});
  const Bytes key = q.key(f, "key");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key, ValueType::hash);
  reply_int(q, "length", row ? row->count : 0);
}

void hincrby(Request& q) {
  const Fields f = q.fields({"key", "field", "by"});
  const Bytes key = q.key(f, "key");
  const Bytes field = q.member(f, "field");
  const Number by = q.by(f);
  if (q.routing()) return;
  Collection c = q.keys().open(key, ValueType::hash);
  std::string text = "0";
  if (!c.fresh) {
    Statement s = q.db().prepare(kGet);
    s.bind(1, c.row.id).bind(2, solid(field));
    if (s.step()) text = proto::text_of(s.blob(0));
  }
  text = add_number(q, text, by);
  put_field(q, c, field, proto::bytes_of(text));
  q.keys().close(c);
}

constexpr Verb kVerbs[] = {
    {"hset", VerbAccess::write, hset, {kv_sql::kFind, kUpdate, kInsert}},
    {"hget", VerbAccess::read, hget, {kv_sql::kFind, kGet}},
    {"hmget", VerbAccess::read, hmget, {kv_sql::kFind, kGet}},
    {"hgetall", VerbAccess::read, hgetall, {kv_sql::kFind, kAll}},
    {"hdel", VerbAccess::write, hdel, {kv_sql::kFind, kDelete}},
    {"hexists", VerbAccess::read, hexists, {kv_sql::kFind, kGet}},
    {"hlen", VerbAccess::read, hlen, {kv_sql::kFind}},
    {"hincrby", VerbAccess::write, hincrby, {kv_sql::kFind, kGet, kUpdate}},
};

}  // namespace

std::span<const Verb> kv_hash_verbs() { return kVerbs; }

}  // namespace headgate::sqlite
