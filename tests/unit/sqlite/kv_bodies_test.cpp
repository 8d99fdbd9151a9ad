// Bodies that nobody vouched for: every field of every verb wrongly typed, and mutated bytes.
#include <random>

#include "tests/unit/sqlite/kv_store_test.hpp"

namespace headgate::sqlite::test {
namespace {

// One good body for each verb.
const std::vector<std::pair<std::string, Json>>& good_bodies() {
  static const Json pairs = Json::array({Json::array({bin("a"), bin("b")})});
  static const Json scored = Json::array({Json::array({1.5, bin("m")}), Json::array({2, "n"})});
  static const std::vector<std::pair<std::string, Json>> all = {
      {"get", {{"key", "k"}}},
      {"set",
       {{"key", "k"},
        {"value", "v"},
        {"nx", true},
        {"xx", false},
        {"ttl_ms", 50},
        {"keep_ttl", false},
        {"get_old", true}}},
      {"set", {{"key", "k"}, {"value", "v"}, {"if_version", "12345678"}}},
      {"delete", {{"key", "k"}, {"if_version", ""}}},
      {"exists", {{"keys", list({"a", "b"})}}},
      {"get_many", {{"keys", list({"a", "b"})}}},
      {"set_many", {{"items", pairs}, {"nx", true}, {"ttl_ms", 5}}},
      {"delete_many", {{"keys", list({"a"})}}},
      {"increment", {{"key", "n"}, {"by", 2}, {"ttl_ms", 4}}},
      {"append", {{"key", "k"}, {"value", "v"}}},
      {"get_delete", {{"key", "k"}}},
      {"expire", {{"key", "k"}, {"ttl_ms", 5}}},
      {"persist", {{"key", "k"}}},
      {"ttl", {{"key", "k"}}},
      {"type", {{"key", "k"}}},
      {"scan", {{"glob", "a[b-c]*\\?"}, {"cursor", "a"}, {"count", 5}, {"values", true}}},
      {"delete_prefix", {{"prefix", "zz"}}},
      {"compare_and_set", {{"key", "k"}, {"expected", nullptr}, {"value", "v"}, {"ttl_ms", 5}}},
      {"hset", {{"key", "h"}, {"fields", pairs}}},
      {"hget", {{"key", "h"}, {"field", "f"}}},
      {"hmget", {{"key", "h"}, {"fields", list({"a"})}}},
      {"hgetall", {{"key", "h"}}},
      {"hdel", {{"key", "h"}, {"fields", list({"z"})}}},
      {"hexists", {{"key", "h"}, {"field", "f"}}},
      {"hlen", {{"key", "h"}}},
      {"hincrby", {{"key", "h"}, {"field", "n"}, {"by", 1.5}}},
      {"hscan", {{"key", "h"}, {"glob", "*"}, {"cursor", "a"}, {"count", 3}}},
      {"lpush", {{"key", "l"}, {"values", list({"a", "b"})}}},
      {"rpush", {{"key", "l"}, {"values", list({"a"})}}},
      {"lpop", {{"key", "l"}, {"count", 1}}},
      {"rpop", {{"key", "l"}}},
      {"llen", {{"key", "l"}}},
      {"lrange", {{"key", "l"}, {"start", -3}, {"stop", 2}}},
      {"lindex", {{"key", "l"}, {"index", 1}}},
      {"lset", {{"key", "l"}, {"index", 0}, {"value", "v"}}},
      {"lrem", {{"key", "l"}, {"count", -1}, {"value", "a"}}},
      {"ltrim", {{"key", "l"}, {"start", 0}, {"stop", 5}}},
      {"lmove", {{"source", "l"}, {"destination", "m"}, {"from", "left"}, {"to", "right"}}},
      {"blpop", {{"keys", list({"l", "m"})}, {"wait_ms", 0}}},
      {"brpop", {{"keys", list({"l"})}, {"wait_ms", 0}}},
      {"blmove",
       {{"source", "l"}, {"destination", "m"}, {"from", "right"}, {"to", "left"}, {"wait_ms", 0}}},
      {"sadd", {{"key", "s"}, {"members", list({"a"})}}},
      {"srem", {{"key", "s"}, {"members", list({"b"})}}},
      {"smembers", {{"key", "s"}}},
      {"sismember", {{"key", "s"}, {"member", "a"}}},
      {"scard", {{"key", "s"}}},
      {"spop", {{"key", "s"}, {"count", 1}}},
      {"sinter", {{"keys", list({"s", "t"})}}},
      {"sunion", {{"keys", list({"s", "t"})}}},
      {"sdiff", {{"keys", list({"s", "t"})}}},
      {"zadd", {{"key", "z"}, {"members", scored}, {"nx", true}}},
      {"zincrby", {{"key", "z"}, {"member", "m"}, {"by", 1.5}}},
      {"zrem", {{"key", "z"}, {"members", list({"a"})}}},
      {"zscore", {{"key", "z"}, {"member", "m"}}},
      {"zrank", {{"key", "z"}, {"member", "m"}, {"reverse", true}}},
      {"zcard", {{"key", "z"}}},
      {"zcount", {{"key", "z"}, {"min", 1}, {"max", 2.5}}},
      {"zrange", {{"key", "z"}, {"start", 0}, {"stop", -1}, {"reverse", true}}},
      {"zrangebyscore",
       {{"key", "z"}, {"min", 0}, {"max", 9}, {"offset", 0}, {"count", 3}, {"reverse", false}}},
      {"zpopmin", {{"key", "z"}, {"count", 1}}},
      {"zpopmax", {{"key", "z"}}},
      {"lock", {{"name", "n"}, {"owner", "o"}, {"ttl_ms", 5}, {"wait_ms", 0}}},
      {"unlock", {{"name", "n"}, {"owner", "o"}}}};
  return all;
}

using KvBodies = KvStore;

bool is_refusal(int code) { return code == HG_INVALID || code == HG_TOO_LARGE; }

// Every field of every verb, with values of every wrong type: `invalid`, and nothing is sent.
TEST_F(KvBodies, WronglyTypedFieldsAreInvalid) {
  const std::vector<Json> wrong = {Json::array({1}), Json::array({Json::array({1, 2, 3})}),
                                   Json({{"a", 1}}), ext(7, "{}"),
                                   Json(1.5),        Json(-1e300)};
  for (const auto& [verb, body] : good_bodies()) {
    fails(verb, Json::array(), HG_INVALID);
    fails(verb, nullptr, HG_INVALID);
    fails(verb, 5, HG_INVALID);
    for (const auto& [field, value] : body.items()) {
      for (const Json& w : wrong) {
        const bool number = field == "by" || field == "min" || field == "max";
        if (number && w.is_number()) continue;
        Json bad = body;
        bad[field] = w;
        const Reply r = fails(verb, bad, HG_INVALID);
        EXPECT_EQ(r.outcome, HG_NOT_SENT);
        EXPECT_NE(r.message.find(field), std::string::npos) << verb << ": " << r.message;
      }
    }
    Json extra = body;
    extra["surprise"] = 1;
    EXPECT_NE(fails(verb, extra, HG_INVALID).message.find("surprise"), std::string::npos);
  }
}

// Mutated bytes: refused, or harmless; never a crash, a fault of ours, or a broken connection.
TEST_F(KvBodies, MutatedBodiesAreRefusedOrServed) {
  const std::uint64_t seed = std::random_device{}();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  hg_driver_config config{};
  const auto kind = make_kind_with_clock(&BareHost::the(), config);
  int served = 0, refused = 0;
  for (int i = 0; i < 60'000; ++i) {
    const auto& [verb, body] = good_bodies()[random() % good_bodies().size()];
    std::vector<std::uint8_t> b = pack(body);
    for (std::size_t n = 1 + random() % 4; n > 0 && !b.empty(); --n) {
      const std::size_t at = random() % b.size();
      switch (random() % 4) {
        case 0:
          b[at] = static_cast<std::uint8_t>(random());
          break;
        case 1:
          b[at] ^= static_cast<std::uint8_t>(1u << random() % 8);
          break;
        case 2:
          b.erase(b.begin() + static_cast<std::ptrdiff_t>(at));
          break;
        default:
          b.insert(b.begin() + static_cast<std::ptrdiff_t>(at),
                   static_cast<std::uint8_t>(random()));
      }
    }
    // route, even of what the host would not have let through; a copy, so that ASan sees its end.
    const std::vector<std::uint8_t> exact(b);
    hg_call call{};
    call.verb = sdk::lend(std::string_view(verb));
    bool accepted = true;
    try {
      kind->route(verb, exact, call, sdk::Touches(&BareHost::the(), nullptr));
    } catch (const sdk::Error& e) {
      accepted = false;
      ASSERT_TRUE(is_refusal(static_cast<int>(e.code))) << verb << ": " << e.message;
    }
    kind->committed(verb, exact);
    if (proto::check(exact) != proto::Shape::good) continue;
    if (accepted && i % 4 != 0) continue;  // each costs a commit
    const Reply r = store.call_raw(verb, exact);
    ASSERT_EQ(r.connection, HG_CONN_CLEAN) << verb;
    ASSERT_TRUE(r.ok() || is_refusal(r.code) || r.code == HG_NOT_FOUND || r.code == HG_CONFLICT)
        << verb << " " << r.code << " " << r.message;
    ASSERT_TRUE(accepted || !r.ok()) << verb;
    (r.ok() ? served : refused) += 1;
  }
  EXPECT_GT(served, 50);
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace headgate::sqlite::test
