// The conformance cases of scan, delete_prefix and explain on the bare host.
#include "plugins/sqlite/kv_request.hpp"
#include "tests/unit/sqlite/kv_store_test.hpp"

namespace headgate::sqlite::test {
namespace {

TEST_F(KvStore, Scan) {
  for (int i = 0; i < 250; ++i) set("p:" + std::to_string(1000 + i), std::to_string(i));
  set("p", "before");
  set("q", "after");
  set(std::string("\xff\xff", 2), "last");
  std::vector<std::string> seen;
  Json cursor = nullptr;
  int pages = 0;
  do {
    const Json page =
        ok("scan", {{"prefix", "p:"}, {"count", 100}, {"cursor", cursor}, {"values", true}});
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
  EXPECT_EQ(ok("scan", {{"glob", "*"}})["keys"],
            Json::array({bin("p"), bin("q"), bin("\xff\xff")}));
  EXPECT_EQ(ok("scan", {{"prefix", bin("\xff")}})["keys"], Json::array({bin("\xff\xff")}));
  EXPECT_EQ(ok("scan", {{"glob", "*"}})["values"], nullptr);
  fails("scan", {{"prefix", ""}}, HG_INVALID);
  fails("scan", {{"glob", ""}}, HG_INVALID);
  fails("scan", Json::object(), HG_INVALID);
  fails("scan", {{"prefix", "a"}, {"glob", "b"}}, HG_INVALID);
  for (const int count : {0, -1}) {
    EXPECT_THAT(fails("scan", {{"prefix", "a"}, {"count", count}}, HG_INVALID).message,
                testing::HasSubstr("1 or more"));
    EXPECT_THAT(fails("hscan", {{"key", "a"}, {"count", count}}, HG_INVALID).message,
                testing::HasSubstr("1 or more"));
  }
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
  for (int i = 0; i < 1000; ++i)
    items.push_back(pair("k" + std::to_string(i), std::string(1000, 'v')));
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
  EXPECT_NE(
      p["statements"][0]["plan"][0].get<std::string>().find("USING PRIMARY KEY (key>? AND key<?)"),
      std::string::npos)
      << p;
  EXPECT_EQ(plan({{"prefix", bin("\xff")}})["to"], nullptr);
  EXPECT_EQ(plan({{"glob", "exact"}})["to"], bin(std::string("exact\0", 6)));
  for (const auto& [verb, body] : std::vector<std::pair<std::string, Json>>{
           {"get", {{"key", "k"}}},
           {"set", {{"key", "k"}, {"value", "v"}}},
           {"delete_prefix", {{"prefix", "p"}}},
           {"hget", {{"key", "k"}, {"field", "f"}}},
           {"lpop", {{"key", "k"}}},
           {"sinter", {{"keys", list({"a"})}}},
           {"zrange", {{"key", "k"}, {"start", 0}, {"stop", -1}}},
           {"zrangebyscore", {{"key", "k"}}},
           {"lock", {{"name", "n"}, {"owner", "o"}, {"ttl_ms", 5}}}}) {
    const std::string text = plan(body, verb).dump(-1, ' ', false, Json::error_handler_t::replace);
    EXPECT_EQ(text.find("SCAN headgate"), std::string::npos) << verb << text;
    EXPECT_EQ(text.find("TEMP B-TREE"), std::string::npos) << verb << text;
  }
}

}  // namespace
}  // namespace headgate::sqlite::test
