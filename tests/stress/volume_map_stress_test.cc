// A map is evicted at every possible moment, and the next user sees the old contents.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "tests/stress/stress_fixture.h"
#include "tests/stress/told_blocks.h"

namespace volfs {
namespace {

TEST_F(VolumeStressTest, AMapThatIsGivenBackMeetsThoseWhoNeedIt) {
  constexpr uint64_t kBlocks = 40;
  RunFor(kSmallTest);
  constexpr std::chrono::microseconds kRest(200);  // else some thread uses the map all the time
  const Bytes before = Pattern(kBlocks * kTold);
  const auto volume = fixture_.MakeVolume("v", before.size(), before.size());
  // Block `number` has its first contents.
  const auto expect_old = [&](Volume& of, uint64_t number) {
    Bytes found(kTold);
    ASSERT_TRUE(of.ReadAt(found, number * kTold).ok());
    ASSERT_TRUE(std::memcmp(found.data(), before.data() + number * kTold, kTold) == 0);
  };
  const auto write = [&] {
    Bytes found(kTold);
    for (int n = 0; !over(); ++n) {
      const Bytes mine(kTold, static_cast<std::byte>(n));
      ASSERT_TRUE(volume->WriteAt(mine, kTold).ok());
      if (n % 4 != 0) {
        ASSERT_TRUE(volume->Sync().ok());
      }
      ASSERT_TRUE(volume->ReadAt(found, kTold).ok());
      ASSERT_TRUE(found == mine) << "write " << n;
      SleepFor(kRest);
    }
  };
  const auto read = [&] {
    while (!over()) {
      expect_old(*volume, kBlocks / 2);
      SleepFor(kRest);
    }
  };
  const auto freeze = [&] {
    while (!over()) {
      EXPECT_MAY_HAPPEN(store().TakeSnapshot("v", "s", Caller{}));
      const auto clone = Clone({.source = "v", .name = "c", .linked = true});
      EXPECT_MAY_HAPPEN(clone);
      if (clone.ok()) {
        expect_old(*clone.value(), kBlocks / 2);
        EXPECT_MAY_HAPPEN(store().Delete("c", Caller{}));
      }
      EXPECT_MAY_HAPPEN(store().DeleteSnapshot("v", "s", Caller{}));
      SleepFor(kRest);
    }
  };
  uint64_t given_back = 0;
  const auto give_back = [&] {
    while (!over()) {
      for (const auto& each : store().Volumes()) {
        given_back += each->EvictMap(Nanoseconds{0}) ? 1 : 0;
      }
      YieldThread();
    }
  };
  AllAtOnce({write, read, freeze, give_back});
  EXPECT_GT(given_back, 0U);
}

}  // namespace
}  // namespace volfs
