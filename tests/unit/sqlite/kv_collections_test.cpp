// The conformance cases of hashes, lists, sets, sorted sets and locks on the bare host.
#include <limits>

#include "tests/unit/sqlite/kv_store_test.hpp"

namespace headgate::sqlite::test {
namespace {

TEST_F(KvStore, Hashes) {
  EXPECT_EQ(ok("hset", {{"key", "h"},
                        {"fields", {pair("a", "1"), pair("b", "2"), pair("a", "3")}}})["added"],
            2);
  EXPECT_EQ(ok("hset", {{"key", "h"}, {"fields", {pair("a", "4"), pair("", "empty")}}})["added"],
            1);
  EXPECT_EQ(ok("hget", {{"key", "h"}, {"field", "a"}})["value"], bin("4"));
  EXPECT_EQ(ok("hget", {{"key", "h"}, {"field", "no"}})["value"], nullptr);
  EXPECT_EQ(ok("hmget", {{"key", "h"}, {"fields", list({"b", "no", "a"})}})["values"],
            Json::array({bin("2"), nullptr, bin("4")}));
  EXPECT_EQ(ok("hgetall", {{"key", "h"}})["fields"],
            Json::array({pair("", "empty"), pair("a", "4"), pair("b", "2")}));
  EXPECT_EQ(ok("hexists", {{"key", "h"}, {"field", ""}})["exists"], true);
  EXPECT_EQ(ok("hlen", {{"key", "h"}})["length"], 3);
  EXPECT_EQ(ok("hincrby", {{"key", "h"}, {"field", "n"}, {"by", 5}})["value"], 5);
  EXPECT_EQ(ok("hincrby", {{"key", "h"}, {"field", "n"}, {"by", 0.5}})["value"], 5.5);
  fails("hincrby", {{"key", "h"}, {"field", "n"}}, HG_INVALID);
  fails("hincrby", {{"key", "none"}, {"field", "n"}, {"by", "x"}}, HG_INVALID);
  EXPECT_EQ(ok("exists", {{"keys", list({"none"})}})["count"], 0);
  EXPECT_EQ(ok("hdel", {{"key", "h"}, {"fields", list({"a", "no", "b", ""})}})["deleted"], 3);
  EXPECT_EQ(ok("hdel", {{"key", "h"}, {"fields", list({"n"})}})["deleted"], 1);
  EXPECT_EQ(ok("type", {{"key", "h"}})["type"], nullptr);
  EXPECT_EQ(ok("hset", {{"key", "h"}, {"fields", Json::array()}})["added"], 0);
  EXPECT_EQ(ok("type", {{"key", "h"}})["type"], nullptr);
  fails("hset", {{"key", "h"}, {"fields", {Json::array({"only"})}}}, HG_INVALID);
}

TEST_F(KvStore, HashScan) {
  Json fields = Json::array();
  for (int i = 0; i < 250; ++i) fields.push_back(pair("f" + std::to_string(i), std::to_string(i)));
  fields.push_back(pair("", "empty"));
  ok("hset", {{"key", "h"}, {"fields", fields}});
  std::size_t n = 0, with_glob = 0;
  for (Json cursor = nullptr;;) {
    const Json page = ok("hscan", {{"key", "h"}, {"cursor", cursor}, {"count", 7}});
    n += page["fields"].size();
    if ((cursor = page["cursor"]).is_null()) break;
  }
  for (Json cursor = nullptr;;) {
    const Json page =
        ok("hscan", {{"key", "h"}, {"cursor", cursor}, {"glob", "f1*"}, {"count", 3}});
    with_glob += page["fields"].size();
    if ((cursor = page["cursor"]).is_null()) break;
  }
  EXPECT_EQ(n, 251u);
  EXPECT_EQ(with_glob, 111u);
  EXPECT_EQ(ok("hscan", {{"key", "none"}})["fields"], Json::array());
}

TEST_F(KvStore, Lists) {
  EXPECT_EQ(ok("rpush", {{"key", "l"}, {"values", list({"c", "d"})}})["length"], 2);
  EXPECT_EQ(ok("lpush", {{"key", "l"}, {"values", list({"b", "a"})}})["length"], 4);
  const auto range = [&](int a, int b) {
    return ok("lrange", {{"key", "l"}, {"start", a}, {"stop", b}})["values"];
  };
  EXPECT_EQ(range(0, -1), list({"a", "b", "c", "d"}));
  EXPECT_EQ(range(-2, 100), list({"c", "d"}));
  EXPECT_EQ(range(3, 1), Json::array());
  EXPECT_EQ(range(-100, 0), list({"a"}));
  EXPECT_EQ(ok("lindex", {{"key", "l"}, {"index", -1}})["value"], bin("d"));
  EXPECT_EQ(ok("lindex", {{"key", "l"}, {"index", 4}})["value"], nullptr);
  EXPECT_EQ(ok("lindex", {{"key", "l"}, {"index", -5}})["value"], nullptr);
  ok("lset", {{"key", "l"}, {"index", -2}, {"value", "C"}});
  fails("lset", {{"key", "l"}, {"index", 4}, {"value", "x"}}, HG_INVALID);
  fails("lset", {{"key", "none"}, {"index", 0}, {"value", "x"}}, HG_NOT_FOUND);
  EXPECT_EQ(range(0, -1), list({"a", "b", "C", "d"}));
  ok("rpush", {{"key", "l"}, {"values", list({"a", "b", "a"})}});
  EXPECT_EQ(ok("lrem", {{"key", "l"}, {"count", -1}, {"value", "a"}})["removed"], 1);
  EXPECT_EQ(range(0, -1), list({"a", "b", "C", "d", "a", "b"}));
  EXPECT_EQ(ok("lrem", {{"key", "l"}, {"count", 1}, {"value", "b"}})["removed"], 1);
  EXPECT_EQ(ok("lindex", {{"key", "l"}, {"index", 1}})["value"], bin("C"));
  EXPECT_EQ(ok("lindex", {{"key", "l"}, {"index", -2}})["value"], bin("a"));
  ok("ltrim", {{"key", "l"}, {"start", 1}, {"stop", -2}});
  EXPECT_EQ(range(0, -1), list({"C", "d", "a"}));
  EXPECT_EQ(ok("lpop", {{"key", "l"}, {"count", 2}})["values"], list({"C", "d"}));
  EXPECT_EQ(ok("lpop", {{"key", "l"}, {"count", 0}})["values"], Json::array());
  EXPECT_EQ(ok("rpop", {{"key", "l"}})["value"], bin("a"));
  EXPECT_EQ(ok("rpop", {{"key", "l"}})["value"], nullptr);
  EXPECT_EQ(ok("rpop", {{"key", "l"}, {"count", 3}})["values"], Json::array());
  EXPECT_EQ(ok("llen", {{"key", "l"}})["length"], 0);
  EXPECT_EQ(ok("type", {{"key", "l"}})["type"], nullptr);
  fails("lpop", {{"key", "l"}, {"count", -1}}, HG_INVALID);
  ok("rpush", {{"key", "l"}, {"values", list({"a"})}});
  ok("ltrim", {{"key", "l"}, {"start", 5}, {"stop", 9}});
  EXPECT_EQ(ok("type", {{"key", "l"}})["type"], nullptr);
}

TEST_F(KvStore, ListMove) {
  ok("rpush", {{"key", "l"}, {"values", list({"a", "b", "c"})}});
  ok("expire", {{"key", "l"}, {"ttl_ms", 1000}});
  const auto move = [&](std::string_view d, std::string_view from, std::string_view to) {
    return ok("lmove", {{"source", "l"}, {"destination", d}, {"from", from}, {"to", to}})["value"];
  };
  EXPECT_EQ(move("l", "left", "right"), bin("a"));
  EXPECT_EQ(ok("lrange", {{"key", "l"}, {"start", 0}, {"stop", -1}})["values"],
            list({"b", "c", "a"}));
  EXPECT_EQ(move("m", "right", "left"), bin("a"));
  EXPECT_EQ(move("m", "left", "left"), bin("b"));
  EXPECT_EQ(move("l", "left", "left"), bin("c"));
  EXPECT_EQ(ok("ttl", {{"key", "l"}})["ttl_ms"], 1000) << "a list of one that is turned stays";
  EXPECT_EQ(move("m", "left", "left"), bin("c"));
  EXPECT_EQ(move("m", "left", "left"), nullptr);
  EXPECT_EQ(ok("lrange", {{"key", "m"}, {"start", 0}, {"stop", -1}})["values"],
            list({"c", "b", "a"}));
  fails("lmove", {{"source", "l"}, {"destination", "m"}, {"from", "up"}, {"to", "left"}},
        HG_INVALID);
  set("str", "x");
  ok("rpush", {{"key", "l"}, {"values", list({"keep"})}});
  fails("lmove", {{"source", "l"}, {"destination", "str"}, {"from", "left"}, {"to", "left"}},
        HG_INVALID);
  EXPECT_EQ(ok("llen", {{"key", "l"}})["length"], 1) << "a refused move loses nothing";
}

TEST_F(KvStore, Sets) {
  EXPECT_EQ(ok("sadd", {{"key", "s"}, {"members", list({"b", "a", "b", ""})}})["added"], 3);
  EXPECT_EQ(ok("sadd", {{"key", "s"}, {"members", list({"a"})}})["added"], 0);
  EXPECT_EQ(ok("smembers", {{"key", "s"}})["members"], list({"", "a", "b"}));
  EXPECT_EQ(ok("sismember", {{"key", "s"}, {"member", "a"}})["exists"], true);
  EXPECT_EQ(ok("sismember", {{"key", "s"}, {"member", "z"}})["exists"], false);
  EXPECT_EQ(ok("srem", {{"key", "s"}, {"members", list({"", "z"})}})["removed"], 1);
  ok("sadd", {{"key", "t"}, {"members", list({"b", "c"})}});
  EXPECT_EQ(ok("sinter", {{"keys", list({"s", "t"})}})["members"], list({"b"}));
  EXPECT_EQ(ok("sinter", {{"keys", list({"s", "t", "none"})}})["members"], Json::array());
  EXPECT_EQ(ok("sunion", {{"keys", list({"s", "none", "t"})}})["members"], list({"a", "b", "c"}));
  EXPECT_EQ(ok("sdiff", {{"keys", list({"s", "t"})}})["members"], list({"a"}));
  EXPECT_EQ(ok("sdiff", {{"keys", list({"none", "t"})}})["members"], Json::array());
  fails("sinter", {{"keys", Json::array()}}, HG_INVALID);
  EXPECT_EQ(ok("spop", {{"key", "s"}, {"count", 5}})["members"].size(), 2u);
  EXPECT_EQ(ok("spop", {{"key", "s"}})["members"], Json::array());
  EXPECT_EQ(ok("spop", {{"key", "t"}})["members"].size(), 1u);
  EXPECT_EQ(ok("scard", {{"key", "t"}})["length"], 1);
}

TEST_F(KvStore, SortedSets) {
  const double inf = std::numeric_limits<double>::infinity();
  const auto m = [](double s, std::string_view name) { return Json::array({s, bin(name)}); };
  const auto r = [](std::string_view name, double s) { return Json::array({bin(name), s}); };
  EXPECT_EQ(
      ok("zadd", {{"key", "z"},
                  {"members",
                   {m(2, "b"), m(1, "a"), m(2, "a2"), m(-inf, "low"), m(inf, "high")}}})["added"],
      5);
  EXPECT_EQ(
      ok("zadd", {{"key", "z"}, {"members", {m(9, "b"), m(1, "new")}}, {"nx", true}})["added"], 1);
  EXPECT_EQ(
      ok("zadd", {{"key", "z"}, {"members", {m(3, "new"), m(1, "newer")}}, {"xx", true}})["added"],
      0);
  EXPECT_EQ(ok("zadd", {{"key", "none"}, {"members", {m(3, "x")}}, {"xx", true}})["added"], 0);
  EXPECT_EQ(ok("type", {{"key", "none"}})["type"], nullptr);
  const Json all =
      Json::array({r("low", -inf), r("a", 1), r("a2", 2), r("b", 2), r("new", 3), r("high", inf)});
  EXPECT_EQ(ok("zrange", {{"key", "z"}, {"start", 0}, {"stop", -1}})["members"], all);
  EXPECT_EQ(ok("zrange", {{"key", "z"}, {"start", 0}, {"stop", 1}, {"reverse", true}})["members"],
            Json::array({r("high", inf), r("new", 3)}));
  EXPECT_EQ(ok("zrange", {{"key", "z"}, {"start", 4}, {"stop", 2}})["members"], Json::array());
  EXPECT_EQ(ok("zrank", {{"key", "z"}, {"member", "b"}})["rank"], 3);
  EXPECT_EQ(ok("zrank", {{"key", "z"}, {"member", "b"}, {"reverse", true}})["rank"], 2);
  EXPECT_EQ(ok("zrank", {{"key", "z"}, {"member", "none"}})["rank"], nullptr);
  EXPECT_EQ(ok("zscore", {{"key", "z"}, {"member", "high"}})["score"], inf);
  EXPECT_EQ(ok("zcount", {{"key", "z"}, {"min", 1}, {"max", 2}})["count"], 3);
  EXPECT_EQ(ok("zcount", {{"key", "z"}})["count"], 6);
  EXPECT_EQ(ok("zrangebyscore",
               {{"key", "z"}, {"min", 1}, {"max", 3}, {"offset", 1}, {"count", 2}})["members"],
            Json::array({r("a2", 2), r("b", 2)}));
  EXPECT_EQ(ok("zrangebyscore", {{"key", "z"}, {"max", 1}, {"reverse", true}})["members"],
            Json::array({r("a", 1), r("low", -inf)}));
  EXPECT_EQ(
      ok("zrangebyscore", {{"key", "z"}, {"offset", INT64_MAX}, {"count", INT64_MAX}})["members"],
      Json::array());
  EXPECT_EQ(ok("zincrby", {{"key", "z"}, {"member", "a"}, {"by", 1.5}})["score"], 2.5);
  fails("zincrby", {{"key", "z"}, {"member", "high"}, {"by", -inf}}, HG_INVALID);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  fails("zadd", {{"key", "z"}, {"members", {m(nan, "x")}}}, HG_INVALID);
  fails("zincrby", {{"key", "z"}, {"member", "a"}, {"by", nan}}, HG_INVALID);
  // Beyond 2^53 not every integer is a double.
  const std::int64_t exact = std::int64_t{1} << 53;
  for (const std::int64_t score : {exact + 1, -exact - 1}) {
    const Json members = Json::array({Json::array({score, bin("x")})});
    EXPECT_THAT(fails("zadd", {{"key", "z"}, {"members", members}}, HG_INVALID).message,
                testing::HasSubstr("between -2^53 and 2^53"));
    EXPECT_THAT(
        fails("zincrby", {{"key", "z"}, {"member", "a"}, {"by", score}}, HG_INVALID).message,
        testing::HasSubstr("between -2^53 and 2^53"));
  }
  fails("zcount", {{"key", "z"}, {"min", nan}}, HG_INVALID);
  fails("zadd", {{"key", "z"}, {"members", {m(1, "x")}}, {"nx", true}, {"xx", true}}, HG_INVALID);
  EXPECT_EQ(ok("zpopmin", {{"key", "z"}})["members"], Json::array({r("low", -inf)}));
  EXPECT_EQ(ok("zpopmax", {{"key", "z"}, {"count", 2}})["members"],
            Json::array({r("high", inf), r("new", 3)}));
  EXPECT_EQ(ok("zrem", {{"key", "z"}, {"members", list({"a", "b", "a2", "none"})}})["removed"], 3);
  EXPECT_EQ(ok("type", {{"key", "z"}})["type"], nullptr);
  EXPECT_EQ(ok("zpopmin", {{"key", "z"}, {"count", 4}})["members"], Json::array());
}

TEST_F(KvStore, Locks) {
  const auto lock = [&](std::string_view owner, int ttl) {
    return ok("lock", {{"name", "l"}, {"owner", owner}, {"ttl_ms", ttl}});
  };
  const Json a = lock("a", 100);
  EXPECT_EQ(a["locked"], true);
  EXPECT_EQ(lock("b", 100), Json({{"locked", false}, {"fence", nullptr}}));
  wall_ms += 60;
  EXPECT_EQ(lock("a", 100)["fence"], a["fence"]) << "the owner extends what it has";
  wall_ms += 60;
  EXPECT_EQ(lock("b", 100)["locked"], false);
  EXPECT_EQ(ok("unlock", {{"name", "l"}, {"owner", "b"}})["unlocked"], false);
  EXPECT_EQ(ok("unlock", {{"name", "l"}, {"owner", "a"}})["unlocked"], true);
  EXPECT_EQ(ok("unlock", {{"name", "l"}, {"owner", "a"}})["unlocked"], false);
  const Json b = lock("b", 100);
  EXPECT_GT(b["fence"], a["fence"]);
  wall_ms += 100;
  EXPECT_EQ(ok("unlock", {{"name", "l"}, {"owner", "b"}})["unlocked"], false) << "it ran out";
  const Json c = lock("c", 100);
  EXPECT_GT(c["fence"], b["fence"]);
  wall_ms += 100;
  EXPECT_GT(lock("c", 100)["fence"], c["fence"]) << "taken anew after it ran out";
  fails("lock", {{"name", ""}, {"owner", "o"}, {"ttl_ms", 1}}, HG_INVALID);
  fails("lock", {{"name", "l"}, {"owner", ""}, {"ttl_ms", 1}}, HG_INVALID);
  fails("lock", {{"name", "l"}, {"owner", "o"}, {"ttl_ms", 0}}, HG_INVALID);
  fails("lock", {{"name", "l"}, {"owner", "o"}, {"ttl_ms", 1}, {"wait_ms", -1}}, HG_INVALID);
  EXPECT_EQ(ok("scan", {{"glob", "*"}})["keys"], Json::array()) << "locks are no keys";
}

}  // namespace
}  // namespace headgate::sqlite::test
