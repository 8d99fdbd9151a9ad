// See kv_store.hpp.
#include "plugins/sqlite/kv_store.hpp"

#include <algorithm>
#include <string>
#include <vector>

#include "plugins/sqlite/kv_sql.hpp"

namespace headgate::sqlite {
namespace {

using proto::Bytes;

constexpr std::int64_t kSchema = 1;
constexpr std::int64_t kSequenceStride = 1 << 20;  // numbers skipped when a store is opened

constexpr std::string_view kTables[] = {
    "CREATE TABLE IF NOT EXISTS headgate_kv_keys(key BLOB NOT NULL PRIMARY KEY, "
    "type INTEGER NOT NULL, version INTEGER NOT NULL, expires INTEGER NOT NULL, "
    "id INTEGER NOT NULL, count INTEGER NOT NULL, value BLOB) STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS headgate_kv_keys_expires ON headgate_kv_keys(expires) "
    "WHERE expires > 0",
    "CREATE TABLE IF NOT EXISTS headgate_kv_large(id INTEGER PRIMARY KEY, value BLOB NOT NULL) "
    "STRICT",
    "CREATE TABLE IF NOT EXISTS headgate_kv_hash(id INTEGER NOT NULL, field BLOB NOT NULL, "
    "value BLOB NOT NULL, PRIMARY KEY(id, field)) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS headgate_kv_list(id INTEGER NOT NULL, pos INTEGER NOT NULL, "
    "value BLOB NOT NULL, PRIMARY KEY(id, pos)) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS headgate_kv_set(id INTEGER NOT NULL, member BLOB NOT NULL, "
    "PRIMARY KEY(id, member)) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS headgate_kv_zset(id INTEGER NOT NULL, member BLOB NOT NULL, "
    "score REAL NOT NULL, PRIMARY KEY(id, member)) STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS headgate_kv_zset_score ON headgate_kv_zset(id, score, member)",
    "CREATE TABLE IF NOT EXISTS headgate_kv_locks(name BLOB NOT NULL PRIMARY KEY, "
    "owner BLOB NOT NULL, expires INTEGER NOT NULL, fence INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS headgate_kv_locks_expires ON headgate_kv_locks(expires)",
    "CREATE TABLE IF NOT EXISTS headgate_kv_garbage(id INTEGER PRIMARY KEY, type INTEGER NOT NULL) "
    "STRICT",
    "CREATE TABLE IF NOT EXISTS headgate_kv_meta(name TEXT NOT NULL PRIMARY KEY, "
    "value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    "INSERT INTO headgate_kv_meta(name, value) VALUES('schema', 1), ('sequence', 0) "
    "ON CONFLICT(name) DO NOTHING",
};

// By type: all of a content, and up to ?2 rows of it.
struct Content {
  std::string_view all;
  std::string_view some;
};
const Content& content(ValueType t) {
  static constexpr Content kContents[] = {
      {"DELETE FROM headgate_kv_large WHERE id = ?1",
       "DELETE FROM headgate_kv_large WHERE id = ?1"},
      {"DELETE FROM headgate_kv_hash WHERE id = ?1",
       "DELETE FROM headgate_kv_hash WHERE id = ?1 AND field IN "
       "(SELECT field FROM headgate_kv_hash WHERE id = ?1 LIMIT ?2)"},
      {"DELETE FROM headgate_kv_list WHERE id = ?1",
       "DELETE FROM headgate_kv_list WHERE id = ?1 AND pos IN "
       "(SELECT pos FROM headgate_kv_list WHERE id = ?1 LIMIT ?2)"},
      {"DELETE FROM headgate_kv_set WHERE id = ?1",
       "DELETE FROM headgate_kv_set WHERE id = ?1 AND member IN "
       "(SELECT member FROM headgate_kv_set WHERE id = ?1 LIMIT ?2)"},
      {"DELETE FROM headgate_kv_zset WHERE id = ?1",
       "DELETE FROM headgate_kv_zset WHERE id = ?1 AND member IN "
       "(SELECT member FROM headgate_kv_zset WHERE id = ?1 LIMIT ?2)"}};
  return kContents[static_cast<std::size_t>(t) - 1];
}

ValueType type_from(std::int64_t n) {
  if (n >= 1 && n <= 5) return static_cast<ValueType>(n);
  throw sdk::Error(sdk::Code::store_error, sdk::Outcome::rejected,
                   "a key of an unknown type: the file was written by a newer version");
}

Row row_of(const Statement& s) {
  return {type_from(s.integer(0)), s.integer(1), s.integer(2), s.integer(3), s.integer(4)};
}

}  // namespace

std::string_view name(ValueType t) {
  static constexpr std::string_view kNames[] = {"string", "hash", "list", "set", "zset"};
  return kNames[static_cast<std::size_t>(t) - 1];
}

sdk::Error wrong_type(ValueType found, ValueType wanted) {
  return {sdk::Code::invalid, sdk::Outcome::rejected,
          "wrong type: the key holds a " + std::string(name(found)) + ", not a " +
              std::string(name(wanted))};
}

VersionToken version_token(std::int64_t version) {
  VersionToken out{};
  auto v = static_cast<std::uint64_t>(version);
  for (std::size_t i = out.size(); i-- > 0; v >>= 8) out[i] = static_cast<std::uint8_t>(v);
  return out;
}

std::optional<std::int64_t> parse_version(Bytes token) {
  if (token.size() != sizeof(VersionToken)) return std::nullopt;
  std::uint64_t v = 0;
  for (const std::uint8_t b : token) v = v << 8 | b;
  if (v == 0 || v > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
  return static_cast<std::int64_t>(v);
}

void Keyspace::prepare(Database& db) {
  for (const std::string_view sql : kTables) db.exec(sql);
  {
    Statement s = db.prepare("SELECT value FROM headgate_kv_meta WHERE name = 'schema'");
    if (!s.step() || s.integer(0) != kSchema)
      throw sdk::Error(sdk::Code::unavailable, sdk::Outcome::not_sent,
                       "the key-value tables of this file were made by another version (schema " +
                           std::to_string(s.integer(0)) + ", this is 1)");
  }
  Statement s =
      db.prepare("UPDATE headgate_kv_meta SET value = value + ?1 WHERE name = 'sequence'");
  s.bind(1, kSequenceStride).run();
}

std::optional<Row> Keyspace::find(Bytes key) {
  Statement s = db_.prepare(kv_sql::kFind);
  s.bind(1, solid(key));
  if (!s.step()) return std::nullopt;
  const Row row = row_of(s);
  if (!live(row.expires)) return std::nullopt;
  return row;
}

std::optional<Held> Keyspace::hold(Bytes key) {
  Statement s = db_.prepare(kv_sql::kHold);
  s.bind(1, solid(key));
  if (!s.step()) return std::nullopt;
  const Row row = row_of(s);
  if (!live(row.expires)) return std::nullopt;
  if (row.type != ValueType::string || row.id == 0) {
    const Bytes value = row.type == ValueType::string ? s.blob(5) : Bytes{};
    return Held{row, value, std::move(s)};
  }
  Statement large = db_.prepare(kv_sql::kLarge);
  large.bind(1, row.id);
  if (!large.step())
    throw sdk::Error(sdk::Code::store_error, sdk::Outcome::rejected,
                     "a key's value is missing: the file is damaged");
  const Bytes value = large.blob(0);
  return Held{row, value, std::move(large)};
}

std::optional<Row> Keyspace::find(Bytes key, ValueType type) {
  std::optional<Row> row = find(key);
  if (row && row->type != type) throw wrong_type(row->type, type);
  return row;
}

std::optional<Row> Keyspace::find_for_write(Bytes key) {
  Row row;
  {
    Statement s = db_.prepare(kv_sql::kFind);
    s.bind(1, solid(key));
    if (!s.step()) return std::nullopt;
    row = row_of(s);
  }
  if (live(row.expires)) return row;
  erase(key, row);
  return std::nullopt;
}

std::int64_t Keyspace::put(Bytes key, const std::optional<Row>& old, Bytes value,
                           std::int64_t expires) {
  if (old) drop_content(*old);
  const std::int64_t version = next_number();
  const bool large = value.size() > kInlineMax;
  if (large) {
    Statement s = db_.prepare(kv_sql::kPutLarge);
    s.bind(1, version).bind(2, value).run();
  }
  Statement s = db_.prepare(kv_sql::kPut);
  s.bind(1, solid(key)).bind(2, static_cast<std::int64_t>(ValueType::string)).bind(3, version);
  s.bind(4, expires).bind(5, large ? version : std::int64_t{0}).bind(6, std::int64_t{0});
  if (large)
    s.bind_null(7);
  else
    s.bind(7, solid(value));
  s.run();
  ++written_;
  return version;
}

void Keyspace::set_expires(Bytes key, std::int64_t expires) {
  Statement s = db_.prepare(kv_sql::kExpire);
  s.bind(1, solid(key)).bind(2, expires).run();
  ++written_;
}

void Keyspace::erase(Bytes key, const Row& row) {
  drop_content(row);
  Statement s = db_.prepare(kv_sql::kErase);
  s.bind(1, solid(key)).run();
}

void Keyspace::drop_content(const Row& row) {
  if (row.id == 0) return;
  if (row.count <= kDropNowMax) {
    Statement s = db_.prepare(content(row.type).all);
    s.bind(1, row.id).run();
    return;
  }
  Statement s = db_.prepare("INSERT INTO headgate_kv_garbage(id, type) VALUES(?1, ?2)");
  s.bind(1, row.id).bind(2, static_cast<std::int64_t>(row.type)).run();
  written_ += row.count;
}

std::optional<Collection> Keyspace::open_existing(Bytes key, ValueType type) {
  const std::optional<Row> row = find_for_write(key);
  if (!row) return std::nullopt;
  if (row->type != type) throw wrong_type(row->type, type);
  return Collection{key, *row, false};
}

Collection Keyspace::open(Bytes key, ValueType type) {
  if (std::optional<Collection> c = open_existing(key, type)) return *c;
  const std::int64_t id = next_number();
  return {key, {type, id, 0, id, 0}, true};
}

void Keyspace::close(Collection& c) {
  if (c.row.count == 0) {
    if (!c.fresh) erase(c.key, c.row);
    return;
  }
  ++written_;
  if (!c.fresh) {
    c.row.version = next_number();
    Statement s = db_.prepare(kv_sql::kUpdate);
    s.bind(1, solid(c.key)).bind(2, c.row.version).bind(3, c.row.count).run();
    return;
  }
  Statement s = db_.prepare(kv_sql::kPut);
  s.bind(1, solid(c.key)).bind(2, static_cast<std::int64_t>(c.row.type)).bind(3, c.row.version);
  s.bind(4, c.row.expires).bind(5, c.row.id).bind(6, c.row.count).bind_null(7).run();
  c.fresh = false;
}

std::int64_t Keyspace::next_number() {
  Statement s = db_.prepare(kv_sql::kNext);
  if (!s.step())
    throw sdk::Error(sdk::Code::store_error, sdk::Outcome::rejected,
                     "the key-value sequence is missing: the file is damaged");
  return s.integer(0);
}

std::int64_t Keyspace::purge(std::int64_t rows) {
  rows = std::min(rows, kPurgeStepMax);
  std::int64_t found = purge_garbage(rows);
  if (found < rows) found += purge_expired(rows - found);
  if (found < rows) {
    Statement s = db_.prepare(
        "DELETE FROM headgate_kv_locks WHERE name IN "
        "(SELECT name FROM headgate_kv_locks WHERE expires <= ?1 LIMIT ?2)");
    s.bind(1, now_ms_).bind(2, rows - found).run();
    found += db_.changes();
  }
  return found;
}

std::int64_t Keyspace::purge_garbage(std::int64_t rows) {
  std::int64_t found = 0;
  while (found < rows) {
    std::int64_t id = 0;
    ValueType type{};
    {
      Statement s = db_.prepare("SELECT id, type FROM headgate_kv_garbage LIMIT 1");
      if (!s.step()) break;
      id = s.integer(0);
      type = type_from(s.integer(1));
    }
    const std::int64_t room = rows - found;
    Statement s = db_.prepare(content(type).some);
    s.bind(1, id);
    if (type != ValueType::string) s.bind(2, room);
    s.run();
    const std::int64_t gone = db_.changes();
    found += gone + 1;
    if (type != ValueType::string && gone >= room) break;  // there may be more of it
    Statement done = db_.prepare("DELETE FROM headgate_kv_garbage WHERE id = ?1");
    done.bind(1, id).run();
  }
  return found;
}

std::int64_t Keyspace::purge_expired(std::int64_t rows) {
  struct Dead {
    std::string key;
    Row row;
  };
  std::vector<Dead> dead;
  {
    Statement s = db_.prepare(
        "SELECT type, version, expires, id, count, key FROM headgate_kv_keys "
        "WHERE expires > 0 AND expires <= ?1 LIMIT ?2");
    s.bind(1, now_ms_).bind(2, rows);
    while (s.step()) dead.push_back({std::string(proto::text_of(s.blob(5))), row_of(s)});
  }
  for (const Dead& d : dead) erase(proto::bytes_of(d.key), d.row);
  return static_cast<std::int64_t>(dead.size());
}

}  // namespace headgate::sqlite
