#include "blockstore/sync/priority_ranges.h"

#include <gtest/gtest.h>

namespace volfs {
namespace {

TEST(PriorityRangesTest, AreTakenInTheirOrder) {
  PriorityRanges wanted;
  EXPECT_EQ(wanted.Take(), std::nullopt);
  wanted.Add(7);
  wanted.Add(5);
  EXPECT_EQ(wanted.Take(), 7U);
  wanted.Add(6);
  EXPECT_EQ(wanted.Take(), 5U);
  EXPECT_EQ(wanted.Take(), 6U);
  EXPECT_EQ(wanted.Take(), std::nullopt);
}

// If a reader is faster than the copier, its newest ranges count.
TEST(PriorityRangesTest, ForgetTheOldest) {
  PriorityRanges wanted;
  for (uint64_t n = 0; n < 1000; ++n) wanted.Add(n);
  uint64_t count = 0;
  uint64_t last = 0;
  for (auto place = wanted.Take(); place; place = wanted.Take()) {
    EXPECT_TRUE(count == 0 || *place == last + 1);
    last = *place;
    ++count;
  }
  EXPECT_EQ(last, 999U);
  EXPECT_EQ(count, 64U);
}

}  // namespace
}  // namespace volfs
