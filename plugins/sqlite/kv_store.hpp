// Keyspace is the keys of one store, seen through one Database at one moment of wall-clock time.
//
// Tables (all WITHOUT ROWID but the large values; keys order as memcmp does):
//
//   headgate_kv_keys    key -> type, version, expires, id, count, value
//   headgate_kv_large   id -> value                     strings above kInlineMax bytes
//   headgate_kv_hash    (id, field) -> value
//   headgate_kv_list    (id, pos) -> value              pos grows to the right, with gaps
//   headgate_kv_set     (id, member)
//   headgate_kv_zset    (id, member) -> score           and an index (id, score, member)
//   headgate_kv_locks   name -> owner, expires, fence
//   headgate_kv_garbage id -> type                      content whose key is gone
//   headgate_kv_meta    name -> value                   `sequence`, `schema`
//
// A key's content hangs on an id that is never used again, so a key with a million elements is
// deleted by removing one row; the elements follow in small steps (purge). `expires` is
// milliseconds since 1970 by the machine's clock, 0 for never: it survives a restart, and moves
// with a clock that is set. An expired key is invisible at once; readers never write, so its row
// goes when a writer meets it or purges.
//
// Owner:   one execute(). Threads: the connection's worker.
// Holds:   a collection without elements has no row; `count` is its number of elements; every write
//          to a key gives it a version that no key of this store ever had.
#pragma once
#include <array>
#include <cstdint>
#include <optional>

#include "plugins/sqlite/database.hpp"

namespace headgate::sqlite {

enum class ValueType : std::uint8_t { string = 1, hash = 2, list = 3, set = 4, zset = 5 };
std::string_view name(ValueType t);

struct Row {
  ValueType type = ValueType::string;
  std::int64_t version = 0;
  std::int64_t expires = 0;  // ms since 1970; 0: never
  std::int64_t id = 0;       // of the content; 0: the value is in the row
  std::int64_t count = 0;    // elements; 0 for a string
};

// A key with the statement that lends its value.
struct Held {
  Row row;
  proto::Bytes value;  // empty unless a string
  Statement statement;
};

// A hash, list, set or sorted set that is being written; see open() and close().
struct Collection {
  proto::Bytes key;
  Row row;
  bool fresh;  // it has no row yet
};

using VersionToken = std::array<std::uint8_t, 8>;
VersionToken version_token(std::int64_t version);
std::optional<std::int64_t> parse_version(proto::Bytes token);  // empty: malformed

class Keyspace {
 public:
  static constexpr std::size_t kInlineMax = 480;   // keeps several rows on a 4 KiB page
  static constexpr std::int64_t kDropNowMax = 64;  // elements deleted together with their key
  static constexpr std::int64_t kPurgeStepMax = 512;

  Keyspace(Database& db, std::int64_t now_ms) : db_(db), now_ms_(now_ms) {}

  // Makes the tables; advances the sequence so that a version handed out before a power cut that
  // lost its commit (synchronous below FULL) is not given to another write.
  static void prepare(Database& db);

  [[nodiscard]] Database& db() { return db_; }
  [[nodiscard]] std::int64_t now_ms() const { return now_ms_; }
  [[nodiscard]] bool live(std::int64_t expires) const { return expires == 0 || expires > now_ms_; }

  // The key, if it is there and not expired. A reader's form, one look-up.
  std::optional<Row> find(proto::Bytes key);
  // The same with its value lent.
  std::optional<Held> hold(proto::Bytes key);
  // find() for a typed read. Throws Error (invalid) that names the type found.
  std::optional<Row> find(proto::Bytes key, ValueType type);

  // A writer's find(): an expired key is removed on the way.
  std::optional<Row> find_for_write(proto::Bytes key);
  // Writes a string over whatever `old` is; returns the version.
  std::int64_t put(proto::Bytes key, const std::optional<Row>& old, proto::Bytes value,
                   std::int64_t expires);
  void set_expires(proto::Bytes key, std::int64_t expires);
  void erase(proto::Bytes key, const Row& row);

  // A collection for writing, made when it is not there. Throws Error (invalid) on another type.
  // REQUIRES: something will be added to it (or it is left alone, and close() not called).
  Collection open(proto::Bytes key, ValueType type);
  // The same only when it is there; so that a pop from nothing writes nothing.
  std::optional<Collection> open_existing(proto::Bytes key, ValueType type);
  // Writes back count and a new version; one that has become empty disappears.
  void close(Collection& c);

  // The next number of the store's one sequence: versions, content ids and fences.
  std::int64_t next_number();

  // Removes what is expired or without a key, at most `rows` rows; returns how many it found.
  std::int64_t purge(std::int64_t rows);

  // Rows written so far: what the caller may be asked to purge in return.
  [[nodiscard]] std::int64_t written() const { return written_; }
  void count_written(std::int64_t rows) { written_ += rows; }

 private:
  void drop_content(const Row& row);
  std::int64_t purge_garbage(std::int64_t rows);
  std::int64_t purge_expired(std::int64_t rows);

  Database& db_;
  std::int64_t now_ms_;
  std::int64_t written_ = 0;
};

// What a verb answers when a key holds another type: code invalid, outcome rejected.
sdk::Error wrong_type(ValueType found, ValueType wanted);

// Memory that SQLite takes for an empty blob and not for NULL.
inline proto::Bytes solid(proto::Bytes b) {
  static constexpr std::uint8_t kNothing = 0;
  return b.data() == nullptr ? proto::Bytes(&kNothing, 0) : b;
}

}  // namespace headgate::sqlite
