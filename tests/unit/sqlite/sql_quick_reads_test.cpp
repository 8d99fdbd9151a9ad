// QuickReads: what is remembered of a read's time.
#include <gtest/gtest.h>

#include "plugins/sqlite/quick_reads.hpp"

namespace headgate::sqlite {
namespace {

constexpr std::uint64_t kOne = 0x1234'5678'9abc'de80;
constexpr std::uint64_t kInItsPlace = kOne + (1024u << 7);

TEST(QuickReadsTest, OneQuickRunIsEnough) {
  QuickReads reads;
  EXPECT_FALSE(reads.contains(kOne));
  reads.note(kOne, 2000);
  EXPECT_FALSE(reads.contains(kOne)) << "in between nothing is learnt";
  reads.note(kOne, 100);
  EXPECT_TRUE(reads.contains(kOne));
  EXPECT_FALSE(reads.contains(~kOne));
  reads.note(kOne, 2000);
  EXPECT_TRUE(reads.contains(kOne));
}

TEST(QuickReadsTest, AfterASlowOneItTakesMany) {
  QuickReads reads;
  reads.note(kOne, 1);
  reads.note(kOne, QuickReads::kMaxUs);
  int runs = 0;
  for (; !reads.contains(kOne); ++runs) {
    ASSERT_LT(runs, 1000);
    reads.note(kOne, 1);
  }
  EXPECT_EQ(runs, 63);
  reads.note(kOne, QuickReads::kMaxUs);
  for (int i = 0; i < 40; ++i) reads.note(kOne, 1);
  reads.note(kOne, QuickReads::kMaxUs);
  for (int i = 0; i < 40; ++i) reads.note(kOne, 1);
  EXPECT_FALSE(reads.contains(kOne)) << "quick for some values only";
}

TEST(QuickReadsTest, WithoutADigestNothingIsKnown) {
  QuickReads reads;
  reads.note(0, 1);
  EXPECT_FALSE(reads.contains(0));
}

TEST(QuickReadsTest, ADigestInAnothersPlaceTakesItAndNothingMore) {
  QuickReads reads;
  reads.note(kOne, 1);
  reads.note(kInItsPlace, 1);
  EXPECT_FALSE(reads.contains(kOne));
  reads.note(kOne, QuickReads::kMaxUs);
  EXPECT_TRUE(reads.contains(kInItsPlace)) << "a stranger's slow run";
}

}  // namespace
}  // namespace headgate::sqlite
