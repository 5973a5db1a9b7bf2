// Copies that share blocks (copy_file_range): traps T27 and T30.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

using Bytes = std::vector<std::byte>;

constexpr uint64_t kSize = 4 * kMiB + 777;

class ShareTest : public ::testing::Test {
 protected:
  void SetUp() override {
    source_ = fixture_.MakeVolume("db", kSize, kSize);
    expected_ = ReadBack(*source_);
  }
  std::shared_ptr<OpenSnapshot> Pin() {
    auto pinned = fixture_.store().PinSnapshotPoint(source_);
    EXPECT_TRUE(pinned.ok());
    return pinned.value();
  }
  Status Share(const std::shared_ptr<OpenSnapshot>& from, const std::shared_ptr<Volume>& to,
               uint64_t offset, uint64_t end) {
    return fixture_.store().Share(from, to, {offset, end - offset});
  }
  uint64_t BytesOnNode() {
    uint64_t bytes = 0;
    for (const auto& volume : fixture_.store().Volumes()) {
      const auto own = volume->head()->AllocatedBytes();
      bytes += own.ok() ? own.value() : 0;
    }
    return bytes;
  }
  void ExpectNoFindings() { EXPECT_THAT(LastingFindings(fixture_.store()), testing::IsEmpty()); }

  StoreFixture fixture_;
  std::shared_ptr<Volume> source_;
  Bytes expected_;
};

// `cp` shares piece by piece, with holes where cp saw none. Nothing is copied, and later writes to
// one of the volumes do not show in the other.
TEST_F(ShareTest, CopiesNothing) {
  auto copy = fixture_.MakeVolume("copy", 0);
  {
    const auto from = Pin();
    ASSERT_TRUE(Share(from, copy, 0, kMiB).ok());
    ASSERT_TRUE(Share(from, copy, 2 * kMiB, 3 * kMiB).ok());
    ASSERT_TRUE(Share(from, copy, 3 * kMiB, kSize).ok());
  }
  std::memset(expected_.data() + kMiB, 0, kMiB);  // the gap
  EXPECT_TRUE(ReadBack(*copy) == expected_);
  EXPECT_EQ(BytesOnNode(), 0U);  // all of it is in the layer below both
  ASSERT_TRUE(source_->WriteAt(Bytes(kMiB, std::byte{1}), 0).ok());
  ASSERT_TRUE(copy->WriteAt(Bytes(5, std::byte{2}), 2 * kMiB + 3).ok());
  std::memset(expected_.data() + 2 * kMiB + 3, 2, 5);
  EXPECT_TRUE(ReadBack(*copy) == expected_);
  ASSERT_TRUE(copy->Sync().ok() && source_->Sync().ok());
  ExpectNoFindings();
  copy.reset();
  source_.reset();
  fixture_.Reopen();
  EXPECT_TRUE(ReadBack(*fixture_.store().Find("copy")) == expected_);
}

// T27: the copy shows one snapshot point of a source that is written to between the calls.
TEST_F(ShareTest, IsOneInstantOfAnOpenSource) {
  auto copy = fixture_.MakeVolume("copy", 0);
  const auto from = Pin();
  for (uint64_t at = 0; at < kSize; at += kMiB) {
    ASSERT_TRUE(source_->WriteAt(Bytes(kSize, std::byte{1}), 0).ok());
    ASSERT_TRUE(Share(from, copy, at, std::min(at + kMiB, kSize)).ok());
  }
  EXPECT_TRUE(ReadBack(*copy) == expected_);
}

// Before its sync, the copy's need for the shared layer is known in memory only. The layer is kept
// although the source is overwritten, closed and deleted.
TEST_F(ShareTest, KeepsWhatItSharesBeforeItIsSynced) {
  auto copy = fixture_.MakeVolume("copy", 0);
  {
    const auto from = Pin();
    ASSERT_TRUE(Share(from, copy, 0, kMiB).ok());
    ASSERT_TRUE(copy->Sync().ok());
    ASSERT_TRUE(Share(from, copy, kMiB, kSize).ok());
  }
  ASSERT_TRUE(source_->WriteAt(Bytes(kSize, std::byte{1}), 0).ok());
  ASSERT_TRUE(source_->Sync().ok());
  ASSERT_TRUE(fixture_.store().Delete("db", Caller{}).ok());  // a reason to free hidden blocks
  EXPECT_TRUE(ReadBack(*copy) == expected_);
  ASSERT_TRUE(copy->Sync().ok());
  ExpectNoFindings();
  EXPECT_TRUE(ReadBack(*copy) == expected_);
}

// T30: the copy shows the source's bytes, also its zeros and holes, and also over blocks of the
// copy that were discarded before.
TEST_F(ShareTest, ShowsHolesOfTheSource) {
  ASSERT_TRUE(source_->Discard({kMiB, kMiB}).ok());
  std::memset(expected_.data() + kMiB, 0, kMiB);
  auto copy = fixture_.MakeVolume("copy", kSize);
  const auto from = Pin();
  ASSERT_TRUE(Share(from, copy, 3 * kMiB, kSize).ok());  // in any order
  ASSERT_TRUE(copy->Discard({3 * kMiB, 4096}).ok());
  ASSERT_TRUE(Share(from, copy, 0, 3 * kMiB + 4096).ok());
  EXPECT_TRUE(ReadBack(*copy) == expected_);
  EXPECT_EQ(copy->SeekHole(0).value(), kMiB);
  EXPECT_EQ(copy->SeekData(kMiB).value(), 2 * kMiB);
}

// Sharing never replaces written blocks: kWrongRegion makes the kernel copy instead.
TEST_F(ShareTest, IsRefusedOntoWhatWasWritten) {
  auto full = fixture_.MakeVolume("full", kMiB, kMiB);
  const auto from = Pin();
  EXPECT_EQ(Share(from, full, 0, kMiB).error().code, Errc::kWrongRegion);
  auto copy = fixture_.MakeVolume("copy", 0);
  ASSERT_TRUE(Share(from, copy, 0, kMiB).ok());
  ASSERT_TRUE(copy->WriteAt(Bytes(1, std::byte{3}), 2 * kMiB).ok());
  EXPECT_EQ(Share(from, copy, kMiB, 3 * kMiB).error().code, Errc::kWrongRegion);
  EXPECT_TRUE(Share(from, copy, kMiB, 2 * kMiB).ok());
  const auto later = Pin();  // another snapshot point: the copy is not empty any more
  EXPECT_EQ(Share(later, copy, 3 * kMiB, kSize).error().code, Errc::kWrongRegion);
}

TEST_F(ShareTest, IsRefusedAcrossNodesAndWhileTheSourceIsLocked) {
  CreateRequest request;
  request.name = "far";
  request.node = "b";
  auto far = fixture_.store().Create(request, Caller{});
  ASSERT_TRUE(far.ok());
  EXPECT_FALSE(fixture_.store().MayShare(*source_, *far.value()));
  EXPECT_EQ(Share(Pin(), far.value(), 0, kMiB).error().code, Errc::kWrongRegion);
  fixture_.store().hydrator().throttle().SetRate(0);
  ASSERT_TRUE(fixture_.store().Clone({.source = "db", .name = "x"}, Caller{}).ok());
  EXPECT_EQ(fixture_.store().PinSnapshotPoint(source_).error().code, Errc::kBusy);
}

// Restores by `cp snapshots/db/s volumes/copy`. The snapshot may be deleted afterwards.
TEST_F(ShareTest, FromASnapshot) {
  const auto info = fixture_.store().TakeSnapshot("db", "s", Caller{});
  ASSERT_TRUE(info.ok());
  ASSERT_TRUE(source_->WriteAt(Bytes(kSize, std::byte{1}), 0).ok());
  auto copy = fixture_.MakeVolume("copy", 0);
  {
    const auto open = fixture_.store().OpenSnapshotImage(info.value().id);
    ASSERT_TRUE(Share(open.value(), copy, 0, kSize).ok());
  }
  ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", "s", Caller{}).ok());
  EXPECT_TRUE(ReadBack(*copy) == expected_);
  ASSERT_TRUE(copy->Sync().ok());
  ASSERT_TRUE(fixture_.store().Delete("db", Caller{}).ok());
  EXPECT_TRUE(ReadBack(*copy) == expected_);
  ExpectNoFindings();
}

}  // namespace
}  // namespace volfs
