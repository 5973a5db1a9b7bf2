// Goal: a map that is not in use takes no memory. An evicted map does not change the volume, and a
// map with changes that the catalogs lack is never evicted.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

using Bytes = std::vector<std::byte>;
using std::chrono::milliseconds;

constexpr Nanoseconds kAtOnce{0};

class VolumeMapTest : public ::testing::Test {
 protected:
  // Only the test evicts maps.
  VolumeMapTest() : db_(fixture_.MakeVolume("db", kMiB, kMiB)) {}

  Store& store() { return fixture_.store(); }
  void Snapshot(const std::string& name) {
    ASSERT_TRUE(store().TakeSnapshot("db", name, Caller{}).ok());
  }
  void Write(uint64_t block, uint8_t fill) {
    ASSERT_TRUE(db_->WriteAt(Bytes(kBlock, std::byte{fill}), block * kBlock).ok());
  }
  // Returns Pattern() with `blocks` overwritten.
  Bytes Expected(std::initializer_list<std::pair<uint64_t, uint8_t>> blocks) {
    Bytes bytes = Pattern(kMiB);
    for (const auto& [block, fill] : blocks) {
      std::fill_n(bytes.begin() + static_cast<ptrdiff_t>(block * kBlock), kBlock, std::byte{fill});
    }
    return bytes;
  }

  StoreFixture fixture_{StoreOptions{.merge = false}};
  std::shared_ptr<Volume> db_;
};

TEST_F(VolumeMapTest, IsLoadedAtTheFirstUseAndAgainAtTheNext) {
  const auto idle = fixture_.MakeVolume("idle", kMiB);
  EXPECT_FALSE(idle->map().loaded());
  Snapshot("s");
  Write(3, 7);
  ASSERT_TRUE(db_->Discard({8 * kBlock, kBlock}).ok());
  ASSERT_TRUE(db_->Sync().ok());
  const Bytes expected = Expected({{3, 7}, {8, 0}});
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(db_->map().loaded());
    ASSERT_TRUE(db_->EvictMap(kAtOnce));
    EXPECT_FALSE(db_->map().loaded());
    EXPECT_FALSE(db_->EvictMap(kAtOnce));
    EXPECT_TRUE(ReadBack(*db_) == expected);
  }
}

// Each of these calls loads the map when it comes first.
TEST_F(VolumeMapTest, IsLoadedByWhoeverNeedsIt) {
  Snapshot("s");
  const auto give_back = [&] {
    ASSERT_TRUE(db_->Sync().ok());
    ASSERT_TRUE(db_->EvictMap(kAtOnce));
  };
  give_back();
  Write(3, 7);
  give_back();
  ASSERT_TRUE(db_->Discard({8 * kBlock, kBlock}).ok());
  give_back();
  EXPECT_EQ(db_->SeekHole(0).value(), 8 * kBlock);
  give_back();
  EXPECT_EQ(db_->SeekData(8 * kBlock).value(), 9 * kBlock);
  give_back();
  Snapshot("t");
  give_back();
  ASSERT_TRUE(db_->Grow(2 * kMiB).ok());
  give_back();
  EXPECT_EQ(store().Map(*db_).value().size(), 6U);
  give_back();
  ASSERT_TRUE(store().Clone({.source = "db", .name = "linked", .linked = true}, Caller{}).ok());
  Bytes expected = Expected({{3, 7}, {8, 0}});
  expected.resize(2 * kMiB);
  give_back();
  EXPECT_TRUE(ReadBack(*db_) == expected);
  EXPECT_TRUE(ReadBack(*store().Find("linked")) == expected);
  give_back();
  ASSERT_TRUE(store().Revert("db", "s", Caller{}).ok());
  EXPECT_TRUE(ReadBack(*db_) == Pattern(kMiB));
}

TEST_F(VolumeMapTest, StaysUntilAllOfItIsCommitted) {
  Snapshot("s");
  Write(3, 7);
  EXPECT_FALSE(db_->EvictMap(kAtOnce));
  ASSERT_TRUE(db_->Sync().ok());
  ASSERT_TRUE(db_->EvictMap(kAtOnce));
  ASSERT_TRUE(db_->Grow(2 * kMiB).ok());  // a size is pending, no block
  EXPECT_FALSE(db_->EvictMap(kAtOnce));
  ASSERT_TRUE(db_->Sync().ok());
  EXPECT_TRUE(db_->EvictMap(kAtOnce));
}

TEST_F(VolumeMapTest, StaysWithWhoHasTheVolumeOpen) {
  for (const auto access : {Volume::Access::kRead, Volume::Access::kWrite}) {
    ASSERT_TRUE(db_->opens().Add(access).ok());
    EXPECT_EQ(ReadBack(*db_).size(), kMiB);
    EXPECT_FALSE(db_->EvictMap(kAtOnce));
    db_->opens().Remove(access);
    EXPECT_TRUE(db_->EvictMap(kAtOnce));
  }
}

TEST_F(VolumeMapTest, StaysWithWhoUsesIt) {
  {
    const auto use = db_->map().Acquire();
    ASSERT_TRUE(use.ok());
    EXPECT_FALSE(db_->EvictMap(kAtOnce));
  }
  EXPECT_TRUE(db_->EvictMap(kAtOnce));
}

TEST_F(VolumeMapTest, StaysForAsLongAsItIsNotIdle) {
  constexpr milliseconds kIdle(200);
  const Nanoseconds end = MonotonicNow() + 2 * kIdle;
  while (MonotonicNow() < end) {
    EXPECT_EQ(ReadBack(*db_).size(), kMiB);
    EXPECT_FALSE(db_->EvictMap(kIdle));
  }
  SleepFor(kIdle);
  EXPECT_TRUE(db_->EvictMap(kIdle));
}

// Loading the map again would ask the other node, which may hang.
TEST_F(VolumeMapTest, StaysWhileAnotherNodeIsNeededForIt) {
  store().hydrator().throttle().SetRate(0);
  const auto clone = store().Clone({.source = "db", .name = "x"}, Caller{});
  ASSERT_TRUE(clone.ok());
  ASSERT_TRUE(clone.value()->Sync().ok());
  EXPECT_FALSE(clone.value()->EvictMap(kAtOnce));
  store().hydrator().throttle().SetRate(Throttle::kUnlimited);
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  EXPECT_TRUE(clone.value()->EvictMap(kAtOnce));
  EXPECT_TRUE(ReadBack(*clone.value()) == Pattern(kMiB));
}

// Its layers are gone, and a holder of the object must not look for them.
TEST_F(VolumeMapTest, OfADeletedVolumeIsNotLoaded) {
  ASSERT_TRUE(db_->EvictMap(kAtOnce));
  ASSERT_TRUE(store().Delete("db", Caller{}).ok());
  EXPECT_EQ(store().Map(*db_).error().code, Errc::kNotFound);
  EXPECT_EQ(db_->map().Acquire().error().code, Errc::kNotFound);
}

TEST_F(VolumeMapTest, OfADeletedVolumeIsLoadedForWhoHasItOpen) {
  Snapshot("s");
  Write(3, 7);
  ASSERT_TRUE(db_->Sync().ok());
  ASSERT_TRUE(db_->EvictMap(kAtOnce));
  ASSERT_TRUE(db_->opens().Add(Volume::Access::kRead).ok());
  ASSERT_TRUE(store().Delete("db", Caller{}).ok());
  EXPECT_FALSE(db_->map().loaded());
  EXPECT_TRUE(ReadBack(*db_) == Expected({{3, 7}}));
  EXPECT_FALSE(db_->EvictMap(kAtOnce));
  db_->opens().Remove(Volume::Access::kRead);
}

// Of many volumes, each used once, the background evicts the maps, and only theirs.
TEST(VolumeMapsTest, AreGivenBackInTheBackground) {
  constexpr int kVolumes = 50;
  StoreFixture fixture{StoreOptions{.map_idle = milliseconds(300)}};
  std::vector<std::shared_ptr<Volume>> volumes;
  for (int n = 0; n < kVolumes; ++n) {
    volumes.push_back(fixture.MakeVolume("v" + std::to_string(n), kMiB, 10'000));
    EXPECT_TRUE(volumes.back()->map().loaded());
  }
  Volume& open = *volumes.front();
  ASSERT_TRUE(open.opens().Add(Volume::Access::kRead).ok());
  // On a slow machine its map may have been evicted before it was opened.
  EXPECT_EQ(ReadBack(open).size(), kMiB);
  const auto loaded = [&] {
    return std::count_if(volumes.begin(), volumes.end(),
                         [](const auto& v) { return v->map().loaded(); });
  };
  const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(10);
  while (loaded() > 1 && MonotonicNow() < deadline) SleepFor(milliseconds(20));
  EXPECT_EQ(loaded(), 1);
  EXPECT_TRUE(open.map().loaded());
  Bytes expected = Pattern(10'000);
  expected.resize(kMiB);
  for (const auto& volume : volumes) EXPECT_TRUE(ReadBack(*volume) == expected);
  open.opens().Remove(Volume::Access::kRead);
}

// While the tree gate is closed no map can be loaded, so the merger must not need to.
TEST(VolumeMapsTest, AreGivenBackWhileTheirLayersAreMerged) {
  StoreFixture fixture;
  const auto db = fixture.MakeVolume("db", 4 * kMiB, 4 * kMiB);
  Bytes expected = Pattern(4 * kMiB);
  const auto flat = [&] {
    const Epoch::Reader reader = db->node().epoch().Enter();  // merging replaces heads
    return db->head()->flat();
  };
  for (int round = 0; round < 8; ++round) {
    ASSERT_TRUE(fixture.store().TakeSnapshot("db", "s", Caller{}).ok());
    const auto first = static_cast<uint64_t>(round) * 5;
    const Bytes mine(40 * kBlock, std::byte(round + 1));
    ASSERT_TRUE(db->WriteAt(mine, first * kBlock).ok());
    std::copy(mine.begin(), mine.end(), expected.begin() + static_cast<ptrdiff_t>(first * kBlock));
    ASSERT_TRUE(db->Sync().ok());
    ASSERT_TRUE(fixture.store().DeleteSnapshot("db", "s", Caller{}).ok());
    const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(10);
    while (!flat() && MonotonicNow() < deadline) (void)db->EvictMap(kAtOnce);
    ASSERT_TRUE(flat());
    ASSERT_TRUE(ReadBack(*db) == expected);
  }
}

}  // namespace
}  // namespace volfs
