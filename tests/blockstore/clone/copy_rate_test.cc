// Goal: a clone's own limit holds in addition to the common one, slows no other clone, and is
// remembered until the clone is whole and no longer (traps T34, T39).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "blockstore/io/posix_node.h"
#include "blockstore/store/recovery.h"
#include "blockstore/store/store.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

using testing::HasSubstr;
constexpr uint64_t kRateMiB = 1 << 20;
constexpr uint64_t kRateData = 4 * kRateMiB;

class CopyRateTest : public testing::Test {
 protected:
  Store& store() { return fixture_.store(); }
  void SetRateOfAll(uint64_t rate) { store().hydrator().throttle().SetRate(rate); }
  VolumeInfo InfoOf(const std::string& name) { return store().Info(name).value(); }
  Status SetRate(const std::string& name, uint64_t rate) {
    return store().settings().SetCopyRate(*store().Find(name), rate);
  }

  // Makes for each name "x" a clone of "of-x". Nothing is copied yet, because the common rate is 0.
  void MakeClones(const std::vector<std::string>& names) {
    SetRateOfAll(0);
    for (const std::string& name : names) {
      fixture_.MakeVolume("of-" + name, kRateData, kRateData);
      CloneRequest request{.source = "of-" + name, .name = name};
      const auto clone = store().Clone(request, Caller{});
      ASSERT_TRUE(clone.ok()) << clone.error().message;
    }
  }

  double SecondsUntilWhole(const std::string& name) {
    const Nanoseconds start = MonotonicNow();
    EXPECT_TRUE(fixture_.WaitForStatus(name, "available"));
    return std::chrono::duration<double>(MonotonicNow() - start).count();
  }

  // Returns the number of copy rates in the settings of the clones' node. The store must be closed.
  size_t Remembered() {
    const auto node = Node::Open(std::move(OpenPosixNode(fixture_.NodePath("b")).value()));
    const auto& settings = node.value()->contents().settings;
    return static_cast<size_t>(std::count_if(settings.begin(), settings.end(), [](const auto& s) {
      return s.first.starts_with("copy_rate.");
    }));
  }

  StoreFixture fixture_;
};

TEST_F(CopyRateTest, APausedCloneStandsStillAndSaysSo) {
  MakeClones({"x", "y"});
  EXPECT_THAT(InfoOf("x").error, HasSubstr("limits/copy_rate is 0"));
  EXPECT_EQ(InfoOf("x").copy_rate, Throttle::kUnlimited);
  ASSERT_TRUE(SetRate("x", 0).ok());
  store().hydrator().SetJobs(1);
  SetRateOfAll(Throttle::kUnlimited);
  EXPECT_LT(SecondsUntilWhole("y"), 3) << "it has the only place for itself";
  const VolumeInfo paused = InfoOf("x");
  EXPECT_EQ(paused.status, "creating");
  EXPECT_EQ(paused.copy_rate, 0U);
  EXPECT_EQ(paused.progress.copied_bytes, 0U);
  EXPECT_EQ(paused.progress.eta_seconds, std::nullopt);
  EXPECT_THAT(paused.error, HasSubstr("this clone's copy_rate is 0"));
  ASSERT_TRUE(SetRate("x", Throttle::kUnlimited).ok());
  EXPECT_LT(SecondsUntilWhole("x"), 3) << "in force within a second";
  EXPECT_EQ(InfoOf("x").error, "");
}

// Each clone is under its own limit, and all are under the common one. A clone that waits for its
// own limit does not use up the common one.
TEST_F(CopyRateTest, TheTighterLimitCounts) {
  MakeClones({"x", "y"});
  ASSERT_TRUE(SetRate("x", 2 * kRateMiB).ok());
  SetRateOfAll(Throttle::kUnlimited);
  const double seconds = SecondsUntilWhole("x");
  // Of 4 MiB one piece is copied at once, and another one may have waited before there was a limit.
  EXPECT_GT(seconds, 0.8);
  EXPECT_LT(seconds, 60);
  EXPECT_EQ(InfoOf("y").status, "available");

  MakeClones({"z"});
  ASSERT_TRUE(SetRate("z", 100 * kRateMiB).ok());
  SetRateOfAll(2 * kRateMiB);
  const double shared = SecondsUntilWhole("z");
  EXPECT_GT(shared, 0.8);
  EXPECT_LT(shared, 60);
}

// Mounting again and again grants nothing: the first piece of each mount is paid for, too.
TEST_F(CopyRateTest, MountsGrantNothing) {
  constexpr uint64_t kSlow = kRateMiB / 2;
  MakeClones({"x"});
  const Nanoseconds start = MonotonicNow();
  for (int mount = 0; mount < 8; ++mount) {
    fixture_.Reopen({.copy_rate = kSlow});
    SleepFor(std::chrono::milliseconds(20));
  }
  fixture_.Reopen({.copy_rate = 0});
  const double seconds = std::chrono::duration<double>(MonotonicNow() - start).count();
  const auto copied = static_cast<double>(store().Find("x")->head()->AllocatedBytes().value());
  EXPECT_LE(copied, seconds * kSlow + kDefaultBlockSize);
  EXPECT_EQ(InfoOf("x").status, "creating");
}

TEST_F(CopyRateTest, IsRememberedUntilTheCloneIsWhole) {
  MakeClones({"x", "y"});
  ASSERT_TRUE(SetRate("x", 0).ok());
  ASSERT_TRUE(SetRate("y", 0).ok());
  ASSERT_TRUE(SetRate("y", Throttle::kUnlimited).ok());
  fixture_.Close();
  EXPECT_EQ(Remembered(), 1U);
  fixture_.Reopen();
  EXPECT_EQ(InfoOf("x").copy_rate, 0U);
  EXPECT_EQ(InfoOf("y").copy_rate, Throttle::kUnlimited);
  ASSERT_TRUE(fixture_.WaitForStatus("y", "available"));
  EXPECT_EQ(InfoOf("x").progress.copied_bytes, 0U);
  ASSERT_TRUE(SetRate("x", 1000 * kRateMiB).ok());
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  EXPECT_EQ(InfoOf("x").copy_rate, Throttle::kUnlimited) << "it is none any more";
  fixture_.Reopen();
  fixture_.Close();
  EXPECT_EQ(Remembered(), 0U);
}

TEST_F(CopyRateTest, OnlyAnUnfinishedCloneHasOne) {
  MakeClones({"x"});
  const Status refused = SetRate("of-x", 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kInvalid);
  EXPECT_THAT(refused.error().message, HasSubstr("of-x: it is not a clone"));
  const auto clone = store().Find("x");
  ASSERT_TRUE(SetRate("x", 5).ok());
  ASSERT_TRUE(store().Cancel("x", Caller{}).ok());
  EXPECT_EQ(store().settings().SetCopyRate(*clone, 6).error().code, Errc::kInvalid);
  fixture_.Reopen();
  fixture_.Close();
  EXPECT_EQ(Remembered(), 0U);
}

}  // namespace
}  // namespace volfs
