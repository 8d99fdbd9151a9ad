// Key-value cases: hashes, lists, sets, sorted sets, waiting pops, locks.
#include <chrono>
#include <cmath>
#include <mutex>
#include <set>
#include <thread>

#include "tests/conformance/case.hpp"

namespace headgate::conformance {
namespace {

Json name(Context& x, std::string_view suffix = "") {
  return bin(x.unique + ":" + std::string(suffix));
}
Json ask(Context& x, const char* verb, Json body) {
  const Reply r = x.caller->call(verb, body);
  expect_ok(r, verb);
  return r.body;
}
Json list(std::initializer_list<const char*> values) {
  Json out = Json::array();
  for (const char* v : values) out.push_back(bin(v));
  return out;
}
Json pair(const char* a, const char* b) { return Json::array({bin(a), bin(b)}); }
Json scored(const char* member, double score) { return Json::array({bin(member), score}); }

CASE(hash_crud, "kv.hash_crud", "key_value",
     V("hset", "hget", "hmget", "hgetall", "hdel", "hexists", "hlen"), V("structures")) {
  const Json k = name(x);
  expect_eq(ask(x, "hget", {{"key", k}, {"field", bin("a")}}).at("value"), nullptr, "no such hash");
  expect_eq(ask(x, "hset", {{"key", k}, {"fields", Json::array({pair("a", "1"), pair("b", "2")})}})
                .at("added"),
            2, "added");
  expect_eq(ask(x, "hset", {{"key", k}, {"fields", Json::array({pair("a", "3"), pair("c", "")})}})
                .at("added"),
            1, "one is new");
  expect_eq(ask(x, "hget", {{"key", k}, {"field", bin("a")}}).at("value"), bin("3"), "hget");
  expect_eq(ask(x, "hmget", {{"key", k}, {"fields", list({"b", "none", "c"})}}).at("values"),
            Json::array({bin("2"), nullptr, bin("")}), "hmget keeps the order");
  Json all = ask(x, "hgetall", {{"key", k}}).at("fields");
  std::set<std::string> seen;
  for (const Json& f : all) seen.insert(show(f));
  expect_eq(seen.size(), 3, "hgetall");
  expect_eq(ask(x, "hexists", {{"key", k}, {"field", bin("b")}}).at("exists"), true, "hexists");
  expect_eq(ask(x, "hlen", {{"key", k}}).at("length"), 3, "hlen");
  expect_eq(ask(x, "hdel", {{"key", k}, {"fields", list({"a", "none"})}}).at("deleted"), 1, "hdel");
  ask(x, "hdel", {{"key", k}, {"fields", list({"b", "c"})}});
  expect_eq(ask(x, "exists", {{"keys", Json::array({k})}}).at("count"), 0,
            "an empty hash is no key");
}

CASE(hash_incr, "kv.hash_incr", "key_value", V("hincrby", "hset"), V("structures")) {
  const Json k = name(x);
  expect_eq(ask(x, "hincrby", {{"key", k}, {"field", bin("n")}, {"by", 5}}).at("value"), 5,
            "from nothing");
  expect_eq(ask(x, "hincrby", {{"key", k}, {"field", bin("n")}, {"by", -7}}).at("value"), -2,
            "down");
  ask(x, "hset", {{"key", k}, {"fields", Json::array({pair("s", "abc")})}});
  expect_code(x.caller->call("hincrby", {{"key", k}, {"field", bin("s")}}), Code::invalid,
              "not a number");
}

CASE(hash_scan, "kv.hash_scan", "key_value", V("hscan", "hset"), V("structures")) {
  const Json k = name(x);
  Json fields = Json::array();
  for (int i = 0; i < 50; ++i)
    fields.push_back(Json::array({bin("f" + std::to_string(i)), bin("v")}));
  ask(x, "hset", {{"key", k}, {"fields", fields}});
  std::set<std::string> seen;
  Json body = {{"key", k}, {"count", 7}};
  for (int page = 0; page < 100; ++page) {
    const Json r = ask(x, "hscan", body);
    for (const Json& f : r.at("fields")) seen.insert(show(f));
    if (r.at("cursor").is_null()) break;
    body["cursor"] = r.at("cursor");
  }
  expect_eq(seen.size(), 50, "every field once");
}

CASE(list_push_pop_range, "kv.list_push_pop_range", "key_value",
     V("rpush", "lpush", "lpop", "rpop", "lrange", "llen", "lindex", "lset", "lrem", "ltrim",
       "lmove"),
     V("structures")) {
  const Json k = name(x), other = name(x, "other");
  expect_eq(ask(x, "rpush", {{"key", k}, {"values", list({"b", "c"})}}).at("length"), 2, "rpush");
  expect_eq(ask(x, "lpush", {{"key", k}, {"values", list({"a", "z"})}}).at("length"), 4,
            "lpush: z a b c");
  expect_eq(ask(x, "lrange", {{"key", k}, {"start", 0}, {"stop", -1}}).at("values"),
            list({"z", "a", "b", "c"}), "lrange");
  expect_eq(ask(x, "lrange", {{"key", k}, {"start", -2}, {"stop", 100}}).at("values"),
            list({"b", "c"}), "from the end");
  expect_eq(ask(x, "lrange", {{"key", k}, {"start", 3}, {"stop", 1}}).at("values"), Json::array(),
            "an empty range");
  expect_eq(ask(x, "lindex", {{"key", k}, {"index", -1}}).at("value"), bin("c"), "lindex");
  expect_eq(ask(x, "lindex", {{"key", k}, {"index", 9}}).at("value"), nullptr, "lindex outside");
  ask(x, "lset", {{"key", k}, {"index", 1}, {"value", bin("A")}});
  expect_eq(ask(x, "lpop", {{"key", k}}).at("value"), bin("z"), "lpop");
  expect_eq(ask(x, "rpop", {{"key", k}}).at("value"), bin("c"), "rpop");
  ask(x, "rpush", {{"key", k}, {"values", list({"A", "q", "A"})}});  // A b A q A
  expect_eq(ask(x, "lrem", {{"key", k}, {"count", -2}, {"value", bin("A")}}).at("removed"), 2,
            "lrem from the end");
  expect_eq(ask(x, "lrange", {{"key", k}, {"start", 0}, {"stop", -1}}).at("values"),
            list({"A", "b", "q"}), "after lrem");
  ask(x, "ltrim", {{"key", k}, {"start", 1}, {"stop", -1}});
  expect_eq(ask(x, "llen", {{"key", k}}).at("length"), 2, "after ltrim");
  expect_eq(
      ask(x, "lmove", {{"source", k}, {"destination", other}, {"from", "left"}, {"to", "right"}})
          .at("value"),
      bin("b"), "lmove");
  expect_eq(ask(x, "lpop", {{"key", k}, {"count", 5}}).at("values"), list({"q"}),
            "lpop with count");
  expect_eq(ask(x, "lpop", {{"key", k}}).at("value"), nullptr, "empty");
  expect_eq(ask(x, "llen", {{"key", other}}).at("length"), 1, "moved");
  expect_code(x.caller->call("lset", {{"key", other}, {"index", 5}, {"value", bin("v")}}),
              Code::invalid, "lset outside");
}

CASE(list_blocking_pop_timeout, "kv.list_blocking_pop_timeout", "key_value", V("blpop", "rpush"),
     V("structures")) {
  const Json k = name(x);
  auto begun = std::chrono::steady_clock::now();
  const Json r = ask(x, "blpop", {{"keys", Json::array({k})}, {"wait_ms", 150}});
  const auto took = std::chrono::steady_clock::now() - begun;
  expect_eq(r.at("value"), nullptr, "nothing came");
  expect(took >= std::chrono::milliseconds(140), "it must have waited");
  auto waiter = x.caller->start(
      "blpop", {{"keys", Json::array({name(x, "none"), k})}, {"wait_ms", 5000}}, {});
  std::thread pusher([&] {
    auto caller = x.target.caller();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    caller->call("rpush", {{"key", k}, {"values", list({"job"})}});
  });
  const Reply got = waiter->wait();
  pusher.join();
  expect_ok(got, "blpop");
  expect_eq(got.body, Json({{"key", k}, {"value", bin("job")}}), "the element and its list");
}

CASE(list_blocking_each_once, "kv.list_blocking_each_once", "key_value", V("blpop", "rpush"),
     V("structures")) {
  // Eight waiters, forty elements: each is popped once.
  const Json k = name(x);
  std::mutex m;
  std::multiset<std::string> popped;
  std::vector<std::thread> waiters;
  for (int i = 0; i < 8; ++i)
    waiters.emplace_back([&] {
      auto caller = x.target.caller();
      for (;;) {
        const Reply r = caller->call("blpop", {{"keys", Json::array({k})}, {"wait_ms", 700}});
        if (!r.ok() || r.body.at("value").is_null()) return;
        std::lock_guard lock(m);
        popped.insert(show(r.body.at("value")));
      }
    });
  for (int i = 0; i < 40; ++i)
    ask(x, "rpush", {{"key", k}, {"values", Json::array({bin(std::to_string(i))})}});
  for (auto& t : waiters) t.join();
  expect_eq(popped.size(), 40, "popped");
  expect_eq(std::set<std::string>(popped.begin(), popped.end()).size(), 40, "none twice");
}

CASE(set_ops, "kv.set_ops", "key_value",
     V("sadd", "srem", "smembers", "sismember", "scard", "spop", "sinter", "sunion", "sdiff"),
     V("structures")) {
  const Json a = name(x, "a"), b = name(x, "b");
  expect_eq(ask(x, "sadd", {{"key", a}, {"members", list({"1", "2", "3", "2"})}}).at("added"), 3,
            "added");
  expect_eq(ask(x, "sadd", {{"key", b}, {"members", list({"2", "3", "4"})}}).at("added"), 3,
            "added");
  auto sorted = [](Json m) {
    std::set<std::string> s;
    for (const Json& v : m) s.insert(show(v));
    return Json(s);
  };
  expect_eq(sorted(ask(x, "sinter", {{"keys", Json::array({a, b})}}).at("members")),
            sorted(list({"2", "3"})), "sinter");
  expect_eq(sorted(ask(x, "sunion", {{"keys", Json::array({a, b})}}).at("members")),
            sorted(list({"1", "2", "3", "4"})), "sunion");
  expect_eq(sorted(ask(x, "sdiff", {{"keys", Json::array({a, b})}}).at("members")),
            sorted(list({"1"})), "sdiff");
  expect_eq(ask(x, "sismember", {{"key", a}, {"member", bin("1")}}).at("exists"), true,
            "sismember");
  expect_eq(ask(x, "srem", {{"key", a}, {"members", list({"1", "9"})}}).at("removed"), 1, "srem");
  expect_eq(ask(x, "scard", {{"key", a}}).at("length"), 2, "scard");
  expect_eq(ask(x, "spop", {{"key", a}, {"count", 5}}).at("members").size(), 2,
            "spop gives what there is");
  expect_eq(ask(x, "smembers", {{"key", a}}).at("members"), Json::array(), "empty");
}

CASE(zset_score_rank_range, "kv.zset_score_rank_range", "key_value",
     V("zadd", "zscore", "zrank", "zcard", "zcount", "zrange", "zrangebyscore", "zincrby", "zrem",
       "zpopmin", "zpopmax"),
     V("structures")) {
  const Json k = name(x);
  auto member = [](double s, const char* m) { return Json::array({s, bin(m)}); };
  expect_eq(ask(x, "zadd",
                {{"key", k},
                 {"members", Json::array({member(2, "b"), member(1, "a"), member(2, "aa"),
                                          member(10.5, "d")})}})
                .at("added"),
            4, "added");
  expect_eq(ask(x, "zadd", {{"key", k}, {"members", Json::array({member(3, "a")})}, {"nx", true}})
                .at("added"),
            0, "nx");
  expect_eq(ask(x, "zscore", {{"key", k}, {"member", bin("a")}}).at("score"), 1.0, "nx left it");
  expect_eq(ask(x, "zscore", {{"key", k}, {"member", bin("none")}}).at("score"), nullptr,
            "no member");
  expect_eq(ask(x, "zrank", {{"key", k}, {"member", bin("b")}}).at("rank"), 2,
            "equal scores order by bytes: a aa b d");
  expect_eq(ask(x, "zrank", {{"key", k}, {"member", bin("d")}, {"reverse", true}}).at("rank"), 0,
            "reverse rank");
  expect_eq(ask(x, "zrange", {{"key", k}, {"start", 0}, {"stop", -2}}).at("members"),
            Json::array({scored("a", 1), scored("aa", 2), scored("b", 2)}), "zrange");
  expect_eq(
      ask(x, "zrangebyscore", {{"key", k}, {"min", 2}, {"max", 11}, {"offset", 1}, {"count", 2}})
          .at("members"),
      Json::array({scored("b", 2), scored("d", 10.5)}), "zrangebyscore");
  expect_eq(ask(x, "zcount", {{"key", k}, {"min", 2}}).at("count"), 3, "zcount");
  expect_eq(ask(x, "zincrby", {{"key", k}, {"member", bin("a")}, {"by", 100}}).at("score"), 101.0,
            "zincrby");
  expect_eq(ask(x, "zpopmax", {{"key", k}}).at("members"), Json::array({scored("a", 101)}),
            "zpopmax");
  expect_eq(ask(x, "zpopmin", {{"key", k}, {"count", 2}}).at("members"),
            Json::array({scored("aa", 2), scored("b", 2)}), "zpopmin");
  expect_eq(ask(x, "zrem", {{"key", k}, {"members", list({"d", "none"})}}).at("removed"), 1,
            "zrem");
  expect_eq(ask(x, "zcard", {{"key", k}}).at("length"), 0, "empty");
  expect_code(
      x.caller->call("zadd", {{"key", k}, {"members", Json::array({member(std::nan(""), "n")})}}),
      Code::invalid, "NaN");
}

CASE(wrong_type, "kv.wrong_type", "key_value",
     V("set", "rpush", "hget", "lpush", "sadd", "zadd", "get", "increment"), V("structures")) {
  const Json s = name(x, "s"), l = name(x, "l");
  ask(x, "set", {{"key", s}, {"value", bin("v")}});
  ask(x, "rpush", {{"key", l}, {"values", list({"v"})}});
  expect_code(x.caller->call("hget", {{"key", s}, {"field", bin("f")}}), Code::invalid,
              "hget of a string");
  expect_code(x.caller->call("lpush", {{"key", s}, {"values", list({"v"})}}), Code::invalid,
              "lpush to a string");
  expect_code(x.caller->call("sadd", {{"key", l}, {"members", list({"v"})}}), Code::invalid,
              "sadd to a list");
  expect_code(x.caller->call("get", {{"key", l}}), Code::invalid, "get of a list");
  expect_code(x.caller->call("increment", {{"key", l}}), Code::invalid, "increment of a list");
  expect_eq(ask(x, "llen", {{"key", l}}).at("length"), 1, "the list is whole");
}

Json lock(Context& x, const char* owner, int ttl_ms, int wait_ms = 0) {
  Json body = {{"name", name(x, "lock")}, {"owner", bin(owner)}, {"ttl_ms", ttl_ms}};
  if (wait_ms > 0) body["wait_ms"] = wait_ms;
  return ask(x, "lock", body);
}

CASE(lock_acquire, "kv.lock_acquire", "key_value", V("lock", "unlock"), V("lock")) {
  const Json first = lock(x, "me", 10'000);
  expect_eq(first.at("locked"), true, "free");
  expect_eq(lock(x, "me", 10'000).at("locked"), true, "the owner extends it");
  expect_eq(ask(x, "unlock", {{"name", name(x, "lock")}, {"owner", bin("me")}}).at("unlocked"),
            true, "unlock");
  const Json second = lock(x, "you", 10'000);
  expect(second.at("fence").get<std::int64_t>() > first.at("fence").get<std::int64_t>(),
         "the fence grows");
}

CASE(lock_contend, "kv.lock_contend", "key_value", V("lock", "unlock"), V("lock")) {
  lock(x, "me", 10'000);
  expect_eq(lock(x, "you", 10'000).at("locked"), false, "held");
  std::thread releaser([&] {
    auto caller = x.target.caller();
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    caller->call("unlock", {{"name", name(x, "lock")}, {"owner", bin("me")}});
  });
  const Json got = lock(x, "you", 10'000, 3000);
  releaser.join();
  expect_eq(got.at("locked"), true, "it waited for the lock");
}

CASE(lock_wrong_owner, "kv.lock_wrong_owner", "key_value", V("lock", "unlock"), V("lock")) {
  lock(x, "me", 10'000);
  expect_eq(ask(x, "unlock", {{"name", name(x, "lock")}, {"owner", bin("you")}}).at("unlocked"),
            false, "not the owner");
  expect_eq(lock(x, "you", 10'000).at("locked"), false, "still held");
}

CASE(lock_expires, "kv.lock_expires", "key_value", V("lock", "unlock"), V("lock")) {
  lock(x, "me", 60);
  expect_eq(lock(x, "you", 10'000, 3000).at("locked"), true, "a lock ends with its time");
  expect_eq(ask(x, "unlock", {{"name", name(x, "lock")}, {"owner", bin("me")}}).at("unlocked"),
            false, "the old owner has lost it");
}

}  // namespace
}  // namespace headgate::conformance
