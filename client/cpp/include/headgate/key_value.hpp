// KeyValue is a store of kind `key_value`: keys and values are bytes, held in std::string.
//
// Threads: a KeyValue is a name and options; copy it freely.
#pragma once
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "headgate/connection.hpp"
#include "headgate/value.hpp"

namespace headgate {

struct SetOptions {
  bool nx = false;  // only when the key is new
  bool xx = false;  // only when it exists
  std::optional<Millis> ttl;
  bool keep_ttl = false;
  bool get_old = false;
  std::optional<std::string> if_version;  // throws Error(conflict) unless the version is this one
};

struct SetResult {
  bool set = false;
  std::optional<std::string> version;
  std::optional<std::string> old;
};

struct Versioned {
  std::string value;
  std::optional<std::string> version;  // opaque: for if_version
};

struct ScanPage {
  std::vector<std::string> keys;
  std::vector<std::optional<std::string>> values;  // empty unless asked for
  std::optional<std::string> cursor;               // of the next page; none: this was the last
};

class KeyValue {
 public:
  using Bytes = std::string_view;  // keys and values: any bytes
  using Strings = std::vector<std::string>;
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  using Scores = std::vector<std::pair<std::string, double>>;  // member, score

  KeyValue(std::shared_ptr<detail::Engine> engine, std::string store, CallOptions options = {})
      : engine_(std::move(engine)), store_(std::move(store)), options_(std::move(options)) {}
  [[nodiscard]] KeyValue with(CallOptions o) const;

  [[nodiscard]] std::optional<std::string> get(Bytes key) const;
  [[nodiscard]] std::optional<Versioned> get_versioned(Bytes key) const;
  SetResult set(Bytes key, Bytes value, const SetOptions& o = {}) const;
  bool remove(Bytes key) const;  // `delete`
  std::int64_t remove_many(const Strings& keys) const;
  [[nodiscard]] std::int64_t exists(const Strings& keys) const;
  [[nodiscard]] std::vector<std::optional<std::string>> get_many(const Strings& keys) const;
  bool set_many(const Pairs& items, bool nx = false, std::optional<Millis> ttl = {}) const;
  std::int64_t increment(Bytes key, std::int64_t by = 1, std::optional<Millis> ttl = {}) const;
  double increment_float(Bytes key, double by) const;
  std::int64_t append(Bytes key, Bytes value) const;
  std::optional<std::string> get_delete(Bytes key) const;
  bool expire(Bytes key, Millis ttl) const;
  bool persist(Bytes key) const;
  // None: no such key. Millis(-1): it has no TTL.
  [[nodiscard]] std::optional<Millis> ttl(Bytes key) const;
  [[nodiscard]] std::optional<std::string> type(Bytes key) const;
  [[nodiscard]] ScanPage scan_prefix(Bytes prefix, const std::optional<std::string>& cursor = {},
                                     std::int64_t count = 0, bool values = false) const;
  [[nodiscard]] ScanPage scan_glob(Bytes glob, const std::optional<std::string>& cursor = {},
                                   std::int64_t count = 0, bool values = false) const;
  std::int64_t delete_prefix(Bytes prefix) const;
  // expected: none means that the key must not exist.
  bool compare_and_set(Bytes key, const std::optional<std::string>& expected, Bytes value,
                       std::optional<Millis> ttl = {}) const;

  std::int64_t hset(Bytes key, const Pairs& fields) const;
  [[nodiscard]] std::optional<std::string> hget(Bytes key, Bytes field) const;
  [[nodiscard]] Pairs hgetall(Bytes key) const;
  std::int64_t hdel(Bytes key, const Strings& fields) const;
  std::int64_t hincrby(Bytes key, Bytes field, std::int64_t by = 1) const;

  std::int64_t lpush(Bytes key, const Strings& values) const;
  std::int64_t rpush(Bytes key, const Strings& values) const;
  std::optional<std::string> lpop(Bytes key) const;
  std::optional<std::string> rpop(Bytes key) const;
  [[nodiscard]] std::int64_t llen(Bytes key) const;
  [[nodiscard]] Strings lrange(Bytes key, std::int64_t start, std::int64_t stop) const;
  std::int64_t lrem(Bytes key, std::int64_t count, Bytes value) const;
  // from, to: "left" or "right".
  std::optional<std::string> lmove(Bytes source, Bytes destination, std::string_view from,
                                   std::string_view to) const;
  std::optional<std::string> blmove(Bytes source, Bytes destination, std::string_view from,
                                    std::string_view to, Millis wait) const;
  // (key, value), or none when the wait has ended.
  std::optional<std::pair<std::string, std::string>> blpop(const Strings& keys, Millis wait) const;
  std::optional<std::pair<std::string, std::string>> brpop(const Strings& keys, Millis wait) const;

  std::int64_t sadd(Bytes key, const Strings& members) const;
  std::int64_t srem(Bytes key, const Strings& members) const;
  [[nodiscard]] Strings smembers(Bytes key) const;
  [[nodiscard]] bool sismember(Bytes key, Bytes member) const;
  [[nodiscard]] std::int64_t scard(Bytes key) const;

  std::int64_t zadd(Bytes key, const Scores& members) const;
  double zincrby(Bytes key, Bytes member, double by) const;
  std::int64_t zrem(Bytes key, const Strings& members) const;
  [[nodiscard]] std::optional<double> zscore(Bytes key, Bytes member) const;
  [[nodiscard]] std::optional<std::int64_t> zrank(Bytes key, Bytes member,
                                                  bool reverse = false) const;
  [[nodiscard]] std::int64_t zcard(Bytes key) const;
  [[nodiscard]] Scores zrange(Bytes key, std::int64_t start, std::int64_t stop,
                              bool reverse = false) const;

  // The fence grows with every acquisition; none: somebody else holds it.
  std::optional<std::int64_t> lock(Bytes name, Bytes owner, Millis ttl, Millis wait = {}) const;
  bool unlock(Bytes name, Bytes owner) const;

  // Any other verb; the body's fields as pairs: request("zcount", Doc("key", Binary{"k"})).
  Value request(std::string_view verb, const Doc& body) const;
  [[nodiscard]] const std::string& store() const { return store_; }

 private:
  template <class T>
  T field(std::string_view verb, const Doc& body, std::string_view key, Millis wait = {}) const;
  [[nodiscard]] ScanPage scan(std::string_view by, Bytes what,
                              const std::optional<std::string>& cursor, std::int64_t count,
                              bool values) const;
  std::optional<std::pair<std::string, std::string>> pop(std::string_view verb, const Strings& keys,
                                                         Millis wait) const;
  Reply call(std::string_view verb, const Doc& body, Millis wait = {}) const;

  std::shared_ptr<detail::Engine> engine_;
  std::string store_;
  CallOptions options_;
};

}  // namespace headgate
