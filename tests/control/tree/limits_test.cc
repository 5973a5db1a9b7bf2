// Goal: a written limit holds at once and after a remount. A bad value changes nothing.
#include "control/tree/limits.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "blockstore/sync/throttle.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

TEST(LimitsTest, StartWithoutALimit) {
  StoreFixture fixture;
  const Limits limits(fixture.store(), {});
  EXPECT_EQ(limits.Value(Limit::kCopyRate), "max");
  EXPECT_EQ(limits.Value(Limit::kCopyJobs), "4");
  EXPECT_EQ(fixture.store().hydrator().throttle().rate(), Throttle::kUnlimited);
}

TEST(LimitsTest, AreInForceAtOnceAndReadInOneSpelling) {
  StoreFixture fixture;
  Limits limits(fixture.store(), {});
  ASSERT_TRUE(limits.Set(Limit::kCopyRate, "10M").ok());
  EXPECT_EQ(limits.Value(Limit::kCopyRate), "10485760");
  EXPECT_EQ(fixture.store().hydrator().throttle().rate(), 10485760U);
  ASSERT_TRUE(limits.Set(Limit::kCopyRate, "0").ok());
  EXPECT_EQ(fixture.store().hydrator().throttle().rate(), 0U) << "paused";
  ASSERT_TRUE(limits.Set(Limit::kCopyRate, "max").ok());
  EXPECT_EQ(limits.Value(Limit::kCopyRate), "max");
  ASSERT_TRUE(limits.Set(Limit::kCopyJobs, "2").ok());
  EXPECT_EQ(limits.Value(Limit::kCopyJobs), "2");
}

TEST(LimitsTest, AreRememberedOverARemount) {
  StoreFixture fixture;
  {
    Limits limits(fixture.store(), {});
    ASSERT_TRUE(limits.Set(Limit::kCopyRate, "0").ok());
    ASSERT_TRUE(limits.Set(Limit::kCopyJobs, "1").ok());
  }
  fixture.Reopen();
  const Limits limits(fixture.store(), {});
  EXPECT_EQ(limits.Value(Limit::kCopyRate), "0");
  EXPECT_EQ(limits.Value(Limit::kCopyJobs), "1");
  EXPECT_EQ(fixture.store().hydrator().throttle().rate(), 0U);
}

TEST(LimitsTest, AnOptionWinsOverWhatWasRemembered) {
  StoreFixture fixture;
  {
    Limits limits(fixture.store(), {});
    ASSERT_TRUE(limits.Set(Limit::kCopyRate, "0").ok());
  }
  const Limits limits(fixture.store(), {{"allow_shrink", "1"}, {"copy_rate", "5K"}});
  EXPECT_EQ(limits.Value(Limit::kCopyRate), "5120");
}

TEST(LimitsTest, AMalformedOptionIsPassedOver) {
  StoreFixture fixture;
  const Limits limits(fixture.store(), {{"copy_rate", "fast"}});
  EXPECT_EQ(limits.Value(Limit::kCopyRate), "max");
}

TEST(LimitsTest, ABadValueIsRefusedAndChangesNothing) {
  StoreFixture fixture;
  Limits limits(fixture.store(), {});
  ASSERT_TRUE(limits.Set(Limit::kCopyRate, "7").ok());
  for (const std::string_view value : {"", "-1", "+5", " 5", "5 ", "1e9", "0x10", "MAX", "5KB5",
                                       "9223372036854775808", "\n", "5\n6"}) {
    const Status status = limits.Set(Limit::kCopyRate, value);
    ASSERT_FALSE(status.ok()) << value;
    EXPECT_EQ(status.error().code, Errc::kInvalid) << value;
  }
  for (const std::string_view value : {"", "0", "-1", "1025", "1K", "max", "two"}) {
    EXPECT_FALSE(limits.Set(Limit::kCopyJobs, value).ok()) << value;
  }
  EXPECT_EQ(limits.Value(Limit::kCopyRate), "7");
  EXPECT_EQ(limits.Value(Limit::kCopyJobs), "4");
}

}  // namespace
}  // namespace volfs
