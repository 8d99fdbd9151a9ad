// QuickReads: what is remembered of a read's time.
#include <gtest/gtest.h>

#include "plugins/sqlite/quick_reads.hpp"

namespace headgate::sqlite {
namespace {

TEST(QuickReadsTest, OneQuickRunIsEnoughAndOneSlowRunToo) {
  QuickReads reads;
  EXPECT_FALSE(reads.contains(7));
  reads.note(7, 100);
  EXPECT_TRUE(reads.contains(7));
  EXPECT_FALSE(reads.contains(8));
  reads.note(7, 2000);
  EXPECT_TRUE(reads.contains(7)) << "in between nothing is learnt";
  reads.note(8, 2000);
  EXPECT_FALSE(reads.contains(8));
  reads.note(7, QuickReads::kMaxUs);
  EXPECT_FALSE(reads.contains(7));
}

TEST(QuickReadsTest, WithoutADigestNothingIsKnown) {
  QuickReads reads;
  reads.note(0, 1);
  EXPECT_FALSE(reads.contains(0));
}

TEST(QuickReadsTest, ADigestInAnothersPlaceTakesItAndNothingMore) {
  QuickReads reads;
  const std::uint64_t other = 7 + 1024;
  reads.note(7, 1);
  reads.note(other, 1);
  EXPECT_FALSE(reads.contains(7));
  reads.note(7, QuickReads::kMaxUs);
  EXPECT_TRUE(reads.contains(other)) << "a stranger's slow run";
}

}  // namespace
}  // namespace headgate::sqlite
