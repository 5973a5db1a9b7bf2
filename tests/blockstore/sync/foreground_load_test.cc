// Goal: copying keeps a share of a node's time while requests arrive, and no more. It has all of
// the time when they stop (contract.md 5.10).
#include "blockstore/sync/foreground_load.h"

#include <gtest/gtest.h>

#include "tests/support/standing_time.h"

namespace volfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class ForegroundLoadTest : public testing::Test {
 protected:
  // Returns the share of `span` that copying has in steps of `step`. With `requests`, a request
  // arrives before each step.
  double Share(Nanoseconds step, Nanoseconds span, bool requests) {
    const Nanoseconds start = MonotonicNow();
    Nanoseconds worked{0};
    while (MonotonicNow() - start < span) {
      if (requests) foreground_.Note();
      const Nanoseconds wait = foreground_.TryStep();
      if (wait != Nanoseconds{0}) {
        time_.Pass(std::min<Nanoseconds>(wait, milliseconds(10)));
        continue;
      }
      time_.Pass(step);
      worked += step;
      foreground_.EndStep(step);
    }
    return std::chrono::duration<double>(worked) / std::chrono::duration<double>(span);
  }

  StandingTime time_;
  ForegroundLoad foreground_;
};

TEST_F(ForegroundLoadTest, CopyingHasAllOfTheTimeWhenNobodyComes) {
  EXPECT_FALSE(foreground_.Busy());
  EXPECT_GT(Share(milliseconds(1), seconds(1), false), 0.99);
}

TEST_F(ForegroundLoadTest, CopyingHasItsShareHoweverMuchIsAskedFor) {
  const double share = Share(milliseconds(1), seconds(10), true);
  EXPECT_GT(share, 0.09);
  EXPECT_LT(share, 0.12);
}

// A long step is followed by a rest of bounded length, not by minutes.
TEST_F(ForegroundLoadTest, RestsAreBounded) {
  EXPECT_GT(Share(seconds(5), seconds(100), true), 0.8);
}

TEST_F(ForegroundLoadTest, OneStepAtATimeWhileSomebodyIsThere) {
  EXPECT_EQ(foreground_.TryStep(), Nanoseconds{0});
  EXPECT_EQ(foreground_.TryStep(), Nanoseconds{0}) << "any number while nobody is";
  foreground_.Note();
  EXPECT_NE(foreground_.TryStep(), Nanoseconds{0});
  foreground_.EndStep(Nanoseconds{0});
  foreground_.EndStep(Nanoseconds{0});
  EXPECT_EQ(foreground_.TryStep(), Nanoseconds{0});
}

TEST_F(ForegroundLoadTest, IsQuietAWhileAfterTheLastRequest) {
  foreground_.Note();
  EXPECT_TRUE(foreground_.Busy());
  time_.Pass(ForegroundLoad::kQuiet - milliseconds(1));
  EXPECT_TRUE(foreground_.Busy());
  time_.Pass(milliseconds(2));
  EXPECT_FALSE(foreground_.Busy());
}

}  // namespace
}  // namespace volfs
