// The key-value conformance cases on the bare host, one test each (kv.* of the suite).
#include <thread>

#include "plugins/sqlite/kv_request.hpp"
#include "tests/unit/sqlite/kv_store_test.hpp"

namespace headgate::sqlite::test {
namespace {

Json list(std::initializer_list<std::string_view> items) {
  Json out = Json::array();
  for (const auto s : items) out.push_back(bin(s));
  return out;
}
Json pair(std::string_view a, std::string_view b) { return Json::array({bin(a), bin(b)}); }

TEST_F(KvStore, GetMissing) {
  EXPECT_EQ(get("nothing"), Json({{"value", nullptr}, {"version", nullptr}}));
}

TEST_F(KvStore, RoundtripBytes) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  const std::string values[] = {"", std::string(1, '\0'), all, "\xe2\x82\xac", std::string(480, 'a'),
                                std::string(481, 'b'), std::string(1 << 20, 'c')};
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
  for (const char* verb : {"get", "delete", "ttl", "type", "persist", "get_delete", "lpop", "smembers"})
    fails(verb, {{"key", ""}}, HG_INVALID);
  const std::string keys[] = {std::string(1024, 'k'), "\xe2\x82\xac", "a||b", "%", "*", "a\nb",
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
      {"get", {}}, {"append", {{"value", "x"}}}, {"increment", {}}, {"get_delete", {}},
      {"compare_and_set", {{"expected", "x"}, {"value", "y"}}},
      {"hget", {{"field", "f"}}}, {"hset", {{"fields", {pair("a", "b")}}}}, {"hgetall", {}},
      {"llen", {}}, {"lpush", {{"values", list({"x"})}}}, {"lpop", {}}, {"lset", {{"index", 0}, {"value", "x"}}},
      {"scard", {}}, {"sadd", {{"members", list({"x"})}}}, {"spop", {}},
      {"zcard", {}}, {"zadd", {{"members", {Json::array({1, bin("x")})}}}}, {"zpopmin", {}}};
  for (const auto& [verb, extra] : calls) {
    const char c = verb[0];
    const std::string takes = verb == "get" || verb == "append" || verb == "increment" ||
                                      verb == "get_delete" || verb == "compare_and_set"
                                  ? "string"
                              : c == 'h' ? "hash" : c == 'l' ? "list" : c == 's' ? "set" : "zset";
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
  for (const char* t : {"hash", "list", "set", "zset"}) EXPECT_EQ(rows(std::string("headgate_kv_") + t), 0);
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
  EXPECT_EQ(ok("set_many", {{"items", {pair("new", "1"), pair("k5", "1")}}, {"nx", true}})["set"], false);
  EXPECT_EQ(get("new")["value"], nullptr);
  EXPECT_EQ(ok("set_many", {{"items", {pair("n1", "1"), pair("n2", "2")}}, {"nx", true}, {"ttl_ms", 50}})["set"], true);
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
  const Json items = Json::array({
                      Json::array({"set", {{"key", "b"}, {"value", "1"}}}),
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
  const Json got = ok("batch", {{"items", Json::array({Json::array({"set", {{"key", "k"}, {"value", "1"}}}),
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
  EXPECT_EQ(ok("get_many", {{"keys", list({"a:1", "a:2"})}})["values"], Json::array({nullptr, bin("2")}));
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
  for (int i = 0; i < 3000; ++i) items.push_back(pair("gone" + std::to_string(i), std::string(600, 'x')));
  ok("set_many", {{"items", items}, {"ttl_ms", 10}});
  Json members = Json::array();
  for (int i = 0; i < 2000; ++i) members.push_back(bin("m" + std::to_string(i)));
  ok("sadd", {{"key", "big"}, {"members", members}});
  ok("delete", {{"key", "big"}});
  EXPECT_GT(rows("headgate_kv_set"), 1000);
  wall_ms += 10;
  EXPECT_EQ(rows("headgate_kv_keys"), 3000);
  int writes = 0;
  for (; writes < 5000 && rows("headgate_kv_keys") + rows("headgate_kv_set") > 1; ++writes) set("other", "x");
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
  EXPECT_EQ(ok("compare_and_set", {{"key", "c"}, {"expected", nullptr}, {"value", "1"}})["set"], true);
  EXPECT_EQ(ok("compare_and_set", {{"key", "c"}, {"expected", nullptr}, {"value", "2"}})["set"], false);
  EXPECT_EQ(ok("compare_and_set", {{"key", "c"}, {"expected", "1"}, {"value", "2"}, {"ttl_ms", 5}})["set"], true);
  EXPECT_EQ(ok("ttl", {{"key", "c"}})["ttl_ms"], 5);
}

TEST_F(KvStore, Scan) {
  for (int i = 0; i < 250; ++i) set("p:" + std::to_string(1000 + i), std::to_string(i));
  set("p", "before");
  set("q", "after");
  set(std::string("\xff\xff", 2), "last");
  std::vector<std::string> seen;
  Json cursor = nullptr;
  int pages = 0;
  do {
    const Json page = ok("scan", {{"prefix", "p:"}, {"count", 100}, {"cursor", cursor}, {"values", true}});
    ASSERT_LE(page["keys"].size(), 100u);
    for (std::size_t i = 0; i < page["keys"].size(); ++i) {
      const auto& k = page["keys"][i].get_binary();
      seen.emplace_back(k.begin(), k.end());
      EXPECT_EQ(page["values"][i], bin(std::to_string(seen.size() - 1)));
      // Deleting what has been seen must not move what has not.
      ok("delete", {{"key", page["keys"][i]}});
    }
    cursor = page["cursor"];
    ++pages;
  } while (!cursor.is_null());
  EXPECT_EQ(seen.size(), 250u);
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(ok("scan", {{"glob", "*"}})["keys"], Json::array({bin("p"), bin("q"), bin("\xff\xff")}));
  EXPECT_EQ(ok("scan", {{"prefix", bin("\xff")}})["keys"], Json::array({bin("\xff\xff")}));
  EXPECT_EQ(ok("scan", {{"glob", "*"}})["values"], nullptr);
  fails("scan", {{"prefix", ""}}, HG_INVALID);
  fails("scan", {{"glob", ""}}, HG_INVALID);
  fails("scan", Json::object(), HG_INVALID);
  fails("scan", {{"prefix", "a"}, {"glob", "b"}}, HG_INVALID);
  fails("scan", {{"prefix", "a"}, {"count", 0}}, HG_INVALID);
  fails("scan", {{"glob", bin(std::string(kKvGlobMax + 1, 'a'))}}, HG_INVALID);
}

TEST_F(KvStore, ScanGlobEscapes) {
  for (const char* k : {"a*b", "axb", "a[1]", "a1", "a\\b", "ab"}) set(k, "v");
  EXPECT_EQ(ok("scan", {{"glob", "a\\*b"}})["keys"], list({"a*b"}));
  EXPECT_EQ(ok("scan", {{"glob", "a\\[*"}})["keys"], list({"a[1]"}));
  EXPECT_EQ(ok("scan", {{"glob", "a\\\\b"}})["keys"], list({"a\\b"}));
  EXPECT_EQ(ok("scan", {{"glob", "a[x*]b"}})["keys"], list({"a*b", "axb"}));
  EXPECT_EQ(ok("scan", {{"glob", "a?b"}})["keys"].size(), 3u);
  // A cursor from elsewhere cannot leave the range.
  EXPECT_EQ(ok("scan", {{"prefix", "a*"}, {"cursor", "0"}})["keys"], list({"a*b"}));
  EXPECT_EQ(ok("scan", {{"prefix", "a*"}, {"cursor", "z"}})["keys"], Json::array());
}

TEST_F(KvStore, ScanStreams) {
  Json items = Json::array();
  for (int i = 0; i < 1000; ++i) items.push_back(pair("k" + std::to_string(i), std::string(1000, 'v')));
  ok("set_many", {{"items", items}});
  CallOptions o;
  o.fetch = 300;
  const Reply r = store.call("scan", {{"prefix", "k"}, {"values", true}}, o);
  ASSERT_TRUE(r.ok()) << r.message;
  std::size_t n = r.body["keys"].size();
  for (const Json& part : r.parts) {
    EXPECT_LE(part["keys"].size(), 300u);
    EXPECT_EQ(part["keys"].size(), part["values"].size());
    EXPECT_FALSE(part.contains("cursor"));
    n += part["keys"].size();
  }
  EXPECT_EQ(n, 1000u);
  EXPECT_GE(r.parts.size(), 3u);
  EXPECT_EQ(r.lease, HG_LEASE_NONE);
  o.on_part = [](proto::Bytes) { return false; };
  EXPECT_EQ(store.call("scan", {{"glob", "*"}}, o).code, HG_CANCELLED);
  EXPECT_EQ(ok("scan", {{"prefix", "k"}, {"count", 1}})["keys"].size(), 1u);
}

TEST_F(KvStore, BigValuesMakeShortPages) {
  for (int i = 0; i < 5; ++i) set("big" + std::to_string(i), std::string(3 << 20, 'x'));
  std::size_t n = 0;
  Json cursor = nullptr;
  do {
    const Json page = ok("scan", {{"prefix", "big"}, {"values", true}, {"cursor", cursor}});
    n += page["keys"].size();
    cursor = page["cursor"];
  } while (!cursor.is_null());
  EXPECT_EQ(n, 5u);
  fails("get_many", {{"keys", list({"big0", "big1", "big2", "big3"})}}, HG_TOO_LARGE);
  EXPECT_EQ(get("big0")["value"].get_binary().size(), 3u << 20);
}

TEST_F(KvStore, DeletePrefix) {
  for (int i = 0; i < 100; ++i) set("a:" + std::to_string(i), std::string(i % 2 ? 10 : 1000, 'x'));
  set("a", "1");
  set("a;", "1");
  ok("hset", {{"key", "a:h"}, {"fields", {pair("f", "v")}}});
  fails("delete_prefix", {{"prefix", ""}}, HG_INVALID);
  EXPECT_EQ(ok("delete_prefix", {{"prefix", "a:"}})["deleted"], 101);
  EXPECT_EQ(ok("delete_prefix", {{"prefix", "a:"}})["deleted"], 0);
  EXPECT_EQ(rows("headgate_kv_keys"), 2);
  set(std::string("\xff\xff", 2), "1");
  EXPECT_EQ(ok("delete_prefix", {{"prefix", bin("\xff")}})["deleted"], 1);
  for (int i = 0; i < 200; ++i) set("x", "1");
  EXPECT_EQ(rows("headgate_kv_large") + rows("headgate_kv_hash") + rows("headgate_kv_garbage"), 0);
}

TEST_F(KvStore, ExplainShowsTheRange) {
  const auto plan = [&](const Json& body, std::string_view verb = "scan") {
    return ok("explain", {{"verb", verb}, {"body", body}})["plan"];
  };
  const Json p = plan({{"glob", "user:*:name"}});
  EXPECT_EQ(p["from"], bin("user:"));
  EXPECT_EQ(p["to"], bin("user;"));
  EXPECT_NE(p["statements"][0]["plan"][0].get<std::string>().find("USING PRIMARY KEY (key>? AND key<?)"),
            std::string::npos) << p;
  EXPECT_EQ(plan({{"prefix", bin("\xff")}})["to"], nullptr);
  EXPECT_EQ(plan({{"glob", "exact"}})["to"], bin(std::string("exact\0", 6)));
  for (const auto& [verb, body] : std::vector<std::pair<std::string, Json>>{
           {"get", {{"key", "k"}}}, {"set", {{"key", "k"}, {"value", "v"}}}, {"delete_prefix", {{"prefix", "p"}}},
           {"hget", {{"key", "k"}, {"field", "f"}}}, {"lpop", {{"key", "k"}}}, {"sinter", {{"keys", list({"a"})}}},
           {"zrange", {{"key", "k"}, {"start", 0}, {"stop", -1}}}, {"zrangebyscore", {{"key", "k"}}},
           {"lock", {{"name", "n"}, {"owner", "o"}, {"ttl_ms", 5}}}}) {
    const std::string text = plan(body, verb).dump(-1, ' ', false, Json::error_handler_t::replace);
    EXPECT_EQ(text.find("SCAN headgate"), std::string::npos) << verb << text;
    EXPECT_EQ(text.find("TEMP B-TREE"), std::string::npos) << verb << text;
  }
}

TEST_F(KvStore, Hashes) {
  EXPECT_EQ(ok("hset", {{"key", "h"}, {"fields", {pair("a", "1"), pair("b", "2"), pair("a", "3")}}})["added"], 2);
  EXPECT_EQ(ok("hset", {{"key", "h"}, {"fields", {pair("a", "4"), pair("", "empty")}}})["added"], 1);
  EXPECT_EQ(ok("hget", {{"key", "h"}, {"field", "a"}})["value"], bin("4"));
  EXPECT_EQ(ok("hget", {{"key", "h"}, {"field", "no"}})["value"], nullptr);
  EXPECT_EQ(ok("hmget", {{"key", "h"}, {"fields", list({"b", "no", "a"})}})["values"], Json::array({bin("2"), nullptr, bin("4")}));
  EXPECT_EQ(ok("hgetall", {{"key", "h"}})["fields"], Json::array({pair("", "empty"), pair("a", "4"), pair("b", "2")}));
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
    const Json page = ok("hscan", {{"key", "h"}, {"cursor", cursor}, {"glob", "f1*"}, {"count", 3}});
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
  const auto range = [&](int a, int b) { return ok("lrange", {{"key", "l"}, {"start", a}, {"stop", b}})["values"]; };
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
  EXPECT_EQ(ok("lrange", {{"key", "l"}, {"start", 0}, {"stop", -1}})["values"], list({"b", "c", "a"}));
  EXPECT_EQ(move("m", "right", "left"), bin("a"));
  EXPECT_EQ(move("m", "left", "left"), bin("b"));
  EXPECT_EQ(move("l", "left", "left"), bin("c"));
  EXPECT_EQ(ok("ttl", {{"key", "l"}})["ttl_ms"], 1000) << "a list of one that is turned stays";
  EXPECT_EQ(move("m", "left", "left"), bin("c"));
  EXPECT_EQ(move("m", "left", "left"), nullptr);
  EXPECT_EQ(ok("lrange", {{"key", "m"}, {"start", 0}, {"stop", -1}})["values"], list({"c", "b", "a"}));
  fails("lmove", {{"source", "l"}, {"destination", "m"}, {"from", "up"}, {"to", "left"}}, HG_INVALID);
  set("str", "x");
  ok("rpush", {{"key", "l"}, {"values", list({"keep"})}});
  fails("lmove", {{"source", "l"}, {"destination", "str"}, {"from", "left"}, {"to", "left"}}, HG_INVALID);
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
  EXPECT_EQ(ok("zadd", {{"key", "z"}, {"members", {m(2, "b"), m(1, "a"), m(2, "a2"), m(-inf, "low"), m(inf, "high")}}})["added"], 5);
  EXPECT_EQ(ok("zadd", {{"key", "z"}, {"members", {m(9, "b"), m(1, "new")}}, {"nx", true}})["added"], 1);
  EXPECT_EQ(ok("zadd", {{"key", "z"}, {"members", {m(3, "new"), m(1, "newer")}}, {"xx", true}})["added"], 0);
  EXPECT_EQ(ok("zadd", {{"key", "none"}, {"members", {m(3, "x")}}, {"xx", true}})["added"], 0);
  EXPECT_EQ(ok("type", {{"key", "none"}})["type"], nullptr);
  const Json all = Json::array({r("low", -inf), r("a", 1), r("a2", 2), r("b", 2), r("new", 3), r("high", inf)});
  EXPECT_EQ(ok("zrange", {{"key", "z"}, {"start", 0}, {"stop", -1}})["members"], all);
  EXPECT_EQ(ok("zrange", {{"key", "z"}, {"start", 0}, {"stop", 1}, {"reverse", true}})["members"], Json::array({r("high", inf), r("new", 3)}));
  EXPECT_EQ(ok("zrange", {{"key", "z"}, {"start", 4}, {"stop", 2}})["members"], Json::array());
  EXPECT_EQ(ok("zrank", {{"key", "z"}, {"member", "b"}})["rank"], 3);
  EXPECT_EQ(ok("zrank", {{"key", "z"}, {"member", "b"}, {"reverse", true}})["rank"], 2);
  EXPECT_EQ(ok("zrank", {{"key", "z"}, {"member", "none"}})["rank"], nullptr);
  EXPECT_EQ(ok("zscore", {{"key", "z"}, {"member", "high"}})["score"], inf);
  EXPECT_EQ(ok("zcount", {{"key", "z"}, {"min", 1}, {"max", 2}})["count"], 3);
  EXPECT_EQ(ok("zcount", {{"key", "z"}})["count"], 6);
  EXPECT_EQ(ok("zrangebyscore", {{"key", "z"}, {"min", 1}, {"max", 3}, {"offset", 1}, {"count", 2}})["members"], Json::array({r("a2", 2), r("b", 2)}));
  EXPECT_EQ(ok("zrangebyscore", {{"key", "z"}, {"max", 1}, {"reverse", true}})["members"], Json::array({r("a", 1), r("low", -inf)}));
  EXPECT_EQ(ok("zrangebyscore", {{"key", "z"}, {"offset", INT64_MAX}, {"count", INT64_MAX}})["members"], Json::array());
  EXPECT_EQ(ok("zincrby", {{"key", "z"}, {"member", "a"}, {"by", 1.5}})["score"], 2.5);
  fails("zincrby", {{"key", "z"}, {"member", "high"}, {"by", -inf}}, HG_INVALID);
  const double nan = std::numeric_limits<double>::quiet_NaN();
  fails("zadd", {{"key", "z"}, {"members", {m(nan, "x")}}}, HG_INVALID);
  fails("zincrby", {{"key", "z"}, {"member", "a"}, {"by", nan}}, HG_INVALID);
  fails("zcount", {{"key", "z"}, {"min", nan}}, HG_INVALID);
  fails("zadd", {{"key", "z"}, {"members", {m(1, "x")}}, {"nx", true}, {"xx", true}}, HG_INVALID);
  EXPECT_EQ(ok("zpopmin", {{"key", "z"}})["members"], Json::array({r("low", -inf)}));
  EXPECT_EQ(ok("zpopmax", {{"key", "z"}, {"count", 2}})["members"], Json::array({r("high", inf), r("new", 3)}));
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

TEST_F(KvStore, RoutesTruthfully) {
  const auto touched = [&](std::string_view verb, const Json& body) {
    store.call(verb, body);
    return BareStore::touched();
  };
  using V = std::vector<std::string>;
  EXPECT_EQ(touched("get_many", {{"keys", list({"a", "b"})}}), (V{"get_many 2 a", "get_many 2 b"}));
  EXPECT_EQ(touched("set_many", {{"items", {pair("a", "1"), pair("b", "2")}}}), (V{"set_many 2 a", "set_many 2 b"}));
  EXPECT_EQ(touched("scan", {{"prefix", "p:"}}), V{"scan 5 p:"});
  EXPECT_EQ(touched("scan", {{"glob", "p\\*x[ab]*"}}), V{"scan 5 p*x"});
  EXPECT_EQ(touched("scan", {{"glob", "*"}}), V{"scan 5 "});
  EXPECT_EQ(touched("delete_prefix", {{"prefix", "p:"}}), V{"delete_prefix 5 p:"});
  EXPECT_EQ(touched("lmove", {{"source", "a"}, {"destination", "b"}, {"from", "left"}, {"to", "left"}}), (V{"lmove 2 a", "lmove 2 b"}));
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
