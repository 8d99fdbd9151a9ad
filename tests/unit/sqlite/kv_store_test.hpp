// A key-value store on the bare host, with a wall clock that the test turns.
#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "plugins/sqlite/kv_kind.hpp"
#include "tests/unit/sqlite/bare_host.hpp"

namespace headgate::sqlite::test {

inline std::atomic<std::int64_t> wall_ms{1'700'000'000'000};

inline std::unique_ptr<Kind> make_kind_with_clock(const hg_host* host, const hg_driver_config& c) {
  return std::make_unique<KeyValueKind>(host, c, [] { return wall_ms.load(); });
}

inline Json list(std::initializer_list<std::string_view> items) {
  Json out = Json::array();
  for (const auto s : items) out.push_back(bin(s));
  return out;
}
inline Json pair(std::string_view a, std::string_view b) { return Json::array({bin(a), bin(b)}); }

// Not synced: these tests are about answers, not about power cuts.
inline StoreOptions quick() {
  StoreOptions o;
  o.options = {{"path", "store.db"}, {"synchronous", "normal"}};
  return o;
}

class KvStore : public ::testing::Test {
 protected:
  BareStore store{plugin_of(make_kind_with_clock), quick()};

  // The reply's body; the call must succeed.
  Json ok(std::string_view verb, const Json& body, const CallOptions& options = {}) {
    const Reply r = store.call(verb, body, options);
    EXPECT_TRUE(r.ok()) << verb << " " << body << ": " << r.message;
    return r.body;
  }
  Reply fails(std::string_view verb, const Json& body, int code) {
    Reply r = store.call(verb, body);
    EXPECT_EQ(r.code, code) << verb << " " << body << ": " << r.message;
    EXPECT_EQ(r.connection, HG_CONN_CLEAN);
    return r;
  }
  Json get(std::string_view key) { return ok("get", {{"key", bin(key)}}); }
  void set(std::string_view key, std::string_view value) {
    ok("set", {{"key", bin(key)}, {"value", bin(value)}});
  }
  std::int64_t rows(const std::string& table) {
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open((store.dir() + "/store.db").c_str(), &db), SQLITE_OK);
    sqlite3_stmt* s = nullptr;
    std::int64_t n = -1;
    EXPECT_EQ(sqlite3_prepare_v2(db, ("SELECT count(*) FROM " + table).c_str(), -1, &s, nullptr),
              SQLITE_OK);
    if (sqlite3_step(s) == SQLITE_ROW) n = sqlite3_column_int64(s, 0);
    sqlite3_finalize(s);
    sqlite3_close(db);
    return n;
  }
};

}  // namespace headgate::sqlite::test
