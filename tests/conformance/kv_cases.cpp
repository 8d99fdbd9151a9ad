// Key-value cases: strings, versions, TTL, counters, scans, batches.
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "tests/conformance/case.hpp"

namespace headgate::conformance {
namespace {

Json key(Context& x, std::string_view suffix = "") {
  return bin(x.unique + ":" + std::string(suffix));
}

Reply set(Context& x, const Json& k, std::string_view value, Json more = Json::object()) {
  more["key"] = k;
  more["value"] = bin(value);
  return x.caller->call("set", more);
}
Json get(Context& x, const Json& k) {
  const Reply r = x.caller->call("get", {{"key", k}});
  expect_ok(r, "get");
  return r.body.at("value");
}
void expect_value(Context& x, const Json& k, const Json& wanted, const char* where) {
  expect_eq(get(x, k), wanted, where);
}
Json item(const char* verb, Json body) { return Json::array({verb, std::move(body)}); }

// Waits for a condition, at most five seconds.
void eventually(const char* what, const std::function<bool()>& holds) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > until)
      throw Failure(std::string("never happened: ") + what);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

CASE(get_missing, "kv.get_missing", "key_value", V("get"), V()) {
  const Reply r = x.caller->call("get", {{"key", key(x, "none")}});
  expect_ok(r, "a missing key is no error");
  expect_eq(r.body.at("value"), nullptr, "value");
}

CASE(roundtrip_bytes, "kv.roundtrip_bytes", "key_value", V("get", "set"), V()) {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  for (const std::string& v :
       {std::string(), std::string("\0", 1), all, std::string("gr\xc3\xbc\xc3\x9f"),
        std::string("\xff\xfe not utf-8")}) {
    expect_ok(set(x, key(x), v), "set");
    expect_value(x, key(x), bin(v), "the same bytes");
  }
  // A str value is its UTF-8 bytes.
  expect_ok(x.caller->call("set", {{"key", key(x)}, {"value", "text"}}), "set of a str");
  expect_value(x, key(x), bin("text"), "a str reads back as bytes");
}

CASE(value_1mib, "kv.value_1MiB", "key_value", V("get", "set"), V()) {
  std::string v(1 << 20, '\0');
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<char>(i * 31 >> 3);
  expect_ok(set(x, key(x), v), "set");
  expect(get(x, key(x)) == bin(v), "1 MiB must come back unchanged");
}

CASE(value_over_limit, "kv.value_over_limit", "key_value", V("set"), V()) {
  const Json limits = x.target.describe().value("limits", Json::object());
  if (!limits.contains("value_bytes") || limits["value_bytes"].get<std::uint64_t>() > (19u << 20))
    return;
  const Reply r = set(x, key(x), std::string(limits["value_bytes"].get<std::size_t>() + 1, 'v'));
  expect_code(r, Code::too_large, "one byte over value_bytes");
}

CASE(key_edge, "kv.key_edge", "key_value", V("get", "set"), V()) {
  expect_code(set(x, bin(""), "v"), Code::invalid, "an empty key");
  for (const std::string& k :
       {std::string(900, 'k'), std::string("\xc3\xa4"), std::string("a||b"), std::string("50%"),
        std::string("*"), std::string("a\nb"), std::string("[a-z]?\\")}) {
    const Json name = bin(x.unique + k);
    expect_ok(set(x, name, k), "set");
    expect_value(x, name, bin(k), "get");
  }
}

CASE(binary_key, "kv.binary_key", "key_value", V("get", "set"), V()) {
  const Json a = bin(x.unique + std::string("\0\xff\x00", 3)),
             b = bin(x.unique + std::string("\0\xff", 2));
  expect_ok(set(x, a, "a"), "set");
  expect_ok(set(x, b, "b"), "set");
  expect_value(x, a, bin("a"), "NUL bytes count");
  expect_value(x, b, bin("b"), "NUL bytes count");
}

CASE(set_nx, "kv.set_nx", "key_value", V("get", "set"), V()) {
  expect_eq(set(x, key(x), "1", {{"nx", true}}).body.at("set"), true, "absent");
  expect_eq(set(x, key(x), "2", {{"nx", true}}).body.at("set"), false, "present");
  expect_value(x, key(x), bin("1"), "unchanged");
}

CASE(set_xx, "kv.set_xx", "key_value", V("get", "set"), V()) {
  expect_eq(set(x, key(x), "1", {{"xx", true}}).body.at("set"), false, "absent");
  expect_value(x, key(x), nullptr, "still absent");
  expect_ok(set(x, key(x), "1"), "set");
  expect_eq(set(x, key(x), "2", {{"xx", true}}).body.at("set"), true, "present");
  expect_value(x, key(x), bin("2"), "changed");
  expect_code(set(x, key(x), "3", {{"xx", true}, {"nx", true}}), Code::invalid, "nx and xx");
}

CASE(set_get_old, "kv.set_get_old", "key_value", V("set"), V()) {
  expect_eq(set(x, key(x), "1", {{"get_old", true}}).body.at("old"), nullptr, "nothing before");
  expect_eq(set(x, key(x), "2", {{"get_old", true}}).body.at("old"), bin("1"), "the value before");
}

CASE(overwrite_type, "kv.overwrite_type", "key_value", V("set", "rpush", "get"), V("structures")) {
  expect_ok(x.caller->call("rpush", {{"key", key(x)}, {"values", Json::array({bin("a")})}}),
            "rpush");
  expect_ok(set(x, key(x), "s"), "set over a list");
  expect_value(x, key(x), bin("s"), "a string now");
}

CASE(delete_existing, "kv.delete_existing", "key_value", V("set", "get", "delete"), V()) {
  expect_ok(set(x, key(x), "1"), "set");
  const Reply r = x.caller->call("delete", {{"key", key(x)}});
  expect_ok(r, "delete");
  expect_eq(r.body.at("deleted"), 1, "deleted");
  expect_value(x, key(x), nullptr, "gone");
}

CASE(delete_missing, "kv.delete_missing", "key_value", V("delete"), V()) {
  const Reply r = x.caller->call("delete", {{"key", key(x, "none")}});
  expect_ok(r, "a missing key is no error");
  expect_eq(r.body.at("deleted"), 0, "deleted");
}

CASE(exists_many, "kv.exists_many", "key_value", V("set", "exists"), V()) {
  expect_ok(set(x, key(x, "a"), "1"), "set");
  expect_ok(set(x, key(x, "b"), ""), "set");
  const Reply r =
      x.caller->call("exists", {{"keys", {key(x, "a"), key(x, "b"), key(x, "c"), key(x, "a")}}});
  expect_ok(r, "exists");
  expect_eq(r.body.at("count"), 3, "a key named twice counts twice");
}

CASE(get_many_order, "kv.get_many_order", "key_value", V("set", "get_many"), V()) {
  expect_ok(set(x, key(x, "b"), "B"), "set");
  expect_ok(set(x, key(x, "a"), "A"), "set");
  const Reply r =
      x.caller->call("get_many", {{"keys", {key(x, "b"), key(x, "none"), key(x, "a")}}});
  expect_ok(r, "get_many");
  expect_eq(r.body.at("values"), Json::array({bin("B"), nullptr, bin("A")}),
            "in the order asked, nil in place");
}

CASE(set_many, "kv.set_many", "key_value", V("set_many", "get_many"), V()) {
  const Json items = {{key(x, "a"), bin("1")}, {key(x, "b"), bin("2")}, {key(x, "a"), bin("3")}};
  expect_ok(x.caller->call("set_many", {{"items", items}}), "set_many");
  const Reply r = x.caller->call("get_many", {{"keys", {key(x, "a"), key(x, "b")}}});
  expect_eq(r.body.at("values"), Json::array({bin("3"), bin("2")}), "the last of a key wins");
}

CASE(set_many_nx_atomic, "kv.set_many_nx_atomic", "key_value", V("set_many", "set", "get"), V()) {
  expect_ok(set(x, key(x, "b"), "old"), "set");
  const Json items = {{key(x, "a"), bin("1")}, {key(x, "b"), bin("2")}};
  const Reply r = x.caller->call("set_many", {{"items", items}, {"nx", true}});
  expect_ok(r, "set_many nx");
  expect_eq(r.body.at("set"), false, "one is there");
  expect_value(x, key(x, "a"), nullptr, "none of them was set");
}

CASE(delete_many_count, "kv.delete_many_count", "key_value", V("set", "delete_many"), V()) {
  expect_ok(set(x, key(x, "a"), "1"), "set");
  expect_ok(set(x, key(x, "b"), "1"), "set");
  const Reply r =
      x.caller->call("delete_many", {{"keys", {key(x, "a"), key(x, "b"), key(x, "c")}}});
  expect_ok(r, "delete_many");
  expect_eq(r.body.at("deleted"), 2, "deleted");
}

CASE(get_many_1000, "kv.get_many_1000", "key_value", V("set_many", "get_many"), V()) {
  Json items = Json::array(), keys = Json::array();
  for (int i = 0; i < 1000; ++i) {
    keys.push_back(key(x, std::to_string(i)));
    items.push_back({keys.back(), bin("v" + std::to_string(i))});
  }
  expect_ok(x.caller->call("set_many", {{"items", items}}), "set_many of 1000");
  const Reply r = x.caller->call("get_many", {{"keys", keys}});
  expect_ok(r, "get_many of 1000");
  expect_eq(r.body.at("values").size(), 1000, "values");
  expect_eq(r.body.at("values")[999], bin("v999"), "the last");
}

Json version(Context& x, const Json& k) {
  const Reply r = x.caller->call("get", {{"key", k}});
  expect_ok(r, "get");
  return r.body.at("version");
}

CASE(version_present, "kv.version_present", "key_value", V("set", "get", "get_many"),
     V("version")) {
  const Reply s = set(x, key(x), "1");
  expect(s.body.at("version").is_binary(), "set returns the new version");
  expect_eq(version(x, key(x)), s.body.at("version"), "get returns the same version");
  const Reply r = x.caller->call("get_many", {{"keys", {key(x), key(x, "none")}}});
  expect_eq(r.body.at("versions"), Json::array({s.body.at("version"), nullptr}), "bulk read");
}

CASE(version_update_ok, "kv.version_update_ok", "key_value", V("set", "get"), V("version")) {
  expect_ok(set(x, key(x), "1"), "set");
  expect_ok(set(x, key(x), "2", {{"if_version", version(x, key(x))}}), "with the current version");
  expect_value(x, key(x), bin("2"), "changed");
}

CASE(version_mismatch, "kv.version_mismatch", "key_value", V("set", "get"), V("version")) {
  expect_ok(set(x, key(x), "1"), "set");
  const Json old = version(x, key(x));
  expect_ok(set(x, key(x), "2"), "set");
  const Reply r = set(x, key(x), "3", {{"if_version", old}});
  expect_code(r, Code::conflict, "an old version");
  expect(r.outcome == Outcome::rejected || r.outcome == Outcome::rolled_back,
         "nothing was applied");
  expect_value(x, key(x), bin("2"), "unchanged");
}

CASE(version_invalid, "kv.version_invalid", "key_value", V("set"), V("version")) {
  expect_ok(set(x, key(x), "1"), "set");
  expect_code(set(x, key(x), "2", {{"if_version", bin("not a version")}}), Code::invalid,
              "no version at all");
}

CASE(version_changes, "kv.version_changes", "key_value", V("set", "get", "delete"), V("version")) {
  std::set<std::vector<std::uint8_t>> seen;
  for (int i = 0; i < 5; ++i) {
    expect_ok(set(x, key(x), "same"), "set");
    expect(seen.insert(version(x, key(x)).get_binary()).second, "a version was used twice");
    expect_ok(x.caller->call("delete", {{"key", key(x)}}), "delete");
  }
}

CASE(version_delete_ok, "kv.version_delete_ok", "key_value", V("set", "get", "delete"),
     V("version")) {
  expect_ok(set(x, key(x), "1"), "set");
  const Reply r = x.caller->call("delete", {{"key", key(x)}, {"if_version", version(x, key(x))}});
  expect_ok(r, "delete with the current version");
  expect_eq(r.body.at("deleted"), 1, "deleted");
}

CASE(version_delete_mismatch, "kv.version_delete_mismatch", "key_value", V("set", "get", "delete"),
     V("version")) {
  expect_ok(set(x, key(x), "1"), "set");
  const Json old = version(x, key(x));
  expect_ok(set(x, key(x), "2"), "set");
  expect_code(x.caller->call("delete", {{"key", key(x)}, {"if_version", old}}), Code::conflict,
              "an old version");
  expect_value(x, key(x), bin("2"), "still there");
}

CASE(version_bulk_partial, "kv.version_bulk_partial", "key_value", V("set", "get", "batch"),
     V("version")) {
  expect_ok(set(x, key(x, "a"), "1"), "set");
  expect_ok(set(x, key(x, "b"), "1"), "set");
  const Json good = version(x, key(x, "a")), old = version(x, key(x, "b"));
  expect_ok(set(x, key(x, "b"), "2"), "set");
  const Json items =
      Json::array({item("set", {{"key", key(x, "a")}, {"value", bin("3")}, {"if_version", good}}),
                   item("set", {{"key", key(x, "b")}, {"value", bin("3")}, {"if_version", old}})});
  const Reply r = x.caller->call("batch", {{"atomic", false}, {"items", items}});
  expect_ok(r, "batch");
  expect_eq(r.body[0][0], static_cast<int>(Code::ok), "the good item");
  expect_eq(r.body[1][0], static_cast<int>(Code::conflict), "the bad item");
  expect_value(x, key(x, "a"), bin("3"), "a");
  expect_value(x, key(x, "b"), bin("2"), "b");
}

CASE(first_write_no_version, "kv.first_write_no_version", "key_value", V("set", "get"),
     V("version")) {
  expect_ok(set(x, key(x), "1", {{"if_version", bin("")}}), "absent");
  expect_code(set(x, key(x), "2", {{"if_version", bin("")}}), Code::conflict, "the second writer");
  expect_value(x, key(x), bin("1"), "the first one's");
}

CASE(cas_race, "kv.cas_race", "key_value", V("set", "get"), V("version")) {
  expect_ok(set(x, key(x), "0"), "set");
  for (int round = 0; round < 5; ++round) {
    const Json v = version(x, key(x));
    std::atomic<int> winners{0};
    std::vector<std::thread> writers;
    for (int i = 0; i < 32; ++i)
      writers.emplace_back([&, i] {
        auto caller = x.target.caller();
        const Reply r = caller->call(
            "set", {{"key", key(x)}, {"value", bin(std::to_string(i))}, {"if_version", v}});
        if (r.ok()) ++winners;
      });
    for (auto& t : writers) t.join();
    expect_eq(winners.load(), 1, "winners of a round of 32");
  }
}

CASE(compare_and_set_, "kv.compare_and_set", "key_value", V("compare_and_set", "get"), V()) {
  auto cas = [&](Json expected, std::string_view v) {
    const Reply r = x.caller->call("compare_and_set",
                                   {{"key", key(x)}, {"expected", expected}, {"value", bin(v)}});
    expect_ok(r, "compare_and_set");
    return r.body.at("set");
  };
  expect_eq(cas(bin("1"), "2"), false, "absent is not `1`");
  expect_eq(cas(nullptr, "1"), true, "nil: when absent");
  expect_eq(cas(nullptr, "2"), false, "nil: it is there now");
  expect_eq(cas(bin("0"), "2"), false, "another value");
  expect_eq(cas(bin("1"), "2"), true, "the value");
  expect_value(x, key(x), bin("2"), "swapped");
}

Json ttl(Context& x, const Json& k) {
  const Reply r = x.caller->call("ttl", {{"key", k}});
  expect_ok(r, "ttl");
  return r.body.at("ttl_ms");
}

CASE(ttl_expires, "kv.ttl_expires", "key_value", V("set", "get", "ttl", "exists", "get_many"),
     V("ttl")) {
  expect_ok(set(x, key(x), "v", {{"ttl_ms", 60}}), "set with a ttl");
  eventually("the key expires", [&] { return get(x, key(x)).is_null(); });
  expect_eq(ttl(x, key(x)), nullptr, "ttl of an expired key");
  expect_eq(x.caller->call("exists", {{"keys", {key(x)}}}).body.at("count"), 0, "exists");
  expect_eq(x.caller->call("get_many", {{"keys", {key(x)}}}).body.at("values"),
            Json::array({nullptr}), "get_many");
  expect_eq(set(x, key(x), "w", {{"nx", true}}).body.at("set"), true, "an expired key is absent");
}

CASE(ttl_remaining, "kv.ttl_remaining", "key_value", V("set", "ttl"), V("ttl")) {
  expect_ok(set(x, key(x), "v", {{"ttl_ms", 60'000}}), "set");
  const auto left = ttl(x, key(x)).get<std::int64_t>();
  expect(left > 50'000 && left <= 60'000, "ttl_ms is " + std::to_string(left));
  expect_ok(set(x, key(x, "b"), "v"), "set");
  expect_eq(ttl(x, key(x, "b")), -1, "no ttl");
  expect_eq(ttl(x, key(x, "none")), nullptr, "no key");
}

CASE(ttl_keep, "kv.ttl_keep", "key_value", V("set", "ttl"), V("ttl")) {
  expect_ok(set(x, key(x), "v", {{"ttl_ms", 60'000}}), "set");
  expect_ok(set(x, key(x), "w", {{"keep_ttl", true}}), "set keep_ttl");
  expect(ttl(x, key(x)).get<std::int64_t>() > 50'000, "the ttl is kept");
}

CASE(ttl_cleared_by_set, "kv.ttl_cleared_by_set", "key_value", V("set", "ttl"), V("ttl")) {
  expect_ok(set(x, key(x), "v", {{"ttl_ms", 60'000}}), "set");
  expect_ok(set(x, key(x), "w"), "set");
  expect_eq(ttl(x, key(x)), -1, "a plain set clears the ttl");
}

CASE(ttl_persist, "kv.ttl_persist", "key_value", V("set", "ttl", "persist", "expire"), V("ttl")) {
  expect_ok(set(x, key(x), "v"), "set");
  expect_eq(x.caller->call("expire", {{"key", key(x)}, {"ttl_ms", 60'000}}).body.at("set"), true,
            "expire");
  expect(ttl(x, key(x)).get<std::int64_t>() > 50'000, "it has a ttl");
  expect_eq(x.caller->call("persist", {{"key", key(x)}}).body.at("set"), true, "persist");
  expect_eq(ttl(x, key(x)), -1, "no ttl");
  expect_eq(x.caller->call("persist", {{"key", key(x)}}).body.at("set"), false, "nothing to clear");
  expect_eq(x.caller->call("expire", {{"key", key(x, "none")}, {"ttl_ms", 1}}).body.at("set"),
            false, "no key");
}

CASE(ttl_bad_value, "kv.ttl_bad_value", "key_value", V("set", "expire"), V("ttl")) {
  for (const Json& bad : {Json(0), Json(-1), Json("soon"), Json(1.5)})
    expect_code(set(x, key(x), "v", {{"ttl_ms", bad}}), Code::invalid, "set");
  expect_code(x.caller->call("expire", {{"key", key(x)}, {"ttl_ms", -5}}), Code::invalid, "expire");
}

CASE(ttl_atomic, "kv.ttl_atomic", "key_value", V("set", "ttl", "increment"), V("ttl")) {
  // Two readers never see the key without its ttl while it is set again and again.
  std::atomic<bool> stop{false}, bare{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i)
    readers.emplace_back([&] {
      auto caller = x.target.caller();
      while (!stop) {
        const Reply r = caller->call("ttl", {{"key", key(x)}});
        if (r.ok() && r.body.at("ttl_ms") == -1) bare = true;
      }
    });
  for (int i = 0; i < 200; ++i) set(x, key(x), "v", {{"ttl_ms", 60'000}});
  stop = true;
  for (auto& t : readers) t.join();
  expect(!bare, "a reader saw the key without its ttl");
  expect_ok(x.caller->call("increment", {{"key", key(x, "n")}, {"ttl_ms", 60'000}}), "increment");
  expect(ttl(x, key(x, "n")).get<std::int64_t>() > 0, "a new counter has its ttl");
}

CASE(increment, "kv.increment", "key_value", V("increment", "get"), V("increment")) {
  auto inc = [&](Json more) {
    more["key"] = key(x);
    const Reply r = x.caller->call("increment", more);
    expect_ok(r, "increment");
    return r.body.at("value");
  };
  expect_eq(inc(Json::object()), 1, "from nothing");
  expect_eq(inc({{"by", 41}}), 42, "by 41");
  expect_eq(inc({{"by", -50}}), -8, "by -50");
  expect_value(x, key(x), bin("-8"), "stored as its decimal text");
}

CASE(increment_float, "kv.increment_float", "key_value", V("increment", "set"), V("increment")) {
  expect_ok(set(x, key(x), "10.5"), "set");
  const Reply r = x.caller->call("increment", {{"key", key(x)}, {"by", 0.25}});
  expect_ok(r, "by 0.25");
  expect_eq(r.body.at("value"), 10.75, "value");
}

CASE(increment_overflow, "kv.increment_overflow", "key_value", V("increment", "set", "get"),
     V("increment")) {
  expect_ok(set(x, key(x), "9223372036854775807"), "set");
  expect_code(x.caller->call("increment", {{"key", key(x)}}), Code::invalid, "beyond 64 bits");
  expect_value(x, key(x), bin("9223372036854775807"), "unchanged");
}

CASE(increment_non_numeric, "kv.increment_non_numeric", "key_value", V("increment", "set"),
     V("increment")) {
  for (const char* v : {"abc", "", "1 ", "0x10"}) {
    expect_ok(set(x, key(x), v), "set");
    expect_code(x.caller->call("increment", {{"key", key(x)}}), Code::invalid, v);
  }
}

CASE(increment_concurrent, "kv.increment_concurrent", "key_value", V("increment"), V("increment")) {
  std::vector<std::thread> threads;
  std::atomic<int> failed{0};
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      auto caller = x.target.caller();
      for (int n = 0; n < 50; ++n)
        if (!caller->call("increment", {{"key", key(x)}}).ok()) ++failed;
    });
  for (auto& t : threads) t.join();
  expect_eq(failed.load(), 0, "failed increments");
  expect_eq(x.caller->call("increment", {{"key", key(x)}, {"by", 0}}).body.at("value"), 400,
            "exact total");
}

CASE(append, "kv.append", "key_value", V("append", "get"), V()) {
  expect_eq(x.caller->call("append", {{"key", key(x)}, {"value", bin("ab")}}).body.at("length"), 2,
            "to nothing");
  expect_eq(x.caller->call("append", {{"key", key(x)}, {"value", bin(std::string("\0c", 2))}})
                .body.at("length"),
            4, "more");
  expect_value(x, key(x), bin(std::string("ab\0c", 4)), "value");
}

CASE(get_delete, "kv.get_delete", "key_value", V("get_delete", "set", "get"), V()) {
  expect_eq(x.caller->call("get_delete", {{"key", key(x)}}).body.at("value"), nullptr, "missing");
  expect_ok(set(x, key(x), "v"), "set");
  expect_eq(x.caller->call("get_delete", {{"key", key(x)}}).body.at("value"), bin("v"),
            "its value");
  expect_value(x, key(x), nullptr, "gone");
}

std::vector<std::string> scan_all(Context& x, Json body) {
  std::vector<std::string> names;
  for (int page = 0; page < 10'000; ++page) {
    const Reply r = x.caller->call("scan", body);
    expect_ok(r, "scan");
    for (const Json& k : r.body.at("keys"))
      names.emplace_back(k.get_binary().begin(), k.get_binary().end());
    if (r.body.at("cursor").is_null()) return names;
    body["cursor"] = r.body.at("cursor");
  }
  throw Failure("scan never ended");
}
void fill(Context& x, int n, const std::string& middle = "") {
  Json items = Json::array();
  for (int i = 0; i < n; ++i)
    items.push_back({key(x, middle + std::to_string(1000 + i)), bin("v")});
  expect_ok(x.caller->call("set_many", {{"items", items}}), "set_many");
}

CASE(scan_prefix, "kv.scan_prefix", "key_value", V("scan", "set_many"), V("scan")) {
  fill(x, 20, "a");
  fill(x, 5, "b");
  expect_eq(scan_all(x, {{"prefix", key(x, "a")}}).size(), 20, "keys under a");
  expect_eq(scan_all(x, {{"prefix", key(x)}}).size(), 25, "all");
  expect_eq(scan_all(x, {{"prefix", key(x, "zz")}}).size(), 0, "none");
}

CASE(scan_glob_escape, "kv.scan_glob_escape", "key_value", V("scan", "set"), V("scan")) {
  for (const char* k : {"a*b", "axb", "a?b", "a[b", "a\\b"})
    expect_ok(set(x, key(x, k), "v"), "set");
  auto glob = [&](const std::string& g) {
    return scan_all(x, {{"glob", bin(x.unique + ":" + g)}});
  };
  expect_eq(glob("a*b").size(), 5, "a star is anything");
  expect_eq(glob("a\\*b"), Json::array({x.unique + ":a*b"}), "an escaped star is a star");
  expect_eq(glob("a\\?b"), Json::array({x.unique + ":a?b"}), "an escaped question mark");
  expect_eq(glob("a[x*]b").size(), 2, "a set");
  expect_eq(glob("a\\[b"), Json::array({x.unique + ":a[b"}), "an escaped bracket");
}

CASE(scan_pages, "kv.scan_pages", "key_value", V("scan", "set_many"), V("scan")) {
  fill(x, 101);
  const auto names = scan_all(x, {{"prefix", key(x)}, {"count", 10}});
  expect_eq(std::set<std::string>(names.begin(), names.end()).size(), 101, "each key once");
  expect_eq(names.size(), 101, "none twice");
}

CASE(scan_while_deleting, "kv.scan_while_deleting", "key_value",
     V("scan", "set_many", "delete_many"), V("scan")) {
  fill(x, 100);
  Json body = {{"prefix", key(x)}, {"count", 7}};
  std::set<std::string> seen;
  for (int page = 0; page < 200; ++page) {
    const Reply r = x.caller->call("scan", body);
    expect_ok(r, "scan");
    for (const Json& k : r.body.at("keys"))
      seen.emplace(k.get_binary().begin(), k.get_binary().end());
    if (!r.body.at("keys").empty())
      expect_ok(x.caller->call("delete_many", {{"keys", r.body.at("keys")}}), "delete");
    if (r.body.at("cursor").is_null()) break;
    body["cursor"] = r.body.at("cursor");
  }
  expect_eq(seen.size(), 100, "every key was seen though the seen ones were deleted");
}

CASE(scan_hides_expired, "kv.scan_hides_expired", "key_value", V("scan", "set", "get"),
     V("scan", "ttl")) {
  expect_ok(set(x, key(x, "a"), "v", {{"ttl_ms", 40}}), "set");
  expect_ok(set(x, key(x, "b"), "v"), "set");
  eventually("the key expires", [&] { return get(x, key(x, "a")).is_null(); });
  expect_eq(scan_all(x, {{"prefix", key(x)}}), Json::array({x.unique + ":b"}), "only the live key");
}

CASE(scan_empty_pattern_refused, "kv.scan_empty_pattern_refused", "key_value", V("scan"),
     V("scan")) {
  expect_code(x.caller->call("scan", Json::object()), Code::invalid, "neither prefix nor glob");
  expect_code(x.caller->call("scan", {{"prefix", bin("")}}), Code::invalid, "an empty prefix");
  expect_code(x.caller->call("scan", {{"glob", bin("")}}), Code::invalid, "an empty glob");
  expect_code(x.caller->call("scan", {{"glob", bin("*")}, {"prefix", bin("a")}}), Code::invalid,
              "both");
}

CASE(delete_prefix, "kv.delete_prefix", "key_value", V("delete_prefix", "set_many", "scan"), V()) {
  fill(x, 30, "a");
  fill(x, 3, "b");
  const Reply r = x.caller->call("delete_prefix", {{"prefix", key(x, "a")}});
  expect_ok(r, "delete_prefix");
  expect_eq(r.body.at("deleted"), 30, "deleted");
  expect_eq(scan_all(x, {{"prefix", key(x)}}).size(), 3, "the others stay");
  expect_code(x.caller->call("delete_prefix", {{"prefix", bin("")}}), Code::invalid,
              "an empty prefix");
}

CASE(batch_commit, "kv.batch_commit", "key_value", V("batch", "set", "get"), V()) {
  const Json items = Json::array({item("set", {{"key", key(x, "a")}, {"value", bin("1")}}),
                                  item("set", {{"key", key(x, "b")}, {"value", bin("2")}}),
                                  item("get", {{"key", key(x, "a")}})});
  const Reply r = x.caller->call("batch", {{"items", items}});
  expect_ok(r, "batch");
  expect_eq(r.body.size(), 3, "an answer an item");
  expect_eq(r.body[2][2].at("value"), bin("1"), "an item sees the ones before");
  expect_value(x, key(x, "b"), bin("2"), "applied");
}

CASE(batch_order, "kv.batch_order", "key_value", V("batch", "set", "get"), V()) {
  Json items = Json::array();
  for (int i = 0; i < 10; ++i)
    items.push_back(item("set", {{"key", key(x)}, {"value", bin(std::to_string(i))}}));
  expect_ok(x.caller->call("batch", {{"items", items}}), "batch");
  expect_value(x, key(x), bin("9"), "the last on a key wins");
}

CASE(batch_abort_on_cas, "kv.batch_abort_on_cas", "key_value", V("batch", "set", "get"),
     V("version")) {
  expect_ok(set(x, key(x, "b"), "1"), "set");
  const Json items = Json::array(
      {item("set", {{"key", key(x, "a")}, {"value", bin("1")}}),
       item("set", {{"key", key(x, "b")}, {"value", bin("2")}, {"if_version", bin("")}}),
       item("set", {{"key", key(x, "c")}, {"value", bin("3")}})});
  const Reply r = x.caller->call("batch", {{"atomic", true}, {"items", items}});
  expect_eq(r.body.at(1)[0], static_cast<int>(Code::conflict), "the item that failed");
  expect_eq(r.body.at(2)[0], static_cast<int>(Code::transaction_aborted), "the rest");
  expect_value(x, key(x, "a"), nullptr, "nothing was applied");
  expect_value(x, key(x, "b"), bin("1"), "nothing was applied");
}

CASE(batch_delete_missing, "kv.batch_delete_missing", "key_value", V("batch", "delete"), V()) {
  const Reply r = x.caller->call(
      "batch", {{"items", Json::array({item("delete", {{"key", key(x, "none")}})})}});
  expect_ok(r, "batch");
  expect_eq(r.body[0][2].at("deleted"), 0, "no error");
}

CASE(batch_max_size, "kv.batch_max_size", "key_value", V("batch", "set"), V()) {
  Json items = Json::array();
  for (int i = 0; i < 1000; ++i)
    items.push_back(item("set", {{"key", key(x, std::to_string(i))}, {"value", bin("v")}}));
  const Reply r = x.caller->call("batch", {{"items", items}});
  expect_ok(r, "a batch of 1000");
  expect_eq(r.body.size(), 1000, "answers");
}

CASE(batch_isolated, "kv.batch_isolated", "key_value", V("batch", "set", "get_many"), V()) {
  const Json names = {key(x, "a"), key(x, "b")};
  expect_ok(set(x, names[0], "0"), "set");
  expect_ok(set(x, names[1], "0"), "set");
  std::atomic<bool> stop{false}, torn{false};
  std::thread reader([&] {
    auto caller = x.target.caller();
    while (!stop) {
      const Reply r = caller->call("get_many", {{"keys", names}});
      if (r.ok() && r.body.at("values")[0] != r.body.at("values")[1]) torn = true;
    }
  });
  for (int i = 1; i <= 100; ++i) {
    const Json v = bin(std::to_string(i));
    x.caller->call("batch",
                   {{"items", Json::array({item("set", {{"key", names[0]}, {"value", v}}),
                                           item("set", {{"key", names[1]}, {"value", v}})})}});
  }
  stop = true;
  reader.join();
  expect(!torn, "a reader saw half a batch");
}

CASE(read_after_write, "kv.read_after_write", "key_value", V("set", "get"), V()) {
  for (int i = 0; i < 100; ++i) {
    expect_ok(set(x, key(x), std::to_string(i)), "set");
    expect_value(x, key(x), bin(std::to_string(i)), "a caller reads its own write");
  }
}

}  // namespace
}  // namespace headgate::conformance
