// Many callers at once, and calls that wait.
#include <condition_variable>
#include <random>
#include <set>
#include <thread>

#include "tests/unit/sqlite/kv_store_test.hpp"

namespace headgate::sqlite::test {
namespace {

using Clock = std::chrono::steady_clock;

// What the core does for HG_RETRY_WAIT, and no more: parks the call until its token is named.
class Parking {
 public:
  Parking() {
    BareHost::the().on_wake = [this](std::uint64_t token) {
      const std::lock_guard lock(mutex_);
      ++woken_[token];
      changed_.notify_all();
    };
  }
  ~Parking() { BareHost::the().on_wake = nullptr; }

  int woken(std::uint64_t token) {
    const std::lock_guard lock(mutex_);
    return woken_[token];
  }

  // Calls until the verb answers. `poll`: ask again after retry_after_ms too, as the core does;
  // without it only a wake can help, which is how the wakes are proved.
  Reply call(BareStore& store, const std::string& verb, Json body, bool poll = false) {
    const std::int64_t wait = body["wait_ms"];
    const CallOptions options = {.timeout_ms = static_cast<std::uint64_t>(wait) + 10'000,
                                 .received_us = BareHost::the().now_us(&BareHost::the())};
    std::map<std::uint64_t, int> seen;
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        seen = woken_;  // a wake between the answer and the wait must not be lost
      }
      Reply r = store.call(verb, body, options);
      if (r.retry != HG_RETRY_WAIT) return r;
      EXPECT_EQ(r.code, HG_NOT_FOUND);
      EXPECT_EQ(r.outcome, HG_REJECTED);
      EXPECT_NE(r.wait_token, 0u);
      EXPECT_GE(r.retry_after_ms, 1u);
      EXPECT_LE(r.retry_after_ms, 250u);
      std::unique_lock lock(mutex_);
      const auto pause =
          std::chrono::milliseconds(poll ? r.retry_after_ms : static_cast<std::uint32_t>(wait));
      changed_.wait_for(lock, pause, [&] { return woken_[r.wait_token] != seen[r.wait_token]; });
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, int> woken_;
};

class KvRace : public KvStore {
 protected:
  Parking parking;

  template <class F>
  static void threads(int n, F&& f) {
    std::vector<std::thread> all;
    for (int i = 0; i < n; ++i) all.emplace_back([&f, i] { f(i); });
    for (std::thread& t : all) t.join();
  }
};

TEST_F(KvRace, CompareAndSetHasOneWinnerARound) {
  set("k", "0");
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> winners{0};
    threads(32, [&](int) {
      const Reply r = store.call("compare_and_set", {{"key", "k"},
                                                     {"expected", std::to_string(round)},
                                                     {"value", std::to_string(round + 1)}});
      if (r.body["set"] == true) ++winners;
    });
    ASSERT_EQ(winners, 1);
  }
}

TEST_F(KvRace, VersionsHaveOneWinnerARound) {
  Json version = bin("");
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> winners{0}, losers{0};
    threads(32, [&](int i) {
      const Reply r =
          store.call("set", {{"key", "k"}, {"value", std::to_string(i)}, {"if_version", version}});
      (r.ok() ? winners : losers) += r.ok() || r.code == HG_CONFLICT ? 1 : 0;
    });
    ASSERT_EQ(winners, 1);
    ASSERT_EQ(losers, 31);
    version = get("k")["version"];
  }
}

TEST_F(KvRace, IncrementsAddUp) {
  threads(16, [&](int) {
    for (int i = 0; i < 100; ++i)
      ASSERT_TRUE(store.call("increment", {{"key", "n"}, {"by", 3}}).ok());
  });
  EXPECT_EQ(get("n")["value"], bin("4800"));
}

TEST_F(KvRace, ReadersSeeABatchWholeOrNotAtAll) {
  const auto write = [&](int n) {
    const std::string v = std::to_string(n);
    return store.call(
        "batch", {{"items", Json::array({Json::array({"set", {{"key", "a"}, {"value", v}}}),
                                         Json::array({"set", {{"key", "b"}, {"value", v}}})})}});
  };
  ASSERT_TRUE(write(0).ok());
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 1; i < 300; ++i) ASSERT_TRUE(write(i).ok());
    stop = true;
  });
  int reads = 0;
  while (!stop) {
    const Json v = ok("get_many", {{"keys", list({"a", "b"})}})["values"];
    ASSERT_EQ(v[0], v[1]);
    ++reads;
  }
  writer.join();
  EXPECT_GT(reads, 10);
}

TEST_F(KvRace, BlockingPopWaitsForItsPush) {
  const auto began = Clock::now();
  std::thread popper([&] {
    const Reply r =
        parking.call(store, "blpop", {{"keys", list({"first", "second"})}, {"wait_ms", 20'000}});
    EXPECT_TRUE(r.ok()) << r.message;
    EXPECT_EQ(r.body, Json({{"key", bin("second")}, {"value", bin("x")}}));
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  ok("rpush", {{"key", "other"}, {"values", list({"y"})}});
  ok("rpush", {{"key", "second"}, {"values", list({"x"})}});
  popper.join();
  EXPECT_LT(Clock::now() - began, std::chrono::seconds(10)) << "it was not woken";
}

TEST_F(KvRace, BlockingVerbsAreWokenByEveryKindOfPush) {
  const std::vector<std::pair<std::string, Json>> pushes = {
      {"lpush", {{"key", "q"}, {"values", list({"x"})}}},
      {"lmove", {{"source", "src"}, {"destination", "q"}, {"from", "left"}, {"to", "left"}}},
      {"blmove",
       {{"source", "src"}, {"destination", "q"}, {"from", "left"}, {"to", "left"}, {"wait_ms", 0}}},
      {"batch",
       {{"items",
         Json::array({Json::array({"rpush", {{"key", "q"}, {"values", list({"x"})}}})})}}}};
  for (const auto& [verb, body] : pushes) {
    ok("rpush", {{"key", "src"}, {"values", list({"x"})}});
    const auto began = Clock::now();
    std::thread waiter([&] {
      const Reply r = parking.call(store, "blmove",
                                   {{"source", "q"},
                                    {"destination", "done"},
                                    {"from", "left"},
                                    {"to", "right"},
                                    {"wait_ms", 20'000}});
      EXPECT_EQ(r.body["value"], bin("x"));
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ok(verb, body);
    waiter.join();
    EXPECT_LT(Clock::now() - began, std::chrono::seconds(10)) << verb;
  }
}

// Each asks again whenever it likes; who has waited longest is served first all the same.
TEST_F(KvRace, WaitersAreServedOldestFirst) {
  const std::uint64_t now = BareHost::the().now_us(&BareHost::the());
  const Json one = {{"keys", list({"q"})}, {"wait_ms", 60'000}};
  const Json two = {{"keys", list({"other", "q"})}, {"wait_ms", 60'000}};
  const Json move = {{"source", "q"},
                     {"destination", "done"},
                     {"from", "left"},
                     {"to", "right"},
                     {"wait_ms", 60'000}};
  struct Waiter {
    std::string verb, service;
    Json body;
  };
  const std::vector<Waiter> waiters = {
      {"blpop", "a", one}, {"brpop", "b", two}, {"blmove", "a", move}, {"blpop", "b", one}};
  const auto ask = [&](std::size_t i) {
    const Waiter& w = waiters[i];
    return store.call(w.verb, w.body,
                      {.timeout_ms = 90'000, .received_us = now + i, .service = w.service});
  };
  for (std::size_t i = 0; i < waiters.size(); ++i)
    ASSERT_EQ(ask(i).retry, HG_RETRY_WAIT) << "it is parked";
  for (std::size_t turn = 0; turn < waiters.size(); ++turn) {
    const std::string value = "v" + std::to_string(turn);
    ok("rpush", {{"key", "q"}, {"values", list({value})}});
    for (std::size_t i = waiters.size() - 1; i > turn; --i)
      ASSERT_EQ(ask(i).retry, HG_RETRY_WAIT) << i << " was served before " << turn;
    const Reply r = ask(turn);
    ASSERT_TRUE(r.ok()) << r.message;
    EXPECT_EQ(r.body["value"], bin(value));
  }
  // Who asked too early is woken when the one before it was served.
  ASSERT_EQ(ask(0).retry, HG_RETRY_WAIT);
  ASSERT_EQ(ask(1).retry, HG_RETRY_WAIT);
  ok("rpush", {{"key", "q"}, {"values", list({"x", "y"})}});
  const std::uint64_t token = ask(1).wait_token;
  const int before = parking.woken(token);
  EXPECT_EQ(ask(0).body["value"], bin("x"));
  EXPECT_GT(parking.woken(token), before);
  EXPECT_EQ(ask(1).body["value"], bin("y"));
  // Who does not wait takes what is there; who has given up is soon forgotten.
  ASSERT_EQ(ask(0).retry, HG_RETRY_WAIT);
  ok("rpush", {{"key", "q"}, {"values", list({"x", "y"})}});
  EXPECT_EQ(ok("blpop", {{"keys", list({"q"})}, {"wait_ms", 0}})["value"], bin("x"));
  ASSERT_EQ(ask(1).retry, HG_RETRY_WAIT);
  Reply r = ask(1);
  while (r.retry == HG_RETRY_WAIT) r = ask(1);
  EXPECT_EQ(r.body["value"], bin("y"));
}

TEST_F(KvRace, WaitsEnd) {
  const auto began = Clock::now();
  const Reply r = parking.call(store, "brpop", {{"keys", list({"none"})}, {"wait_ms", 120}}, true);
  EXPECT_EQ(r.body, Json({{"key", nullptr}, {"value", nullptr}}));
  EXPECT_GE(Clock::now() - began, std::chrono::milliseconds(115));
  EXPECT_EQ(ok("brpop", {{"keys", list({"none"})}, {"wait_ms", 0}})["key"], nullptr);
  // A wait beyond the call's own end is cut there, and is no error.
  CallOptions brief;
  brief.timeout_ms = 15;
  const Reply cut = store.call("blmove",
                               {{"source", "none"},
                                {"destination", "d"},
                                {"from", "left"},
                                {"to", "left"},
                                {"wait_ms", 60'000}},
                               brief);
  EXPECT_TRUE(cut.ok()) << cut.message;
  EXPECT_EQ(cut.body["value"], nullptr);
  fails("blpop", {{"keys", list({"k"})}, {"wait_ms", -1}}, HG_INVALID);
  fails("blpop", {{"keys", Json::array()}, {"wait_ms", 1}}, HG_INVALID);
  fails("blpop", {{"keys", list({"k"})}}, HG_INVALID);
  set("str", "x");
  fails("blpop", {{"keys", list({"none", "str"})}, {"wait_ms", 1000}}, HG_INVALID);
  EXPECT_EQ(rows("headgate_kv_keys"), 1) << "waiting writes nothing";
}

TEST_F(KvRace, QueueLosesAndDoublesNothing) {
  constexpr int kItems = 400, kProducers = 4, kConsumers = 6;
  std::mutex mutex;
  std::multiset<std::string> got;
  std::vector<std::thread> producers;
  for (int p = 0; p < kProducers; ++p)
    producers.emplace_back([&, p] {
      for (int i = 0; i < kItems / kProducers; ++i)
        store.call(i % 2 ? "lpush" : "rpush",
                   {{"key", "q" + std::to_string(i % 3)},
                    {"values", list({std::to_string(p) + "-" + std::to_string(i)})}});
    });
  threads(kConsumers, [&](int c) {
    for (;;) {
      const Reply r = parking.call(store, c % 2 ? "blpop" : "brpop",
                                   {{"keys", list({"q0", "q1", "q2"})}, {"wait_ms", 1000}}, true);
      ASSERT_TRUE(r.ok()) << r.message;
      if (r.body["key"].is_null()) return;
      const auto& v = r.body["value"].get_binary();
      const std::lock_guard lock(mutex);
      got.emplace(v.begin(), v.end());
    }
  });
  for (std::thread& t : producers) t.join();
  EXPECT_EQ(got.size(), static_cast<std::size_t>(kItems));
  EXPECT_EQ(std::set<std::string>(got.begin(), got.end()).size(), static_cast<std::size_t>(kItems));
}

TEST_F(KvRace, LockExcludesAndUnlockWakes) {
  std::atomic<int> inside{0};
  std::atomic<std::int64_t> fence{0};
  const auto began = Clock::now();
  threads(8, [&](int i) {
    const std::string owner = "o" + std::to_string(i);
    for (int round = 0; round < 5; ++round) {
      const Reply r =
          parking.call(store, "lock",
                       {{"name", "l"}, {"owner", owner}, {"ttl_ms", 60'000}, {"wait_ms", 20'000}});
      ASSERT_EQ(r.body["locked"], true) << r.message;
      ASSERT_EQ(++inside, 1);
      ASSERT_GT(r.body["fence"].get<std::int64_t>(), fence);
      fence = r.body["fence"];
      --inside;
      ASSERT_EQ(store.call("unlock", {{"name", "l"}, {"owner", owner}}).body["unlocked"], true);
    }
  });
  EXPECT_LT(Clock::now() - began, std::chrono::seconds(15)) << "unlock woke nobody";
}

}  // namespace
}  // namespace headgate::sqlite::test
