// Verbs on strings and on any key: get, set, delete, increment, append, expire, ... See Request.
//
// Threads: pure functions of a Request.
#include <cmath>
#include <string>

#include "plugins/sqlite/kv_numbers.hpp"
#include "plugins/sqlite/kv_request.hpp"
#include "plugins/sqlite/kv_sql.hpp"

namespace headgate::sqlite {
namespace {

std::int64_t expiry(const Request& q, const std::optional<std::int64_t>& ttl) {
  return ttl ? q.keys().now_ms() + *ttl : 0;
}

void write_version(const Request& q, std::int64_t version) {
  const VersionToken token = version_token(version);
  q.out().bin(token);
}

void must_be_string(const Row& row) {
  if (row.type != ValueType::string) throw wrong_type(row.type, ValueType::string);
}

// Throws `conflict` unless the key is as if_version says.
void expect(const Request& q, const std::optional<Expected>& e, const std::optional<Row>& row) {
  if (!e) return;
  if (e->absent ? !row : row && row->version == e->version) return;
  throw q.refused(sdk::Code::conflict, e->absent ? "the key is there already"
                                       : row     ? "the key has another version"
                                                 : "the key is gone");
}

void get(Request& q) {
  const Fields f = q.fields({"key"});
  const Bytes key = q.key(f, "key");
  if (q.routing()) return;
  const std::optional<Held> held = q.keys().hold(key);
  if (held) must_be_string(held->row);
  q.out().map(2);
  q.out().str("value");
  if (held)
    q.out().bin(held->value);
  else
    q.out().nil();
  q.out().str("version");
  if (held)
    write_version(q, held->row.version);
  else
    q.out().nil();
}

void get_many(Request& q) {
  const Fields f = q.fields({"keys"});
  const Items<Bytes> keys = q.key_list(f, "keys");
  if (q.routing()) return;
  std::vector<std::int64_t> versions;  // 0: no string there
  versions.reserve(keys.size());
  q.out().map(2);
  q.out().str("values");
  q.out().array(keys.size());
  keys.each([&](Bytes key) {
    q.check_room();
    const std::optional<Held> held = q.keys().hold(key);
    const bool there = held && held->row.type == ValueType::string;
    if (there)
      q.out().bin(held->value);
    else
      q.out().nil();
    versions.push_back(there ? held->row.version : 0);
  });
  q.out().str("versions");
  q.out().array(keys.size());
  for (const std::int64_t v : versions) {
    if (v != 0)
      write_version(q, v);
    else
      q.out().nil();
  }
}

void set(Request& q) {
  const Fields f =
      q.fields({"key", "value", "nx", "xx", "ttl_ms", "keep_ttl", "get_old", "if_version"});
  const Bytes key = q.key(f, "key");
  const Bytes value = q.value(f, "value");
  const bool nx = f.flag("nx"), xx = f.flag("xx");
  const bool keep = f.flag("keep_ttl"), get_old = f.flag("get_old");
  const std::optional<std::int64_t> ttl = q.opt_ttl(f);
  const std::optional<Expected> expected = q.if_version(f);
  if (nx + xx + (expected ? 1 : 0) > 1)
    throw q.invalid("at most one of `nx`, `xx` and `if_version`");
  if (ttl && keep) throw q.invalid("at most one of `ttl_ms` and `keep_ttl`");
  q.harmless(!nx && !xx && !keep && !get_old && !expected);
  if (q.routing()) return;

  q.out().map(3);
  q.out().str("old");
  bool wrote_old = false;
  if (get_old) {
    if (const std::optional<Held> held = q.keys().hold(key)) {
      must_be_string(held->row);
      q.out().bin(held->value);
      wrote_old = true;
    }
  }
  if (!wrote_old) q.out().nil();
  const std::optional<Row> row = q.keys().find_for_write(key);
  expect(q, expected, row);
  const bool go = nx ? !row : xx ? row.has_value() : true;
  std::int64_t version = 0;
  if (go) version = q.keys().put(key, row, value, keep && row ? row->expires : expiry(q, ttl));
  q.out().str("set");
  q.out().boolean(go);
  q.out().str("version");
  if (go)
    write_version(q, version);
  else
    q.out().nil();
}

void set_many(Request& q) {
  const Fields f = q.fields({"items", "nx", "ttl_ms"});
  const Items<Pair> pairs = q.key_values(f, "items");
  const bool nx = f.flag("nx");
  const std::optional<std::int64_t> ttl = q.opt_ttl(f);
  q.harmless(!nx);
  if (q.routing()) return;
  bool go = true;
  if (nx) pairs.each([&](const Pair& p) { go = go && !q.keys().find(p.first); });
  if (go)
    pairs.each([&](const Pair& p) {
      q.keys().put(p.first, q.keys().find_for_write(p.first), p.second, expiry(q, ttl));
    });
  reply_flag(q, "set", go);
}

void erase(Request& q) {
  const Fields f = q.fields({"key", "if_version"});
  const Bytes key = q.key(f, "key");
  const std::optional<Expected> expected = q.if_version(f);
  q.harmless(!expected);
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find_for_write(key);
  expect(q, expected, row);
  if (row) q.keys().erase(key, *row);
  reply_int(q, "deleted", row ? 1 : 0);
}

void delete_many(Request& q) {
  const Fields f = q.fields({"keys"});
  const Items<Bytes> keys = q.key_list(f, "keys");
  q.harmless(true);
  if (q.routing()) return;
  std::int64_t n = 0;
  keys.each([&](Bytes key) {
    const std::optional<Row> row = q.keys().find_for_write(key);
    if (!row) return;
    q.keys().erase(key, *row);
    ++n;
  });
  reply_int(q, "deleted", n);
}

void exists(Request& q) {
  const Fields f = q.fields({"keys"});
  const Items<Bytes> keys = q.key_list(f, "keys");
  if (q.routing()) return;
  std::int64_t n = 0;
  keys.each([&](Bytes key) { n += q.keys().find(key) ? 1 : 0; });
  reply_int(q, "count", n);
}

void type_of(Request& q) {
  const Fields f = q.fields({"key"});
  const Bytes key = q.key(f, "key");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key);
  q.out().map(1);
  q.out().str("type");
  if (row)
    q.out().str(name(row->type));
  else
    q.out().nil();
}

void increment(Request& q) {
  const Fields f = q.fields({"key", "by", "ttl_ms"});
  const Bytes key = q.key(f, "key");
  const Number by = q.by(f);
  const std::optional<std::int64_t> ttl = q.opt_ttl(f);
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find_for_write(key);
  std::string text = "0";
  if (row) {
    must_be_string(*row);
    if (const std::optional<Held> held = q.keys().hold(key)) text = proto::text_of(held->value);
  }
  text = add_number(q, text, by);
  q.keys().put(key, row, proto::bytes_of(text), row ? row->expires : expiry(q, ttl));
}

void append(Request& q) {
  const Fields f = q.fields({"key", "value"});
  const Bytes key = q.key(f, "key");
  const Bytes value = q.value(f, "value");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find_for_write(key);
  std::string text;
  if (row) {
    must_be_string(*row);
    if (const std::optional<Held> held = q.keys().hold(key)) {
      q.check_value(held->value.size() + value.size());
      text = proto::text_of(held->value);
    }
  }
  text += proto::text_of(value);
  // Appending nothing to nothing makes no key, as in Redis.
  if (row || !text.empty()) q.keys().put(key, row, proto::bytes_of(text), row ? row->expires : 0);
  reply_int(q, "length", static_cast<std::int64_t>(text.size()));
}

void get_delete(Request& q) {
  const Fields f = q.fields({"key"});
  const Bytes key = q.key(f, "key");
  if (q.routing()) return;
  {
    const std::optional<Held> held = q.keys().hold(key);
    if (held) must_be_string(held->row);
    reply_value(q, "value", held ? std::optional<Bytes>(held->value) : std::nullopt);
  }
  if (const std::optional<Row> row = q.keys().find_for_write(key)) q.keys().erase(key, *row);
}

void expire(Request& q) {
  const Fields f = q.fields({"key", "ttl_ms"});
  const Bytes key = q.key(f, "key");
  const std::int64_t ttl = q.ttl(f);
  q.harmless(true);
  if (q.routing()) return;
  const bool there = q.keys().find_for_write(key).has_value();
  if (there) q.keys().set_expires(key, q.keys().now_ms() + ttl);
  reply_flag(q, "set", there);
}

void persist(Request& q) {
  const Fields f = q.fields({"key"});
  const Bytes key = q.key(f, "key");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find_for_write(key);
  const bool had = row && row->expires != 0;
  if (had) q.keys().set_expires(key, 0);
  reply_flag(q, "set", had);
}

void ttl(Request& q) {
  const Fields f = q.fields({"key"});
  const Bytes key = q.key(f, "key");
  if (q.routing()) return;
  const std::optional<Row> row = q.keys().find(key);
  q.out().map(1);
  q.out().str("ttl_ms");
  if (!row)
    q.out().nil();
  else
    q.out().sint(row->expires == 0 ? -1 : row->expires - q.keys().now_ms());
}

void compare_and_set(Request& q) {
  const Fields f = q.fields({"key", "expected", "value", "ttl_ms"});
  const Bytes key = q.key(f, "key");
  const std::optional<Bytes> expected = q.opt_value(f, "expected");
  const Bytes value = q.value(f, "value");
  const std::optional<std::int64_t> ttl = q.opt_ttl(f);
  if (q.routing()) return;
  bool same = !expected;
  {
    const std::optional<Held> held = q.keys().hold(key);
    if (held) {
      must_be_string(held->row);
      same = expected && proto::text_of(held->value) == proto::text_of(*expected);
    } else {
      same = !expected;
    }
  }
  if (same) q.keys().put(key, q.keys().find_for_write(key), value, expiry(q, ttl));
  reply_flag(q, "set", same);
}

constexpr Verb kVerbs[] = {
    {"get", VerbAccess::read, get, {kv_sql::kHold, kv_sql::kLarge}},
    {"set", VerbAccess::write, set, {kv_sql::kFind, kv_sql::kNext, kv_sql::kPut}},
    {"delete", VerbAccess::write, erase, {kv_sql::kFind, kv_sql::kErase}},
    {"exists", VerbAccess::read, exists, {kv_sql::kFind}},
    {"get_many", VerbAccess::read, get_many, {kv_sql::kHold, kv_sql::kLarge}},
    {"set_many", VerbAccess::write, set_many, {kv_sql::kFind, kv_sql::kNext, kv_sql::kPut}},
    {"delete_many", VerbAccess::write, delete_many, {kv_sql::kFind, kv_sql::kErase}},
    {"increment", VerbAccess::write, increment, {kv_sql::kHold, kv_sql::kNext, kv_sql::kPut}},
    {"append", VerbAccess::write, append, {kv_sql::kHold, kv_sql::kNext, kv_sql::kPut}},
    {"get_delete", VerbAccess::write, get_delete, {kv_sql::kHold, kv_sql::kErase}},
    {"expire", VerbAccess::write, expire, {kv_sql::kFind, kv_sql::kExpire}},
    {"persist", VerbAccess::write, persist, {kv_sql::kFind, kv_sql::kExpire}},
    {"ttl", VerbAccess::read, ttl, {kv_sql::kFind}},
    {"type", VerbAccess::read, type_of, {kv_sql::kFind}},
    {"compare_and_set",
     VerbAccess::write,
     compare_and_set,
     {kv_sql::kHold, kv_sql::kNext, kv_sql::kPut}},
};

}  // namespace

std::span<const Verb> kv_string_verbs() { return kVerbs; }

std::string add_number(const Request& q, std::string_view text, const Number& by) {
  q.out().map(1);
  q.out().str("value");
  if (by.is_float) {
    const std::optional<std::string> sum = add_float(text, by.real);
    if (!sum)
      throw q.refused(sdk::Code::invalid, parse_float(text)
                                              ? "the sum does not fit a float of 64 bits"
                                              : "the value is not a number");
    q.out().real(to_double(*sum));
    return *sum;
  }
  const std::optional<std::int64_t> held = parse_integer(text);
  if (!held) throw q.refused(sdk::Code::invalid, "the value is not an integer of 64 bits");
  std::int64_t sum = 0;
  if (__builtin_add_overflow(*held, by.integer, &sum))
    throw q.refused(sdk::Code::invalid, "the sum does not fit 64 bits");
  q.out().sint(sum);
  return std::to_string(sum);
}

}  // namespace headgate::sqlite
