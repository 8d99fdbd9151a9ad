// The retry contract, row by row, and the pauses between attempts.
#include "daemon/policy/retry.hpp"

#include <gtest/gtest.h>

#include <random>

#include "daemon/policy/backoff.hpp"
#include "daemon/policy/budget.hpp"

namespace headgate::policy {
namespace {

using O = Outcome;
using R = Retry;

constexpr TimePoint kNow{1'000'000};
constexpr RetryLimits kLimits;

Situation at(O outcome, R retry) {
  Situation s;
  s.outcome = outcome;
  s.retry = retry;
  s.now = kNow;
  s.deadline = kNow + std::chrono::seconds(5);
  return s;
}

struct Row {
  const char* what;
  Situation situation;
  Next next;
  Why why;
};

Situation with(Situation s, void (*change)(Situation&)) {
  change(s);
  return s;
}

class Contract : public testing::TestWithParam<Row> {};

TEST_P(Contract, Holds) {
  const Row& row = GetParam();
  const Decision d = decide(row.situation, kLimits, ~0ull / 2);
  EXPECT_EQ(static_cast<int>(d.next), static_cast<int>(row.next)) << row.what;
  EXPECT_EQ(static_cast<int>(d.why), static_cast<int>(row.why)) << row.what;
}

INSTANTIATE_TEST_SUITE_P(
    Table, Contract,
    testing::Values(
        Row{"refused connect", at(O::not_sent, R::backoff), Next::pause, Why::none},
        Row{"stale pooled connection", at(O::not_sent, R::new_connection), Next::again, Why::none},
        Row{"stale again",
            with(at(O::not_sent, R::new_connection), [](Situation& s) { s.attempts = 2; }),
            Next::again, Why::none},
        Row{"stale without budget",
            with(at(O::not_sent, R::new_connection), [](Situation& s) { s.budget = false; }),
            Next::again, Why::none},
        Row{"syntax error", at(O::rejected, R::never), Next::answer, Why::final},
        Row{"busy", at(O::rejected, R::backoff), Next::pause, Why::none},
        Row{"prepare again", at(O::rejected, R::same_connection), Next::again, Why::none},
        Row{"prepare again twice: with a pause",
            with(at(O::rejected, R::same_connection), [](Situation& s) { s.attempts = 2; }),
            Next::pause, Why::none},
        Row{"primary moved", at(O::rejected, R::other_endpoint), Next::again, Why::none},
        Row{"primary moved again",
            with(at(O::rejected, R::other_endpoint), [](Situation& s) { s.role_changes = 1; }),
            Next::pause, Why::none},
        Row{"serialization failure", at(O::rolled_back, R::backoff), Next::pause, Why::none},
        Row{"redirect", at(O::rejected, R::reroute), Next::reroute, Why::none},
        Row{"redirect needs no budget and no attempt",
            with(at(O::rejected, R::reroute),
                 [](Situation& s) { s.budget = false, s.attempts = 9, s.hops = 4; }),
            Next::reroute, Why::none},
        Row{"sixth hop", with(at(O::rejected, R::reroute), [](Situation& s) { s.hops = 5; }),
            Next::answer, Why::hops},
        Row{"reroute after unknown", at(O::unknown, R::reroute), Next::answer, Why::unknown},
        Row{"waits", at(O::rejected, R::wait), Next::wait, Why::none},
        Row{"waits, whatever was tried",
            with(at(O::not_sent, R::wait), [](Situation& s) { s.attempts = 99, s.budget = false; }),
            Next::wait, Why::none},
        Row{"wait after an effect", at(O::rolled_back, R::wait), Next::answer, Why::final},
        Row{"wait in a transaction",
            with(at(O::rejected, R::wait), [](Situation& s) { s.in_transaction = true; }),
            Next::answer, Why::transaction},
        Row{"unknown write", at(O::unknown, R::new_connection), Next::answer, Why::unknown},
        Row{"unknown write, backoff", at(O::unknown, R::backoff), Next::answer, Why::unknown},
        Row{"unknown read",
            with(at(O::unknown, R::new_connection), [](Situation& s) { s.read = true; }),
            Next::again, Why::none},
        Row{"unknown idempotent",
            with(at(O::unknown, R::backoff), [](Situation& s) { s.idempotent = true; }),
            Next::pause, Why::none},
        Row{"unknown with key",
            with(at(O::unknown, R::new_connection), [](Situation& s) { s.keyed = true; }),
            Next::again, Why::none},
        Row{"unknown, receipt, nothing helps",
            with(at(O::unknown, R::never), [](Situation& s) { s.receipt = true; }), Next::again,
            Why::none},
        Row{"receipt in a transaction",
            with(at(O::unknown, R::new_connection),
                 [](Situation& s) { s.receipt = true, s.in_transaction = true; }),
            Next::again, Why::none},
        Row{"key in a transaction",
            with(at(O::unknown, R::new_connection),
                 [](Situation& s) { s.keyed = true, s.in_transaction = true; }),
            Next::answer, Why::transaction},
        Row{"serialization in a transaction",
            with(at(O::rolled_back, R::backoff), [](Situation& s) { s.in_transaction = true; }),
            Next::answer, Why::transaction},
        Row{"a part has left",
            with(at(O::rejected, R::backoff), [](Situation& s) { s.read = s.part_left = true; }),
            Next::answer, Why::part_left},
        Row{"part left beats receipt",
            with(at(O::unknown, R::backoff), [](Situation& s) { s.receipt = s.part_left = true; }),
            Next::answer, Why::part_left},
        Row{"upload taken",
            with(at(O::rejected, R::backoff), [](Situation& s) { s.upload_taken = true; }),
            Next::answer, Why::upload},
        Row{"third attempt",
            with(at(O::rejected, R::backoff), [](Situation& s) { s.attempts = 3; }), Next::answer,
            Why::attempts},
        Row{"budget spent",
            with(at(O::rejected, R::backoff), [](Situation& s) { s.budget = false; }), Next::answer,
            Why::budget},
        Row{"pause passes the deadline",
            with(at(O::rejected, R::backoff),
                 [](Situation& s) { s.deadline = kNow + Micros(9'000); }),
            Next::answer, Why::deadline},
        Row{"hint passes the deadline",
            with(at(O::rejected, R::backoff), [](Situation& s) { s.hint_ms = 5'000; }),
            Next::answer, Why::deadline},
        Row{"at the deadline",
            with(at(O::not_sent, R::new_connection), [](Situation& s) { s.deadline = kNow; }),
            Next::answer, Why::deadline},
        Row{"no deadline",
            with(at(O::rejected, R::backoff),
                 [](Situation& s) { s.deadline = kNever, s.hint_ms = 60'000; }),
            Next::pause, Why::none},
        Row{"applied", at(O::applied, R::backoff), Next::answer, Why::final}));

// Whatever else is known, a write that may have been applied is not sent again without a reason.
TEST(Retry, NoUnknownWriteIsRepeatedInAnyCorner) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 200'000; ++i) {
    Situation s = at(O::unknown, static_cast<R>(random() % 7));
    const std::uint64_t bits = random();
    s.in_transaction = bits & 1, s.part_left = bits & 2, s.upload_taken = bits & 4;
    s.was_unknown = bits & 8, s.budget = bits & 16;
    s.attempts = 1 + random() % 4, s.hops = random() % 6, s.role_changes = random() % 2;
    if (bits & 32) s.deadline = kNever;
    ASSERT_EQ(decide(s, kLimits, random()).next, Next::answer);
    ASSERT_EQ(decide(s, kLimits, random()).outcome, O::unknown);
    ASSERT_FALSE(decide(s, kLimits, random()).retryable);
  }
}

TEST(Retry, NothingIsBegunPastTheDeadline) {
  std::mt19937_64 random(8);
  for (int i = 0; i < 200'000; ++i) {
    Situation s = at(static_cast<O>(random() % 5), static_cast<R>(random() % 7));
    s.read = true;
    s.hint_ms = static_cast<std::uint32_t>(random() % 3'000);
    s.attempts = 1 + random() % 3;
    s.deadline = kNow + Micros(static_cast<std::int64_t>(random() % 2'000'000) - 1000);
    const Decision d = decide(s, kLimits, random());
    if (d.next == Next::answer || d.next == Next::wait) continue;
    ASSERT_LT(s.now + d.pause, s.deadline);
  }
}

TEST(Retry, UnknownSticksUntilProved) {
  Situation s = at(O::rejected, R::never);
  s.was_unknown = true;
  EXPECT_EQ(settled_outcome(s), O::unknown) << "the first attempt may be why the second fails";
  s.outcome = O::not_sent;
  EXPECT_EQ(settled_outcome(s), O::unknown);
  s.outcome = O::applied;
  EXPECT_EQ(settled_outcome(s), O::applied);
  s.outcome = O::rejected;
  s.keyed = true;
  s.code = Code::constraint;
  EXPECT_EQ(settled_outcome(s), O::rejected) << "no record under the key, and the work failed";
  s.retry = R::backoff;
  EXPECT_EQ(settled_outcome(s), O::unknown) << "refused, perhaps before anybody looked";
  s.retry = R::never;
  for (const Code c : {Code::in_progress, Code::store_error, Code::unavailable, Code::too_large}) {
    s.code = c;
    EXPECT_EQ(settled_outcome(s), O::unknown) << name(c);
  }
  s.code = Code::constraint;
  s.outcome = O::not_sent;
  EXPECT_EQ(settled_outcome(s), O::unknown) << "nobody was asked";
  s.keyed = false;
  s.receipt = true;
  s.outcome = O::rejected;
  EXPECT_EQ(settled_outcome(s), O::unknown) << "the question was refused, not answered";
  s.outcome = O::rolled_back;
  EXPECT_EQ(settled_outcome(s), O::rolled_back);
}

TEST(Retry, TellsTheCallerWhenToComeBack) {
  Situation s = at(O::rejected, R::backoff);
  s.attempts = 3;
  s.hint_ms = 700;
  const Decision d = decide(s, kLimits, 1);
  EXPECT_TRUE(d.retryable);
  EXPECT_EQ(d.retry_after_ms, 700u);
  s.hint_ms = 0;
  EXPECT_EQ(decide(s, kLimits, 1).retry_after_ms, 80u);
  s.retry = R::never;
  EXPECT_FALSE(decide(s, kLimits, 1).retryable);
  EXPECT_EQ(decide(s, kLimits, 1).retry_after_ms, 0u);
}

TEST(Backoff, JitterFillsTheWholeSpanAndStaysInIt) {
  const Micros base(20'000), cap(2'000'000);
  for (std::uint32_t n = 1; n < 70; ++n) {
    EXPECT_EQ(full_jitter(n, base, cap, 0).count(), 0);
    EXPECT_LE(full_jitter(n, base, cap, ~0ull), pause_bound(n, base, cap));
    EXPECT_LE(pause_bound(n, base, cap), cap);
  }
  EXPECT_EQ(full_jitter(1, base, cap, ~0ull), base);
  EXPECT_EQ(pause_bound(3, base, cap), base * 4);
  EXPECT_EQ(pause_bound(8, base, cap), cap);
  EXPECT_EQ(pause_bound(1, cap * 2, cap), cap);
  EXPECT_EQ(pause_bound(4, Micros(0), cap).count(), 0);
  std::mt19937_64 random(3);
  double sum = 0;
  for (int i = 0; i < 10'000; ++i)
    sum += static_cast<double>(full_jitter(2, base, cap, random()).count());
  EXPECT_NEAR(sum / 10'000, 20'000, 500);
}

TEST(Backoff, LifetimesAreShortenedNeverStretched) {
  EXPECT_EQ(shortened(Micros(1000), 0.1, 0), Micros(1000));
  EXPECT_GE(shortened(Micros(1000), 0.1, ~0ull), Micros(900));
  EXPECT_LT(shortened(Micros(1000), 0.1, ~0ull), Micros(910));
}

TEST(Budget, RepeatsStayWithinATenthAndTheFloor) {
  Budget b(0.10, 3);
  TimePoint now = kNow;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(b.allows(now));
    b.repeat(now);
  }
  EXPECT_FALSE(b.allows(now)) << "the floor is spent";
  for (int i = 0; i < 100; ++i) b.request(now);
  int more = 0;
  for (; b.allows(now); ++more) b.repeat(now);
  EXPECT_EQ(more, 7);
  now = now + std::chrono::seconds(11);
  EXPECT_TRUE(b.allows(now)) << "a window later all is forgotten";
}

}  // namespace
}  // namespace headgate::policy
