// The loop's promises: timers in order and movable, posts never lost, deferred work at the end of
// the turn, descriptors that come and go.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "daemon/loop/uv_loop.hpp"

namespace headgate {
namespace {

using std::chrono::milliseconds;

struct Fn : Task {
  std::function<void()> f;
  explicit Fn(std::function<void()> g = {}) : f(std::move(g)) {}
  void run() override { f(); }
};
struct At : Timer {
  std::function<void()> f;
  explicit At(std::function<void()> g = {}) : f(std::move(g)) {}
  void fire() override { f(); }
};
struct On : Watcher {
  std::function<void(std::uint32_t)> f;
  void ready(std::uint32_t e) override { f(e); }
};

TEST(TimerHeap, GivesTimersInOrderWhateverIsMovedOrTakenOut) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<At> timers(64);
    TimerHeap heap;
    std::multiset<std::int64_t> expected;
    const auto forget = [&](At& t) {
      if (t.armed()) expected.erase(expected.find(t.at().us));
    };
    for (int step = 0; step < 500; ++step) {
      At& t = timers[random() % timers.size()];
      forget(t);
      if (random() % 3 == 0) {
        heap.disarm(t);
        EXPECT_FALSE(t.armed());
      } else {
        const auto at = static_cast<std::int64_t>(random() % 1000);
        heap.arm(t, {at});
        expected.insert(at);
      }
      ASSERT_EQ(heap.size(), expected.size());
      if (!expected.empty()) {
        ASSERT_EQ(heap.first().us, *expected.begin());
      }
      if (random() % 10 == 0) {
        const auto now = static_cast<std::int64_t>(random() % 1000);
        Timer* due = heap.pop_due({now});
        ASSERT_EQ(due != nullptr, !expected.empty() && *expected.begin() <= now);
        if (due != nullptr) expected.erase(expected.begin());
      }
    }
    for (At& t : timers) heap.disarm(t);
  }
}

TEST(UvLoop, TimersFireInOrderAndNotEarly) {
  UvLoop loop;
  std::vector<int> fired;
  const TimePoint start = loop.now();
  std::vector<TimePoint> when(3);
  At third([&] {
    fired.push_back(3);
    when[2] = loop.now();
    loop.stop();
  });
  At first([&] {
    fired.push_back(1);
    when[0] = loop.now();
  });
  At second([&] {
    fired.push_back(2);
    when[1] = loop.now();
  });
  At never([&] { fired.push_back(9); });
  loop.arm(third, start + milliseconds(30));
  loop.arm(first, start + milliseconds(500));
  loop.arm(second, start + milliseconds(20));
  loop.arm(never, start + milliseconds(5));
  loop.arm(first, start + milliseconds(10));  // moved
  loop.disarm(never);
  loop.run();
  EXPECT_EQ(fired, (std::vector<int>{1, 2, 3}));
  for (int i = 0; i < 3; ++i) EXPECT_GE(when[i], start + milliseconds(10 * (i + 1)));
}

TEST(UvLoop, PostsFromManyThreadsAllRun) {
  UvLoop loop;
  constexpr int kThreads = 4;
  constexpr int kPosts = 20'000;
  std::atomic<int> ran{0};
  struct Counted : Task {
    std::atomic<int>* ran;
    UvLoop* loop;
    void run() override {
      if (ran->fetch_add(1) + 1 == kThreads * kPosts) loop->stop();
    }
  };
  std::vector<std::vector<Counted>> tasks(kThreads);
  std::vector<std::thread> threads;
  for (auto& mine : tasks) {
    mine = std::vector<Counted>(kPosts);
    for (auto& t : mine) {
      t.ran = &ran;
      t.loop = &loop;
    }
  }
  for (auto& mine : tasks) {
    threads.emplace_back([&mine, &loop] {
      for (auto& t : mine) {
        loop.post(t);
        if ((&t - mine.data()) % 97 == 0) std::this_thread::yield();
      }
    });
  }
  loop.run();
  for (auto& t : threads) t.join();
  EXPECT_EQ(ran, kThreads * kPosts);
}

TEST(UvLoop, PostedTwiceWhileItWaitsRunsOnce) {
  UvLoop loop;
  int ran = 0;
  Fn once([&] { ++ran; });
  Fn last([&] { loop.stop(); });
  loop.post(once);
  loop.post(once);
  loop.defer(once);
  loop.post(last);
  loop.run();
  EXPECT_EQ(ran, 1);
}

TEST(UvLoop, DeferredWorkRunsAfterIntakeInTheSameTurn) {
  UvLoop loop;
  std::vector<std::string> order;
  Fn deferred([&] {
    order.push_back("deferred");
    loop.stop();
  });
  struct In : Intake {
    std::function<void()> f;
    void take_in() override { f(); }
    bool restless() const override { return false; }
  } intake;
  bool once = false;
  intake.f = [&] {
    if (order.empty() || once) return;
    once = true;
    order.push_back("intake");
    loop.defer(deferred);
  };
  loop.set_intake(&intake);
  Fn posted([&] { order.push_back("posted"); });
  loop.post(posted);
  loop.run();
  EXPECT_EQ(order, (std::vector<std::string>{"posted", "intake", "deferred"}));
}

TEST(UvLoop, ATaskThatDefersItselfForEverDoesNotStopTheTurn) {
  UvLoop loop;
  int rounds = 0;
  Fn again;
  again.f = [&] {
    ++rounds;
    loop.defer(again);
  };
  loop.defer(again);
  At end([&] { loop.stop(); });
  loop.arm(end, loop.now() + milliseconds(5));
  loop.run();
  EXPECT_GT(rounds, 16);
}

TEST(UvLoop, WatchesDescriptorsThatComeAndGo) {
  UvLoop loop;
  for (int round = 0; round < 50; ++round) {
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    On w;
    int seen = 0;
    w.f = [&](std::uint32_t e) {
      if ((e & Loop::kWritable) != 0) {
        ++seen;
        loop.watch(w, pair[0], Loop::kReadable);  // no more of that
        ASSERT_EQ(::write(pair[1], "x", 1), 1);
      } else if ((e & Loop::kReadable) != 0) {
        char c;
        if (::read(pair[0], &c, 1) == 1) {
          ++seen;
          ::close(pair[1]);
        } else {  // the other end is closed
          ++seen;
          loop.watch(w, pair[0], 0);
          ::close(pair[0]);
          loop.stop();
        }
      }
    };
    loop.watch(w, pair[0], Loop::kReadable | Loop::kWritable);
    loop.run();
    EXPECT_EQ(seen, 3);
    EXPECT_EQ(w.handle_, nullptr);
  }
}

TEST(UvLoop, SleepsWhenThereIsNothingToDo) {
  UvLoop loop;
  At end([&] { loop.stop(); });
  loop.arm(end, loop.now() + milliseconds(100));
  loop.run();
  EXPECT_LT(loop.turns(), 10u);
}

}  // namespace
}  // namespace headgate
