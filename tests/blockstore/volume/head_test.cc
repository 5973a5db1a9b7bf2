// A volume that shrinks and grows again: trap T14.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

using Bytes = std::vector<std::byte>;

constexpr StoreOptions kMayShrink{.allow_shrink = true};

// Returns `bytes` cut at `small`, and grown with zeros to `large`.
Bytes CutAndGrown(Bytes bytes, uint64_t small, uint64_t large) {
  bytes.resize(small);
  bytes.resize(large);
  return bytes;
}

class ShrinkTest : public ::testing::Test {
 protected:
  void ExpectNoFindings() { EXPECT_THAT(LastingFindings(fixture_.store()), testing::IsEmpty()); }

  StoreFixture fixture_{kMayShrink};
};

// Without the option no caller can shrink a volume.
TEST(ShrinkOption, IsOffUnlessAskedFor) {
  StoreFixture fixture;
  auto db = fixture.MakeVolume("db", kMiB, kMiB);
  EXPECT_EQ(fixture.store().Shrink(*db, 1).error().code, Errc::kProtected);
  EXPECT_EQ(fixture.store().Resize("db", 1, Caller{}).error().code, Errc::kProtected);
  EXPECT_TRUE(ReadBack(*db) == Pattern(kMiB));
}

// T14, T61: the cut part reads as zeros after growing again, and the file is as long as the volume.
TEST_F(ShrinkTest, OfARawVolumeCutsItsFile) {
  auto db = fixture_.MakeVolume("db", 3 * kMiB, 3 * kMiB);
  ASSERT_TRUE(fixture_.store().Resize("db", kMiB + 777, Caller{}).ok());
  EXPECT_EQ(db->size_bytes(), kMiB + 777);
  ExpectNoFindings();
  ASSERT_TRUE(fixture_.store().Resize("db", 2 * kMiB, Caller{}).ok());
  const Bytes expected = CutAndGrown(Pattern(3 * kMiB), kMiB + 777, 2 * kMiB);
  EXPECT_TRUE(ReadBack(*db) == expected);
  db.reset();
  fixture_.Reopen(kMayShrink);
  EXPECT_TRUE(ReadBack(*fixture_.store().Find("db")) == expected);
}

// T14: a volume over a snapshot is cut in the middle of a block that it never wrote, of one that it
// wrote, and of one that it discarded. The snapshot's data never shows again.
TEST_F(ShrinkTest, OverASnapshotNeverShowsItsDataAgain) {
  for (const char* what : {"inherited", "written", "discarded"}) {
    SCOPED_TRACE(what);
    auto db = fixture_.MakeVolume(what, 3 * kMiB, 3 * kMiB);
    ASSERT_TRUE(fixture_.store().TakeSnapshot(what, "s", Caller{}).ok());
    Bytes expected = Pattern(3 * kMiB);
    const Bytes mine(8192, std::byte{7});
    if (what == std::string("written")) {
      ASSERT_TRUE(db->WriteAt(mine, kMiB).ok());
      std::memcpy(expected.data() + kMiB, mine.data(), mine.size());
    } else if (what == std::string("discarded")) {
      ASSERT_TRUE(db->Discard({kMiB, 8192}).ok());
      std::memset(expected.data() + kMiB, 0, 8192);
    }
    ASSERT_TRUE(fixture_.store().Shrink(*db, kMiB + 777).ok());
    ExpectNoFindings();
    ASSERT_TRUE(db->Grow(3 * kMiB).ok());
    expected = CutAndGrown(expected, kMiB + 777, 3 * kMiB);
    EXPECT_TRUE(ReadBack(*db) == expected);
    ASSERT_TRUE(db->Sync().ok());
    db.reset();
    fixture_.Reopen(kMayShrink);
    EXPECT_TRUE(ReadBack(*fixture_.store().Find(what)) == expected);
    // The snapshot is still complete.
    const auto snapshots = fixture_.store().Snapshots(fixture_.store().Find(what)->id());
    ASSERT_EQ(snapshots.size(), 1U);
    const auto open = fixture_.store().OpenSnapshotImage(snapshots[0].id);
    Bytes kept(3 * kMiB);
    ASSERT_TRUE(open.value()->image().ReadAt(kept, 0).ok());
    EXPECT_TRUE(kept == Pattern(3 * kMiB));
  }
  ExpectNoFindings();
}

// Cuts to nothing and writes from the beginning again, as `>` and `cp` do.
TEST_F(ShrinkTest, ToNothingAndFilledAgain) {
  auto db = fixture_.MakeVolume("db", 2 * kMiB, 2 * kMiB);
  ASSERT_TRUE(fixture_.store().TakeSnapshot("db", "s", Caller{}).ok());
  ASSERT_TRUE(fixture_.store().Shrink(*db, 0).ok());
  EXPECT_EQ(db->size_bytes(), 0U);
  const Bytes fresh(5000, std::byte{9});
  ASSERT_TRUE(db->WriteAt(fresh, 3000).ok());
  Bytes expected(8000);
  std::memcpy(expected.data() + 3000, fresh.data(), fresh.size());
  EXPECT_TRUE(ReadBack(*db) == expected);
  ASSERT_TRUE(db->Sync().ok());
  ExpectNoFindings();
}

// Blocks that only the cut part showed are freed, also in a layer whose snapshot was deleted.
TEST_F(ShrinkTest, FreesWhatNobodyShowsAnyMore) {
  auto db = fixture_.MakeVolume("db", 4 * kMiB, 4 * kMiB);
  ASSERT_TRUE(fixture_.store().TakeSnapshot("db", "s", Caller{}).ok());
  ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", "s", Caller{}).ok());
  EXPECT_GE(db->AllocatedBytes().value(), 4 * kMiB);
  ASSERT_TRUE(fixture_.store().Shrink(*db, kMiB).ok());
  ASSERT_TRUE(db->Grow(8 * kMiB).ok());  // otherwise the size limits the answer
  EXPECT_LE(db->AllocatedBytes().value(), kMiB + 65536);
  EXPECT_TRUE(ReadBack(*db) == CutAndGrown(Pattern(4 * kMiB), kMiB, 8 * kMiB));
  ASSERT_TRUE(db->Sync().ok());  // the check reports a growth that is not committed
  ExpectNoFindings();
}

// A partial clone does not track which blocks of its source it no longer needs.
TEST_F(ShrinkTest, OfACloneOnlyWhenItIsWhole) {
  fixture_.MakeVolume("db", 2 * kMiB, 2 * kMiB);
  fixture_.store().hydrator().throttle().SetRate(0);
  CloneRequest request{.source = "db", .name = "x"};
  auto clone = fixture_.store().Clone(request, Caller{});
  ASSERT_TRUE(clone.ok());
  EXPECT_EQ(fixture_.store().Shrink(*clone.value(), kMiB).error().code, Errc::kBusy);
  fixture_.store().hydrator().throttle().SetRate(Throttle::kUnlimited);
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  EXPECT_TRUE(fixture_.store().Shrink(*clone.value(), kMiB).ok());
  EXPECT_TRUE(ReadBack(*clone.value()) == CutAndGrown(Pattern(2 * kMiB), kMiB, kMiB));
}

}  // namespace
}  // namespace volfs
