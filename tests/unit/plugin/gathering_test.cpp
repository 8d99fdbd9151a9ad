// When a worker waits for a larger batch, and when it must not.
#include "daemon/plugin/gathering.hpp"

#include <gtest/gtest.h>

namespace headgate::plugin {
namespace {

using namespace std::chrono_literals;

TEST(Gathering, WaitsForThoseWhoWereJustAnswered) {
  Gathering g;
  EXPECT_EQ(g.wanted(1, 0ms), 0u) << "nobody was served yet";
  g.served(32, 31, 10ms, 1500us, 300us);
  EXPECT_EQ(g.wanted(31, 10ms), 63u) << "the 32 come back";
  EXPECT_EQ(g.at_most(), 1200us) << "never longer than another batch would cost";
  EXPECT_EQ(g.silence(), 300us);
  g.gathered(31, 63);
  EXPECT_EQ(g.wanted(63, 11ms), 0u) << "all are there";
}

TEST(Gathering, ASingleCallerIsNeverMadeToWait) {
  Gathering g;
  for (int i = 1; i < 5; ++i) {
    g.served(1, 0, i * 10ms, 9ms, 0ms);
    EXPECT_EQ(g.wanted(1, i * 10ms), 0u);
  }
}

TEST(Gathering, NothingIsWaitedForWhereNothingIsShared) {
  Gathering g;
  g.served(64, 0, 10ms, 900us, 700us);
  EXPECT_EQ(g.wanted(1, 10ms), 0u)
      << "the processor was the price: a larger batch costs more of it";
  g.served(64, 0, 20ms, 900us, 950us);
  EXPECT_EQ(g.wanted(1, 20ms), 0u) << "clocks of two kinds need not agree";
}

TEST(Gathering, ThoseWhoWereAnsweredLongAgoAreNotExpected) {
  Gathering g;
  g.served(64, 0, 10ms, 1ms, 0ms);
  EXPECT_EQ(g.wanted(1, 10ms + 999us), 64u);
  EXPECT_EQ(g.wanted(1, 11ms), 0u);
}

TEST(Gathering, ASlowStoreIsNotTheMeasureOfAWait) {
  Gathering g;
  g.served(8, 0, 10s, 4s, 0ms);
  EXPECT_EQ(g.at_most(), 5ms);
}

TEST(Gathering, WaitsInVainBecomeRareAndOneThatPaysEndsThat) {
  Gathering g;
  auto waits_in = [&](int batches) {
    int waits = 0;
    for (int i = 0; i < batches; ++i) {
      g.served(10, 0, 10ms, 1ms, 0ms);
      if (g.wanted(1, 10ms) == 0) continue;
      ++waits;
      g.gathered(1, 2);
    }
    return waits;
  };
  EXPECT_EQ(waits_in(1000), 5 + (1000 - (2 + 4 + 8 + 16 + 32 + 5)) / 65 + 1);
  int batches = 0;
  do {
    g.served(10, 0, 10ms, 1ms, 0ms);
    ASSERT_LT(++batches, 66) << "it tries again now and then";
  } while (g.wanted(1, 10ms) == 0);
  g.gathered(1, 10);
  g.served(10, 0, 10ms, 1ms, 0ms);
  EXPECT_EQ(g.wanted(1, 10ms), 10u);
}

}  // namespace
}  // namespace headgate::plugin
