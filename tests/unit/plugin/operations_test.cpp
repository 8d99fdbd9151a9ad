// The slab of operations: numbers that name one thing once, whoever asks and whenever.
#include "daemon/plugin/operations.hpp"

#include <gtest/gtest.h>

#include <random>
#include <set>
#include <thread>

namespace headgate::plugin {
namespace {

TEST(Operations, ANumberIsNeverUsedTwice) {
  Operations ops(64);
  std::set<hg_op> seen;
  for (int i = 0; i < 10'000; ++i) {
    Slot* s = ops.begin();
    ASSERT_NE(s, nullptr);
    EXPECT_NE(s->id, 0u);
    EXPECT_TRUE(seen.insert(s->id).second);
    ops.end(*s);
  }
  EXPECT_EQ(ops.in_use(), 0u);
}

TEST(Operations, ThereIsAMaximumAndItIsReached) {
  Operations ops(300);  // more than a chunk, less than two
  std::vector<Slot*> slots;
  for (int i = 0; i < 300; ++i) slots.push_back(ops.begin());
  EXPECT_EQ(ops.begin(), nullptr);
  ops.end(*slots[137]);
  EXPECT_EQ(ops.begin(), slots[137]);
  for (Slot* s : slots) ops.end(*s);
}

TEST(Operations, OnlyWhatRunsIsFound) {
  Operations ops(8);
  Slot* s = ops.begin();
  const hg_op op = s->id;
  EXPECT_EQ(ops.running(op), nullptr) << "queued";
  EXPECT_TRUE(s->move(op, Phase::queued, Phase::running));
  EXPECT_EQ(ops.running(op), s);
  EXPECT_TRUE(s->move(op, Phase::running, Phase::done));
  EXPECT_FALSE(s->move(op, Phase::running, Phase::done)) << "twice";
  EXPECT_EQ(ops.running(op), nullptr);
  ops.end(*s);
  Slot* again = ops.begin();
  ASSERT_EQ(again, s);
  EXPECT_FALSE(again->move(op, Phase::queued, Phase::running)) << "an old number moves nothing";
  EXPECT_TRUE(again->move(again->id, Phase::queued, Phase::running));
  EXPECT_EQ(ops.running(op), nullptr);
  ops.end(*again);
}

TEST(Operations, AnyNumberMayBeAskedFor) {
  Operations ops(300);
  Slot* s = ops.begin();
  s->move(s->id, Phase::queued, Phase::running);
  std::mt19937_64 random(3);
  for (int i = 0; i < 1'000'000; ++i) {
    const hg_op op = i % 2 == 0 ? random() : random() & 0xffffff;
    ASSERT_TRUE(ops.running(op) == nullptr || op == s->id);
  }
  EXPECT_EQ(ops.running(0), nullptr);
  ops.end(*s);
}

TEST(Operations, ARetainedSlotComesBackWhenItIsLetGo) {
  Operations ops(1);
  Slot* s = ops.begin();
  s->retained = true;
  ops.end(*s);
  EXPECT_EQ(ops.begin(), nullptr);
  EXPECT_EQ(ops.in_use(), 1u);
  ops.release(*s);
  EXPECT_EQ(ops.begin(), s);
  s->retained = true;
  ops.release(*s);  // let go before it ended
  EXPECT_EQ(ops.in_use(), 1u);
  ops.end(*s);
  EXPECT_EQ(ops.in_use(), 0u);
}

TEST(Operations, TheRequestIsHeldUntilTheSlotIsFree) {
  Operations ops(1);
  static int given_back = 0;
  RequestBytes bytes;
  bytes.holders = 1;
  bytes.give_back = [](RequestBytes*) { ++given_back; };
  Slot* s = ops.begin();
  s->request = &bytes;
  s->retained = true;
  ops.end(*s);
  EXPECT_EQ(given_back, 0);
  ops.release(*s);
  EXPECT_EQ(given_back, 1);
}

// Three threads race to complete every operation, with numbers of this round and of the one before.
TEST(Operations, ExactlyOneThreadCompletes) {
  constexpr int kRounds = 50, kAtOnce = 200;
  Operations ops(kAtOnce);
  std::vector<hg_op> before;
  int won_by_all = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<Slot*> slots;
    std::vector<hg_op> now;
    for (int i = 0; i < kAtOnce; ++i) {
      slots.push_back(ops.begin());
      slots.back()->move(slots.back()->id, Phase::queued, Phase::running);
      now.push_back(slots.back()->id);
    }
    std::atomic<int> won{0}, wrong{0};
    const auto race = [&] {
      for (const hg_op op : before)
        wrong += ops.find(op)->move(op, Phase::running, Phase::done) ? 1 : 0;
      for (const hg_op op : now) won += ops.find(op)->move(op, Phase::running, Phase::done) ? 1 : 0;
    };
    std::thread a(race), b(race);
    race();
    a.join();
    b.join();
    EXPECT_EQ(won.load(), kAtOnce);
    EXPECT_EQ(wrong.load(), 0);
    won_by_all += won.load();
    for (Slot* s : slots) ops.end(*s);
    before = now;
  }
  EXPECT_EQ(won_by_all, kRounds * kAtOnce);
}

}  // namespace
}  // namespace headgate::plugin
