// The key-value conformance cases on the bare host, one test each (kv.* of the suite).
#include <thread>

#include "plugins/sqlite/kv_request.hpp"
#include "tests/unit/sqlite/kv_store_test.hpp"

namespace headgate::sqlite::test {
namespace {

TEST_F(KvStore, GetMissing) {
  EXPECT_EQ(get("nothing"), Json({{"value", nullptr}, {"version", nullptr}}));
}

TEST_F(KvStore, RoundtripBytes) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  const std::string values[] = {"",
                                std::string(1, '\0'),
                                all,
                                "\xe2\x82\xac",
                                std::string(480, 'a'),
                                std::string(481, 'b'),
                                std::string(1 << 20, 'c')};
  for (const std::string& v : values) {
    set("k", v);
    EXPECT_EQ(get("k")["value"], bin(v)) << v.size();
  }
  EXPECT_EQ(rows("headgate_kv_large"), 1) << "a large value that was written over must go";
  set("k", "");
  EXPECT_EQ(rows("headgate_kv_large"), 0);
  // A str is as good as a bin.
  ok("set", {{"key", "s"}, {"value", "text"}});
  EXPECT_EQ(get("s")["value"], bin("text"));
}

TEST_F(KvStore, ValueAndKeyLimits) {
  fails("set", {{"key", "k"}, {"value", bin(std::string(kKvValueMax + 1, 'x'))}}, HG_TOO_LARGE);
  set("k", std::string(kKvValueMax, 'x'));
  EXPECT_EQ(get("k")["value"].get_binary().size(), kKvValueMax);
  fails("append", {{"key", "k"}, {"value", "x"}}, HG_TOO_LARGE);
  fails("get", {{"key", bin(std::string(kKvKeyMax + 1, 'x'))}}, HG_TOO_LARGE);
  set(std::string(kKvKeyMax, 'x'), "v");
  EXPECT_EQ(get(std::string(kKvKeyMax, 'x'))["value"], bin("v"));
}

TEST_F(KvStore, KeyEdges) {
  for (const char* verb :
       {"get", "delete", "ttl", "type", "persist", "get_delete", "lpop", "smembers"})
    fails(verb, {{"key", ""}}, HG_INVALID);
  const std::string keys[] = {std::string(1024, 'k'),  "\xe2\x82\xac", "a||b", "%", "*", "a\nb",
                              std::string("\0\xff", 2)};
  for (const std::string& k : keys) set(k, k);
  for (const std::string& k : keys) EXPECT_EQ(get(k)["value"], bin(k));
}

TEST_F(KvStore, SetConditions) {
  EXPECT_EQ(ok("set", {{"key", "k"}, {"value", "1"}, {"xx", true}})["set"], false);
  EXPECT_EQ(ok("set", {{"key", "k"}, {"value", "1"}, {"nx", true}})["set"], true);
  const Json no = ok("set", {{"key", "k"}, {"value", "2"}, {"nx", true}, {"get_old", true}});
  EXPECT_EQ(no, Json({{"set", false}, {"version", nullptr}, {"old", bin("1")}}));
  EXPECT_EQ(ok("set", {{"key", "k"}, {"value", "3"}, {"xx", true}})["set"], true);
  const Json old = ok("set", {{"key", "k"}, {"value", "4"}, {"get_old", true}});
  EXPECT_EQ(old["old"], bin("3"));
  EXPECT_EQ(ok("set", {{"key", "k"}, {"value", "5"}})["old"], nullptr);
  fails("set", {{"key", "k"}, {"value", "1"}, {"nx", true}, {"xx", true}}, HG_INVALID);
  fails("set", {{"key", "k"}, {"value", "1"}, {"nx", true}, {"if_version", ""}}, HG_INVALID);
  fails("set", {{"key", "k"}, {"value", "1"}, {"keep_ttl", true}, {"ttl_ms", 5}}, HG_INVALID);
  fails("set", {{"key", "k"}, {"value", "1"}, {"typo", true}}, HG_INVALID);
  fails("set", {{"key", "k"}, {"value", 5}}, HG_INVALID);
  fails("set", {{"key", "k"}}, HG_INVALID);
}

TEST_F(KvStore, OverwriteTypeAndWrongType) {
  ok("hset", {{"key", "h"}, {"fields", {pair("f", "v")}}});
  ok("rpush", {{"key", "l"}, {"values", list({"a"})}});
  ok("sadd", {{"key", "s"}, {"members", list({"a"})}});
  ok("zadd", {{"key", "z"}, {"members", {Json::array({1, bin("a")})}}});
  set("str", "x");
  const std::map<std::string, std::string> held = {
      {"h", "hash"}, {"l", "list"}, {"s", "set"}, {"z", "zset"}, {"str", "string"}};
  const std::vector<std::pair<std::string, Json>> calls = {
      {"get", {}},
      {"append", {{"value", "x"}}},
      {"increment", {}},
      {"get_delete", {}},
      {"compare_and_set", {{"expected", "x"}, {"value", "y"}}},
      {"hget", {{"field", "f"}}},
      {"hset", {{"fields", {pair("a", "b")}}}},
      {"hgetall", {}},
      {"llen", {}},
      {"lpush", {{"values", list({"x"})}}},
      {"lpop", {}},
      {"lset", {{"index", 0}, {"value", "x"}}},
      {"scard", {}},
      {"sadd", {{"members", list({"x"})}}},
      {"spop", {}},
      {"zcard", {}},
      {"zadd", {{"members", {Json::array({1, bin("x")})}}}},
      {"zpopmin", {}}};
  for (const auto& [verb, extra] : calls) {
    const char c = verb[0];
    const std::string takes = verb == "get" || verb == "append" || verb == "increment" ||
                                      verb == "get_delete" || verb == "compare_and_set"
                                  ? "string"
                              : c == 'h' ? "hash"
                              : c == 'l' ? "list"
                              : c == 's' ? "set"
                                         : "zset";
    for (const auto& [key, type] : held) {
      if (type == takes) continue;
      Json body = extra.is_null() ? Json::object() : extra;
      body["key"] = key;
      const Reply r = fails(verb, body, HG_INVALID);
      EXPECT_NE(r.message.find("the key holds a " + type), std::string::npos) << r.message;
      EXPECT_EQ(r.outcome, HG_REJECTED);
    }
  }
  fails("set", {{"key", "h"}, {"value", "1"}, {"get_old", true}}, HG_INVALID);
  for (const auto& [key, type] : held) {
    EXPECT_EQ(ok("type", {{"key", key}})["type"], type);
    set(key, "over");
    EXPECT_EQ(get(key)["value"], bin("over"));
  }
  for (const char* t : {"hash", "list", "set", "zset"})
    EXPECT_EQ(rows(std::string("headgate_kv_") + t), 0);
  EXPECT_EQ(ok("type", {{"key", "none"}})["type"], nullptr);
}

TEST_F(KvStore, DeleteAndExists) {
  set("a", "1");
  set("b", std::string(5000, 'x'));
  EXPECT_EQ(ok("exists", {{"keys", list({"a", "b", "c", "a"})}})["count"], 3);
  EXPECT_EQ(ok("delete", {{"key", "a"}})["deleted"], 1);
  EXPECT_EQ(ok("delete", {{"key", "a"}})["deleted"], 0);
  EXPECT_EQ(ok("delete_many", {{"keys", list({"a", "b", "b"})}})["deleted"], 1);
  EXPECT_EQ(ok("exists", {{"keys", Json::array()}})["count"], 0);
  EXPECT_EQ(rows("headgate_kv_large"), 0);
}

TEST_F(KvStore, Many) {
  Json items = Json::array(), keys = Json::array();
  for (int i = 0; i < 1000; ++i) {
    items.push_back(pair("k" + std::to_string(i), std::string(static_cast<std::size_t>(i), 'v')));
    keys.push_back(bin("k" + std::to_string(999 - i)));
  }
  EXPECT_EQ(ok("set_many", {{"items", items}})["set"], true);
  keys.push_back(bin("missing"));
  ok("rpush", {{"key", "list"}, {"values", list({"a"})}});
  keys.push_back(bin("list"));
  const Json got = ok("get_many", {{"keys", keys}});
  ASSERT_EQ(got["values"].size(), 1002u);
  for (std::size_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(got["values"][i].get_binary().size(), 999 - i);
    EXPECT_EQ(got["versions"][i].get_binary().size(), 8u);
  }
  EXPECT_EQ(got["values"][1000], nullptr);
  EXPECT_EQ(got["values"][1001], nullptr);
  // nx: all or none.
  EXPECT_EQ(ok("set_many", {{"items", {pair("new", "1"), pair("k5", "1")}}, {"nx", true}})["set"],
            false);
  EXPECT_EQ(get("new")["value"], nullptr);
  EXPECT_EQ(
      ok("set_many",
         {{"items", {pair("n1", "1"), pair("n2", "2")}}, {"nx", true}, {"ttl_ms", 50}})["set"],
      true);
  EXPECT_EQ(ok("ttl", {{"key", "n1"}})["ttl_ms"], 50);
}

TEST_F(KvStore, Versions) {
  const Json v1 = ok("set", {{"key", "k"}, {"value", "1"}})["version"];
  EXPECT_EQ(get("k")["version"], v1);
  EXPECT_EQ(ok("get_many", {{"keys", list({"k"})}})["versions"][0], v1);
  const Json v2 = ok("set", {{"key", "k"}, {"value", "2"}, {"if_version", v1}})["version"];
  EXPECT_NE(v1, v2);
  const Reply r = fails("set", {{"key", "k"}, {"value", "3"}, {"if_version", v1}}, HG_CONFLICT);
  EXPECT_EQ(r.outcome, HG_REJECTED);
  EXPECT_EQ(get("k")["value"], bin("2"));
  fails("set", {{"key", "k"}, {"value", "3"}, {"if_version", "rubbish"}}, HG_INVALID);
  fails("set", {{"key", "k"}, {"value", "3"}, {"if_version", ""}}, HG_CONFLICT);
  EXPECT_EQ(ok("set", {{"key", "fresh"}, {"value", "3"}, {"if_version", ""}})["set"], true);
  fails("delete", {{"key", "k"}, {"if_version", v1}}, HG_CONFLICT);
  fails("delete", {{"key", "none"}, {"if_version", v1}}, HG_CONFLICT);
  fails("set", {{"key", "none"}, {"value", "1"}, {"if_version", v2}}, HG_CONFLICT);
  EXPECT_EQ(ok("delete", {{"key", "k"}, {"if_version", v2}})["deleted"], 1);
  // A key that is made again never gets a version it had.
  const Json v3 = ok("set", {{"key", "k"}, {"value", "1"}})["version"];
  EXPECT_NE(v3, v1);
  EXPECT_NE(v3, v2);
  ok("append", {{"key", "k"}, {"value", "x"}});
  EXPECT_NE(get("k")["version"], v3);
}

TEST_F(KvStore, VersionsAreNotReusedAfterAReopen) {
  const Json v1 = ok("set", {{"key", "k"}, {"value", "1"}})["version"];
  ok("delete", {{"key", "k"}});
  StoreOptions again = quick();
  again.dir = store.dir();
  BareStore second(plugin_of(make_kind_with_clock), again);
  const Json v2 = second.call("set", {{"key", "k"}, {"value", "1"}}).body["version"];
  EXPECT_GT(v2.get_binary(), v1.get_binary());
}

TEST_F(KvStore, BulkWithAVersionFailsAlone) {
  set("a", "1");
  const Json stale = get("a")["version"];
  set("a", "2");
  const Json items =
      Json::array({Json::array({"set", {{"key", "b"}, {"value", "1"}}}),
                   Json::array({"set", {{"key", "a"}, {"value", "3"}, {"if_version", stale}}}),
                   Json::array({"set", {{"key", "c"}, {"value", "1"}}})});
  const Json each = ok("batch", {{"atomic", false}, {"items", items}});
  EXPECT_EQ(each[0][0], HG_OK);
  EXPECT_EQ(each[1][0], HG_CONFLICT);
  EXPECT_EQ(each[2][0], HG_OK);
  EXPECT_EQ(get("c")["value"], bin("1"));
  ok("delete_many", {{"keys", list({"b", "c"})}});
  const Json whole = ok("batch", {{"atomic", true}, {"items", items}});
  EXPECT_EQ(whole[0][0], HG_TRANSACTION_ABORTED);
  EXPECT_EQ(whole[1][0], HG_CONFLICT);
  EXPECT_EQ(whole[2][0], HG_TRANSACTION_ABORTED);
  EXPECT_EQ(ok("exists", {{"keys", list({"b", "c"})}})["count"], 0);
}

TEST_F(KvStore, BatchOrderAndMissing) {
  const Json got =
      ok("batch",
         {{"items",
           Json::array({Json::array({"set", {{"key", "k"}, {"value", "1"}}}),
                        Json::array({"set", {{"key", "k"}, {"value", "2"}}}),
                        Json::array({"get", {{"key", "k"}}}),
                        Json::array({"delete", {{"key", "none"}}}),
                        Json::array({"blpop", {{"keys", list({"none"})}, {"wait_ms", 5000}}}),
                        Json::array({"lock", {{"name", "x"}, {"owner", "o"}, {"ttl_ms", 50}}})})}});
  EXPECT_EQ(got[2][2]["value"], bin("2"));
  EXPECT_EQ(got[3][0], HG_OK);
  EXPECT_EQ(got[4][0], HG_OK) << "a wait in a batch ends at once: " << got[4];
  EXPECT_EQ(got[4][2]["key"], nullptr);
  EXPECT_EQ(got[5][2]["locked"], true);
}

TEST_F(KvStore, Ttl) {
  ok("set", {{"key", "k"}, {"value", "1"}, {"ttl_ms", 100}});
  EXPECT_EQ(ok("ttl", {{"key", "k"}})["ttl_ms"], 100);
  wall_ms += 60;
  EXPECT_EQ(ok("ttl", {{"key", "k"}})["ttl_ms"], 40);
  ok("set", {{"key", "k"}, {"value", "2"}, {"keep_ttl", true}});
  EXPECT_EQ(ok("ttl", {{"key", "k"}})["ttl_ms"], 40);
  ok("append", {{"key", "k"}, {"value", "x"}});
  EXPECT_EQ(ok("ttl", {{"key", "k"}})["ttl_ms"], 40);
  set("k", "3");
  EXPECT_EQ(ok("ttl", {{"key", "k"}})["ttl_ms"], -1);
  EXPECT_EQ(ok("ttl", {{"key", "none"}})["ttl_ms"], nullptr);
  EXPECT_EQ(ok("expire", {{"key", "k"}, {"ttl_ms", 10}})["set"], true);
  EXPECT_EQ(ok("expire", {{"key", "none"}, {"ttl_ms", 10}})["set"], false);
  EXPECT_EQ(ok("persist", {{"key", "k"}})["set"], true);
  EXPECT_EQ(ok("persist", {{"key", "k"}})["set"], false);
  for (const Json& bad : {Json(0), Json(-5), Json(kKvTtlMax + 1), Json("10"), Json(1.5)}) {
    fails("set", {{"key", "k"}, {"value", "1"}, {"ttl_ms", bad}}, HG_INVALID);
    fails("expire", {{"key", "k"}, {"ttl_ms", bad}}, HG_INVALID);
  }
  fails("expire", {{"key", "k"}}, HG_INVALID);
}

TEST_F(KvStore, ExpiredIsGoneEverywhere) {
  ok("set", {{"key", "a:1"}, {"value", "1"}, {"ttl_ms", 10}});
  set("a:2", "2");
  ok("sadd", {{"key", "a:3"}, {"members", list({"x"})}});
  ok("expire", {{"key", "a:3"}, {"ttl_ms", 10}});
  wall_ms += 10;
  EXPECT_EQ(get("a:1")["value"], nullptr);
  EXPECT_EQ(ok("ttl", {{"key", "a:1"}})["ttl_ms"], nullptr);
  EXPECT_EQ(ok("get_many", {{"keys", list({"a:1", "a:2"})}})["values"],
            Json::array({nullptr, bin("2")}));
  EXPECT_EQ(ok("exists", {{"keys", list({"a:1", "a:2", "a:3"})}})["count"], 1);
  EXPECT_EQ(ok("scan", {{"prefix", "a:"}})["keys"], list({"a:2"}));
  EXPECT_EQ(ok("scard", {{"key", "a:3"}})["length"], 0);
  EXPECT_EQ(ok("delete", {{"key", "a:1"}})["deleted"], 0);
  EXPECT_EQ(ok("set", {{"key", "a:3"}, {"value", "now a string"}, {"nx", true}})["set"], true);
  EXPECT_EQ(ok("increment", {{"key", "a:1"}})["value"], 1);
  ok("expire", {{"key", "a:1"}, {"ttl_ms", 10}});
  wall_ms += 10;
  EXPECT_EQ(ok("delete_prefix", {{"prefix", "a:"}})["deleted"], 2);
  // An expired key that is written again begins anew.
  ok("rpush", {{"key", "l"}, {"values", list({"a"})}});
  ok("expire", {{"key", "l"}, {"ttl_ms", 10}});
  wall_ms += 10;
  EXPECT_EQ(ok("rpush", {{"key", "l"}, {"values", list({"b"})}})["length"], 1);
  EXPECT_EQ(ok("ttl", {{"key", "l"}})["ttl_ms"], -1);
}

TEST_F(KvStore, WritersPurgeInSmallSteps) {
  Json items = Json::array();
  for (int i = 0; i < 3000; ++i)
    items.push_back(pair("gone" + std::to_string(i), std::string(600, 'x')));
  ok("set_many", {{"items", items}, {"ttl_ms", 10}});
  Json members = Json::array();
  for (int i = 0; i < 2000; ++i) members.push_back(bin("m" + std::to_string(i)));
  ok("sadd", {{"key", "big"}, {"members", members}});
  ok("delete", {{"key", "big"}});
  EXPECT_GT(rows("headgate_kv_set"), 1000);
  wall_ms += 10;
  EXPECT_EQ(rows("headgate_kv_keys"), 3000);
  int writes = 0;
  for (; writes < 5000 && rows("headgate_kv_keys") + rows("headgate_kv_set") > 1; ++writes)
    set("other", "x");
  EXPECT_EQ(rows("headgate_kv_keys"), 1);
  EXPECT_EQ(rows("headgate_kv_large"), 0);
  EXPECT_EQ(rows("headgate_kv_set"), 0);
  EXPECT_EQ(rows("headgate_kv_garbage"), 0);
  EXPECT_GE(writes, 5000 / 512) << "one write must not pay for all";
}

TEST_F(KvStore, Increment) {
  EXPECT_EQ(ok("increment", {{"key", "n"}})["value"], 1);
  EXPECT_EQ(ok("increment", {{"key", "n"}, {"by", -5}})["value"], -4);
  EXPECT_EQ(get("n")["value"], bin("-4"));
  EXPECT_EQ(ok("increment", {{"key", "n"}, {"by", 1.5}})["value"], -2.5);
  fails("increment", {{"key", "n"}}, HG_INVALID);
  set("n", "9223372036854775807");
  fails("increment", {{"key", "n"}}, HG_INVALID);
  EXPECT_EQ(get("n")["value"], bin("9223372036854775807"));
  set("n", "-9223372036854775808");
  fails("increment", {{"key", "n"}, {"by", -1}}, HG_INVALID);
  fails("increment", {{"key", "n"}, {"by", 9223372036854775808ull}}, HG_INVALID);
  fails("increment", {{"key", "n"}, {"by", std::numeric_limits<double>::quiet_NaN()}}, HG_INVALID);
  for (const char* bad : {"", "abc", "1 ", "01"}) {
    set("n", bad);
    fails("increment", {{"key", "n"}}, HG_INVALID);
  }
  EXPECT_EQ(ok("increment", {{"key", "t"}, {"ttl_ms", 100}})["value"], 1);
  wall_ms += 50;
  ok("increment", {{"key", "t"}, {"ttl_ms", 100}});
  EXPECT_EQ(ok("ttl", {{"key", "t"}})["ttl_ms"], 50) << "ttl_ms is for a new key";
}

TEST_F(KvStore, AppendGetDeleteCompareAndSet) {
  EXPECT_EQ(ok("append", {{"key", "a"}, {"value", ""}})["length"], 0);
  EXPECT_EQ(ok("exists", {{"keys", list({"a"})}})["count"], 0);
  EXPECT_EQ(ok("append", {{"key", "a"}, {"value", "ab"}})["length"], 2);
  EXPECT_EQ(ok("append", {{"key", "a"}, {"value", std::string(600, 'c')}})["length"], 602);
  EXPECT_EQ(get("a")["value"], bin("ab" + std::string(600, 'c')));
  EXPECT_EQ(ok("get_delete", {{"key", "a"}})["value"], bin("ab" + std::string(600, 'c')));
  EXPECT_EQ(ok("get_delete", {{"key", "a"}})["value"], nullptr);
  EXPECT_EQ(ok("compare_and_set", {{"key", "c"}, {"expected", "x"}, {"value", "1"}})["set"], false);
  EXPECT_EQ(ok("compare_and_set", {{"key", "c"}, {"expected", nullptr}, {"value", "1"}})["set"],
            true);
  EXPECT_EQ(ok("compare_and_set", {{"key", "c"}, {"expected", nullptr}, {"value", "2"}})["set"],
            false);
  EXPECT_EQ(ok("compare_and_set",
               {{"key", "c"}, {"expected", "1"}, {"value", "2"}, {"ttl_ms", 5}})["set"],
            true);
  EXPECT_EQ(ok("ttl", {{"key", "c"}})["ttl_ms"], 5);
}

TEST_F(KvStore, RoutesTruthfully) {
  const auto touched = [&](std::string_view verb, const Json& body) {
    store.call(verb, body);
    return BareStore::touched();
  };
  using V = std::vector<std::string>;
  EXPECT_EQ(touched("get_many", {{"keys", list({"a", "b"})}}), (V{"get_many 2 a", "get_many 2 b"}));
  EXPECT_EQ(touched("set_many", {{"items", {pair("a", "1"), pair("b", "2")}}}),
            (V{"set_many 2 a", "set_many 2 b"}));
  EXPECT_EQ(touched("scan", {{"prefix", "p:"}}), V{"scan 5 p:"});
  EXPECT_EQ(touched("scan", {{"glob", "p\\*x[ab]*"}}), V{"scan 5 p*x"});
  EXPECT_EQ(touched("scan", {{"glob", "*"}}), V{"scan 5 "});
  EXPECT_EQ(touched("delete_prefix", {{"prefix", "p:"}}), V{"delete_prefix 5 p:"});
  EXPECT_EQ(
      touched("lmove", {{"source", "a"}, {"destination", "b"}, {"from", "left"}, {"to", "left"}}),
      (V{"lmove 2 a", "lmove 2 b"}));
  EXPECT_EQ(touched("lock", {{"name", "n"}, {"owner", "o"}, {"ttl_ms", 5}}), V{"lock 2 n"});
  // A read-only caller cannot reach a verb that writes, and reads on a file that is held read-only.
  CallOptions reader;
  reader.access = HG_ACCESS_READ;
  EXPECT_EQ(store.call("set", {{"key", "k"}, {"value", "v"}}, reader).code, HG_DENIED);
  EXPECT_EQ(store.call("lpop", {{"key", "k"}}, reader).code, HG_DENIED);
  set("k", "v");
  EXPECT_EQ(store.call("get", {{"key", "k"}}, reader).body["value"], bin("v"));
  EXPECT_EQ(store.call("publish", {{"key", "k"}}).code, HG_UNSUPPORTED);
}

TEST_F(KvStore, Idempotency) {
  hg_driver_config config{};
  const auto kind = make_kind_with_clock(&BareHost::the(), config);
  const auto harmless = [&](std::string_view verb, const Json& body) {
    const auto bytes = pack(body);
    hg_call call{};
    call.verb = sdk::lend(verb);
    return kind->route(verb, bytes, call, sdk::Touches(&BareHost::the(), nullptr)).idempotent;
  };
  const Json plain = {{"key", "k"}, {"value", "v"}};
  EXPECT_TRUE(harmless("set", plain));
  for (const char* option : {"nx", "xx", "keep_ttl", "get_old"}) {
    Json body = plain;
    body[option] = true;
    EXPECT_FALSE(harmless("set", body)) << option;
  }
  Json body = plain;
  body["if_version"] = "";
  EXPECT_FALSE(harmless("set", body));
  EXPECT_TRUE(harmless("delete", {{"key", "k"}}));
  EXPECT_FALSE(harmless("delete", {{"key", "k"}, {"if_version", ""}}));
  EXPECT_TRUE(harmless("get", {{"key", "k"}}));
  EXPECT_FALSE(harmless("increment", {{"key", "k"}}));
  EXPECT_FALSE(harmless("rpush", {{"key", "k"}, {"values", list({"a"})}}));
  EXPECT_FALSE(harmless("compare_and_set", {{"key", "k"}, {"value", "a"}}));
}

}  // namespace
}  // namespace headgate::sqlite::test
