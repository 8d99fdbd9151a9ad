// The breaker, failure by failure.
#include "daemon/policy/breaker.hpp"

#include <gtest/gtest.h>

namespace headgate::policy {
namespace {

using S = Breaker::State;
using std::chrono::seconds;

struct BreakerTest : testing::Test {
  BreakerLimits limits;
  Breaker breaker{limits};
  TimePoint now{50'000'000};
  bool last = false;

  void report(int n, bool failed) {
    for (int i = 0; i < n; ++i) breaker.report(now, failed, last, 0);
  }
  void trip() {
    report(20, true);
    ASSERT_EQ(breaker.state(now), S::open);
  }
  void probe(bool failed) {
    ASSERT_TRUE(breaker.allow(now));
    breaker.report(now, failed, last, 0);
  }
};

TEST_F(BreakerTest, NineteenFailuresAreTooFewToJudge) {
  report(19, true);
  EXPECT_EQ(breaker.state(now), S::closed);
  report(1, true);
  EXPECT_EQ(breaker.state(now), S::open);
}

TEST_F(BreakerTest, HalfOfTheCallsOpenIt) {
  report(50, false);
  report(49, true);
  EXPECT_EQ(breaker.state(now), S::closed);
  report(1, true);
  EXPECT_EQ(breaker.state(now), S::open);
}

TEST_F(BreakerTest, OldFailuresAreForgotten) {
  report(19, true);
  now = now + seconds(11);
  report(19, true);
  EXPECT_EQ(breaker.state(now), S::closed);
}

TEST_F(BreakerTest, FailuresSpreadOverTheWindowAddUp) {
  for (int i = 0; i < 20; ++i) {
    report(1, true);
    now = now + Micros(400'000);
  }
  EXPECT_EQ(breaker.state(now - Micros(400'000)), S::open);
}

TEST_F(BreakerTest, OpenLetsNothingThroughThenAFewProbes) {
  trip();
  EXPECT_FALSE(breaker.allow(now));
  now = breaker.opens_at(now) - Micros(1);
  EXPECT_FALSE(breaker.allow(now));
  now = now + Micros(1);
  EXPECT_EQ(breaker.state(now), S::half_open);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(breaker.allow(now));
  EXPECT_FALSE(breaker.allow(now)) << "three probes are out";
  breaker.give_back();
  EXPECT_TRUE(breaker.allow(now));
}

TEST_F(BreakerTest, ThreeGoodProbesCloseItOneBadOpensItForTwiceAsLong) {
  trip();
  Micros span(1'000'000);
  for (int round = 0; round < 8; ++round) {
    EXPECT_EQ(breaker.opens_at(now) - now, span);
    now = breaker.opens_at(now);
    probe(false);
    probe(false);
    probe(true);
    EXPECT_EQ(breaker.state(now), S::open);
    span = std::min(span * 2, Micros(30'000'000));
  }
  EXPECT_EQ(span, Micros(30'000'000));
  now = breaker.opens_at(now);
  for (int i = 0; i < 3; ++i) probe(false);
  EXPECT_EQ(breaker.state(now), S::closed);
  report(19, true);
  EXPECT_EQ(breaker.state(now), S::closed) << "it starts with a clean record";
}

TEST_F(BreakerTest, TheLastEndpointIsNeverShutForLong) {
  last = true;
  trip();
  for (int round = 0; round < 10; ++round) {
    EXPECT_LE(breaker.opens_at(now) - now, limits.open_min);
    now = breaker.opens_at(now);
    probe(true);
  }
}

TEST_F(BreakerTest, NewsFromBeforeItOpenedChangeNothing) {
  trip();
  const TimePoint until = breaker.opens_at(now);
  report(50, true);
  report(50, false);
  EXPECT_EQ(breaker.opens_at(now), until);
  EXPECT_EQ(breaker.opened(), 1u);
}

TEST_F(BreakerTest, LostProbesDoNotShutItForEver) {
  trip();
  now = breaker.opens_at(now);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(breaker.allow(now));
  now = now + limits.open_max - Micros(1);
  EXPECT_FALSE(breaker.allow(now));
  now = now + Micros(1);
  EXPECT_TRUE(breaker.allow(now));
}

TEST_F(BreakerTest, JitterOnlyShortensTheOpening) {
  Breaker other(limits);
  for (int i = 0; i < 20; ++i) other.report(now, true, false, ~0ull);
  EXPECT_LT(other.opens_at(now), now + limits.open_min);
  EXPECT_GT(other.opens_at(now), now + limits.open_min / 2);
}

}  // namespace
}  // namespace headgate::policy
