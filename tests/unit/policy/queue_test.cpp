// Fairness between services, and what is refused before it waits.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>

#include "daemon/policy/admission.hpp"
#include "daemon/policy/fairness.hpp"

namespace headgate::policy {
namespace {

struct Item : FairHook<Item> {
  std::uint32_t service = 0;
  std::int64_t since = 0;
};

struct FairQueueTest : testing::Test {
  std::vector<std::unique_ptr<Item>> items;
  FairQueue<Item> queue;

  Item& push(std::uint32_t service, std::int64_t since, std::uint32_t weight = 1) {
    items.push_back(std::make_unique<Item>());
    items.back()->service = service;
    items.back()->since = since;
    queue.push(*items.back(), service, weight, since);
    return *items.back();
  }
  std::map<std::uint32_t, int> take(int n) {
    std::map<std::uint32_t, int> taken;
    while (n-- > 0) ++taken[queue.pop()->service];
    return taken;
  }
};

TEST_F(FairQueueTest, OldestFirstWithinAService) {
  for (int i : {3, 1, 2, 5, 4, 1}) push(0, i);
  std::int64_t before = 0;
  while (Item* i = queue.pop()) {
    EXPECT_GE(i->since, before);
    before = i->since;
  }
  EXPECT_EQ(queue.weights(), 0u);
}

TEST_F(FairQueueTest, AFloodDoesNotKeepOthersWaiting) {
  for (int i = 0; i < 1000; ++i) push(0, i);
  ASSERT_EQ(take(500)[0], 500);
  push(1, 5000);
  auto next = take(2);
  EXPECT_EQ(next[1], 1) << "the newcomer's turn is among the next two";
}

TEST_F(FairQueueTest, WeightsDivideTheTurns) {
  for (int i = 0; i < 400; ++i) {
    push(0, i, 1);
    push(1, i, 3);
  }
  auto taken = take(200);
  EXPECT_NEAR(taken[0], 50, 1);
  EXPECT_NEAR(taken[1], 150, 1);
}

TEST_F(FairQueueTest, IdleTimeIsNotSavedUp) {
  for (int i = 0; i < 100; ++i) push(0, i);
  (void)take(100);
  for (int i = 0; i < 100; ++i) push(0, i), push(1, i);
  auto taken = take(100);
  EXPECT_NEAR(taken[0], 50, 1);
  EXPECT_NEAR(taken[1], 50, 1) << "service 1 was idle so far: that buys nothing";
}

TEST_F(FairQueueTest, RemovedOnesLeaveNoTrace) {
  Item& a = push(0, 1);
  Item& b = push(1, 2);
  Item& c = push(1, 3);
  EXPECT_EQ(queue.oldest(), &a);
  queue.remove(a);
  EXPECT_EQ(queue.front(), &b);
  queue.remove(c);
  EXPECT_EQ(queue.size(), 1u);
  EXPECT_EQ(queue.size(1), 1u);
  EXPECT_EQ(queue.weights(), 1u);
  queue.remove(b);
  EXPECT_EQ(queue.pop(), nullptr);
  EXPECT_EQ(queue.oldest(), nullptr);
  queue.push(a, 0, 1, 1);
  EXPECT_EQ(queue.pop(), &a);
}

TEST_F(FairQueueTest, NobodyWaitsLongerThanTheTurnsOfTheOthers) {
  std::mt19937_64 random(11);
  std::map<Item*, int> waited_since;
  int pops = 0;
  for (int step = 0; step < 50'000; ++step) {
    if (queue.size() < 300 && random() % 100 < 55) {
      Item& i = push(static_cast<std::uint32_t>(random() % 8), step);
      // Only the head of a service has a turn; behind it others of its own go first.
      if (queue.size(i.service) == 1) waited_since[&i] = pops;
    } else if (Item* i = queue.pop()) {
      ++pops;
      if (auto at = waited_since.find(i); at != waited_since.end()) {
        ASSERT_LE(pops - at->second, 2 * 8 + 1);
        waited_since.erase(at);
      }
    }
  }
}

TEST(Admission, QueueAheadCountsOwnCallsWithTheirNeighbours) {
  QueueView q;
  EXPECT_EQ(queue_ahead(q), 0u);
  q.waiting = 1000, q.mine = 0, q.weights = 2;
  EXPECT_EQ(queue_ahead(q), 1u) << "another's flood costs one turn";
  q.mine = 10;
  EXPECT_EQ(queue_ahead(q), 21u);
  q.waiting = 15;
  EXPECT_EQ(queue_ahead(q), 15u) << "never more than there are";
  q.waiting = 1000, q.mine = 10, q.my_weight = 3, q.weights = 4;
  EXPECT_EQ(queue_ahead(q), 14u);
}

TEST(Admission, RefusesWhatCannotBeServedInTime) {
  const TimePoint now{9'000'000};
  QueueView q;
  q.waiting = q.mine = 100, q.places = 10, q.service_time = Micros(10'000);
  EXPECT_EQ(expected_wait(q), Micros(100'000));
  const QueueLimits limits;
  EXPECT_EQ(admit(q, limits, 100, 0, 10, now, now + Micros(100'000)).admitted, Admitted::yes);
  const Admission late = admit(q, limits, 100, 0, 10, now, now + Micros(50'000));
  EXPECT_EQ(late.admitted, Admitted::too_late);
  EXPECT_EQ(late.retry_after_ms, 50u);
  EXPECT_EQ(admit(q, limits, 100, 0, 10, now, kNever).admitted, Admitted::yes);
  q.places = 0;
  EXPECT_EQ(admit(q, limits, 100, 0, 10, now, now + Micros(1)).admitted, Admitted::yes)
      << "nothing to reckon with yet";
}

TEST(Admission, QueueIsBoundedInCallsAndBytes) {
  const TimePoint now{9'000'000};
  const QueueLimits limits{4, 1000};
  const QueueView q;
  const auto ask = [&](std::uint64_t calls, std::uint64_t bytes, std::uint64_t size) {
    return admit(q, limits, calls, bytes, size, now, kNever).admitted;
  };
  EXPECT_EQ(ask(3, 0, 1000), Admitted::yes);
  EXPECT_EQ(ask(4, 0, 1), Admitted::queue_full);
  EXPECT_EQ(ask(1, 500, 500), Admitted::yes);
  EXPECT_EQ(ask(1, 500, 501), Admitted::queue_full);
  EXPECT_EQ(ask(0, 0, ~0ull), Admitted::queue_full);
  EXPECT_GE(admit(q, limits, 4, 0, 1, now, kNever).retry_after_ms, 10u);
}

TEST(Admission, ServiceTimeFollowsButDoesNotJump) {
  ServiceTime t;
  for (int i = 0; i < 7; ++i) t.sample(Micros(1000));
  EXPECT_FALSE(t.known());
  t.sample(Micros(1000));
  EXPECT_TRUE(t.known());
  EXPECT_EQ(t.recent(), Micros(1000));
  t.sample(Micros(9000));
  EXPECT_EQ(t.recent(), Micros(2000));
  for (int i = 0; i < 60; ++i) t.sample(Micros(5000));
  EXPECT_NEAR(static_cast<double>(t.recent().count()), 5000, 10);
  t.sample(Micros(-5));
  EXPECT_LT(t.recent(), Micros(5000));
}

}  // namespace
}  // namespace headgate::policy
