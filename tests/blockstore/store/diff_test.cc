// Goal: a diff has each byte that differs between two images, whatever was done to the layers in
// between, and little else.
// Method: volumes with snapshots, whose bytes are read and compared. The simulation does the same
// in random histories with crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "blockstore/base/zeros.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

using Bytes = std::vector<std::byte>;
constexpr uint64_t kDiffBlock = kDefaultBlockSize;
constexpr uint64_t kSize = 64 * kDiffBlock;

struct Range {
  uint64_t offset;
  uint64_t length;
  bool zero;
  bool operator==(const Range&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Range& range) {
  return out << range.offset / kDiffBlock << '+' << range.length << (range.zero ? "z" : "d");
}

std::vector<Range> RangesOf(const OpenDiff& diff) {
  std::vector<Range> ranges;
  ImageDiff walk = diff.Ranges();
  while (const auto range = walk.Next()) {
    ranges.push_back({range->bytes.offset_bytes, range->bytes.length_bytes, range->zero});
  }
  return ranges;
}

Range Data(uint64_t block, uint64_t blocks = 1) {
  return {block * kDiffBlock, blocks * kDiffBlock, false};
}
Range Zero(uint64_t block, uint64_t blocks = 1) {
  return {block * kDiffBlock, blocks * kDiffBlock, true};
}

class DiffTest : public ::testing::Test {
 protected:
  void SetUp() override { db_ = fixture_.MakeVolume("db", kSize, kSize); }

  void Write(uint64_t block, uint64_t blocks, uint8_t with) {
    ASSERT_TRUE(db_->WriteAt(Bytes(blocks * kDiffBlock, std::byte{with}), block * kDiffBlock).ok());
  }
  void Discard(uint64_t block, uint64_t blocks) {
    ASSERT_TRUE(db_->Discard({block * kDiffBlock, blocks * kDiffBlock}).ok());
  }
  Id Snapshot(const std::string& name) {
    const auto taken = fixture_.store().TakeSnapshot("db", name, Caller{});
    EXPECT_TRUE(taken.ok()) << taken.error().message;
    bytes_[taken.value().id] = ReadBack(*db_);
    return taken.value().id;
  }
  std::shared_ptr<OpenDiff> Diff(Id before, Id after) {
    auto diff = fixture_.store().OpenDiffOf(before, after);
    EXPECT_TRUE(diff.ok()) << diff.error().message;
    ExpectTrue(*diff.value(), bytes_.at(before), bytes_.at(after));
    return diff.value();
  }
  std::shared_ptr<OpenDiff> Now(Id before, Store::Bytes bytes = Store::Bytes::kRangesOnly) {
    auto diff = fixture_.store().OpenDiffWithNow(before, db_, bytes);
    EXPECT_TRUE(diff.ok()) << diff.error().message;
    ExpectTrue(*diff.value(), bytes_.at(before), ReadBack(*db_));
    return diff.value();
  }
  // Nothing that differs is left out, zeros are zeros, and the ranges are in order.
  static void ExpectTrue(const OpenDiff& diff, const Bytes& before, const Bytes& after) {
    ASSERT_EQ(diff.size_bytes(), after.size());
    uint64_t same_from = 0;
    for (const Range& range : RangesOf(diff)) {
      ASSERT_GE(range.offset, same_from);
      ASSERT_GT(range.length, 0U);
      ASSERT_LE(range.offset + range.length, after.size());
      ExpectSame(before, after, same_from, range.offset);
      same_from = range.offset + range.length;
      if (!range.zero) continue;
      ASSERT_TRUE(AllZero(std::span(after).subspan(range.offset, range.length)));
    }
    ExpectSame(before, after, same_from, after.size());
  }
  static void ExpectSame(const Bytes& before, const Bytes& after, uint64_t from, uint64_t to) {
    if (from == to) return;
    ASSERT_LE(to, before.size());
    ASSERT_EQ(std::memcmp(before.data() + from, after.data() + from, to - from), 0)
        << "bytes " << from << " to " << to;
  }

  StoreFixture fixture_{{.allow_shrink = true}};
  std::shared_ptr<Volume> db_;
  std::map<Id, Bytes> bytes_;
};

TEST_F(DiffTest, HasWhatWasWrittenAndDiscarded) {
  const Id a = Snapshot("a");
  Write(3, 2, 1);
  Discard(5, 1);
  Write(9, 1, 2);
  const Id b = Snapshot("b");
  EXPECT_THAT(RangesOf(*Diff(a, b)), testing::ElementsAre(Data(3, 2), Zero(5), Data(9)));
  EXPECT_THAT(RangesOf(*Diff(a, a)), testing::IsEmpty());
  Write(3, 1, 3);
  EXPECT_THAT(RangesOf(*Now(b)), testing::ElementsAre(Data(3)));
  EXPECT_THAT(RangesOf(*Now(a)), testing::ElementsAre(Data(3, 2), Zero(5), Data(9)));
  // The other way round it tells how to go back.
  EXPECT_THAT(RangesOf(*Diff(b, a)), testing::ElementsAre(Data(3, 3), Data(9)));
}

// A block that is written in part counts as a whole. Nothing needs to be synced before.
TEST_F(DiffTest, OfTheVolumeHasUnsyncedWrites) {
  const Id a = Snapshot("a");
  ASSERT_TRUE(db_->WriteAt(Bytes(1, std::byte{7}), 10 * kDiffBlock + 5).ok());
  EXPECT_THAT(RangesOf(*Now(a)), testing::ElementsAre(Data(10)));
}

// The end of the smaller image lies within a block of the larger one, which is in the same layer.
TEST_F(DiffTest, OfDifferentSizesHasTheRest) {
  ASSERT_TRUE(fixture_.store().Resize("db", 10 * kDiffBlock + 100, Caller{}).ok());
  const Id small = Snapshot("small");
  ASSERT_TRUE(fixture_.store().Resize("db", 12 * kDiffBlock + 50, Caller{}).ok());
  const Id large = Snapshot("large");
  const std::vector<Range> ranges = RangesOf(*Diff(small, large));
  ASSERT_FALSE(ranges.empty());
  EXPECT_EQ(ranges.front().offset, 10 * kDiffBlock + 100);
  EXPECT_EQ(ranges.back().offset + ranges.back().length, 12 * kDiffBlock + 50);
  EXPECT_THAT(RangesOf(*Diff(large, small)), testing::IsEmpty());
  // Cut within a block, and grown again: the bytes that were cut off are zeros now.
  ASSERT_TRUE(fixture_.store().Resize("db", 4 * kDiffBlock + 9, Caller{}).ok());
  ASSERT_TRUE(fixture_.store().Resize("db", kSize, Caller{}).ok());
  (void)Now(large);
  (void)Now(small);
}

// A volume that was reverted shows the snapshot's blocks: no difference. What another branch wrote
// is one.
TEST_F(DiffTest, AfterARevert) {
  const Id a = Snapshot("a");
  Write(1, 1, 1);
  const Id b = Snapshot("b");
  ASSERT_TRUE(fixture_.store().Revert("db", "a", Caller{}).ok());
  EXPECT_THAT(RangesOf(*Now(a)), testing::IsEmpty());
  EXPECT_THAT(RangesOf(*Now(b)), testing::ElementsAre(Data(1)));
  Write(2, 1, 2);
  const Id c = Snapshot("c");
  EXPECT_THAT(RangesOf(*Diff(b, c)), testing::ElementsAre(Data(1, 2)));
}

// Merging moves the blocks of a deleted snapshot to the layers beside it. The diff of those that
// stay is as small as before.
TEST_F(DiffTest, AfterMerging) {
  const Id a = Snapshot("a");
  Write(1, 4, 1);
  Snapshot("gone");
  Write(3, 4, 2);
  const Id b = Snapshot("b");
  ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", "gone", Caller{}).ok());
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(RangesOf(*Diff(a, b)), testing::ElementsAre(Data(1, 6)));
    SleepFor(std::chrono::milliseconds(10));
  }
  fixture_.Reopen({.allow_shrink = true});
  db_ = fixture_.store().Find("db");
  EXPECT_THAT(RangesOf(*Diff(a, b)), testing::ElementsAre(Data(1, 6)));
}

// Holes of a flat layer are zeros, and zeros that were zeros before are no change: a `fstrim` of
// free space that was never written tells of nothing.
TEST_F(DiffTest, ZerosThatWereHolesAreNoChange) {
  db_ = fixture_.MakeVolume("thin", kSize, 8 * kDiffBlock);
  const auto a = fixture_.store().TakeSnapshot("thin", "a", Caller{});
  Discard(4, 60);
  const auto diff = fixture_.store().OpenDiffWithNow(a.value().id, db_, Store::Bytes::kReadable);
  ASSERT_TRUE(diff.ok());
  EXPECT_THAT(RangesOf(*diff.value()), testing::ElementsAre(Zero(4, 4)));
}

// The sparse image has the changed ranges as data, with the later image's bytes, and holes between
// them.
TEST_F(DiffTest, IsASparseImage) {
  const Id a = Snapshot("a");
  Write(3, 2, 1);
  Discard(5, 1);
  Write(9, 1, 2);
  const auto diff = Now(a, Store::Bytes::kReadable);
  EXPECT_EQ(diff->SeekData(0).value(), 3 * kDiffBlock);
  EXPECT_EQ(diff->SeekData(4 * kDiffBlock + 1).value(), 4 * kDiffBlock + 1);
  EXPECT_EQ(diff->SeekHole(0).value(), 0U);
  EXPECT_EQ(diff->SeekHole(3 * kDiffBlock).value(), 6 * kDiffBlock);
  EXPECT_EQ(diff->SeekData(6 * kDiffBlock).value(), 9 * kDiffBlock);
  EXPECT_EQ(diff->SeekData(10 * kDiffBlock).error().code, Errc::kNoData);
  EXPECT_EQ(diff->SeekHole(10 * kDiffBlock).value(), 10 * kDiffBlock);
  EXPECT_EQ(diff->SeekHole(kSize).error().code, Errc::kNoData);
  Write(3, 1, 9);  // after the open: not in the image
  Bytes bytes(kSize, std::byte{0xff});
  ASSERT_TRUE(diff->ReadAt(bytes, 0).ok());
  Bytes expected(kSize);
  std::fill_n(expected.begin() + 3 * kDiffBlock, 2 * kDiffBlock, std::byte{1});
  std::fill_n(expected.begin() + 9 * kDiffBlock, kDiffBlock, std::byte{2});
  EXPECT_TRUE(bytes == expected);
  Bytes part(3000);
  ASSERT_TRUE(diff->ReadAt(part, 3 * kDiffBlock - 1000).ok());
  EXPECT_TRUE(std::equal(part.begin(), part.end(), expected.begin() + 3 * kDiffBlock - 1000));
}

// A deleted snapshot stays in an open diff, as in an open file.
TEST_F(DiffTest, KeepsItsSnapshots) {
  const Id a = Snapshot("a");
  Write(3, 2, 1);
  const Id b = Snapshot("b");
  const auto diff = Diff(a, b);
  Write(3, 2, 2);
  for (const char* name : {"a", "b"}) {
    ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", name, Caller{}).ok());
  }
  Bytes bytes(2 * kDiffBlock);
  ASSERT_TRUE(diff->ReadAt(bytes, 3 * kDiffBlock).ok());
  EXPECT_TRUE(bytes == Bytes(2 * kDiffBlock, std::byte{1}));
  EXPECT_EQ(fixture_.store().OpenDiffOf(a, b).error().code, Errc::kNotFound);
}

// While a clone is copied, its source takes no other snapshot point. Its ranges can be had.
TEST_F(DiffTest, WithAVolumeThatIsBeingCloned) {
  const Id a = Snapshot("a");
  Write(3, 2, 1);
  fixture_.store().hydrator().throttle().SetRate(0);
  ASSERT_TRUE(fixture_.store().Clone({.source = "db", .name = "x"}, Caller{}).ok());
  EXPECT_EQ(fixture_.store().OpenDiffWithNow(a, db_, Store::Bytes::kReadable).error().code,
            Errc::kBusy);
  EXPECT_THAT(RangesOf(*Now(a)), testing::ElementsAre(Data(3, 2)));
}

// Random histories: every pair of images, after each step.
TEST_F(DiffTest, IsTrueAfterAnyHistory) {
  std::mt19937_64 random(7);
  const auto below = [&](uint64_t n) { return random() % n; };
  uint64_t names = 0;
  std::map<std::string, Id> alive;
  for (int step = 0; step < 150; ++step) {
    const uint64_t block = below(60);
    const uint64_t size = db_->size_bytes();
    const uint64_t dice = below(20);
    if (dice < 8 && (block + 4) * kDiffBlock <= size) {
      Write(block, 1 + below(4), static_cast<uint8_t>(1 + below(255)));
    } else if (dice < 11) {
      Discard(block, 1 + below(20));
    } else if (dice < 14 && alive.size() < 5) {
      const std::string name = "s" + std::to_string(++names);
      alive[name] = Snapshot(name);
    } else if (dice < 16 && alive.size() > 2) {
      const auto gone = std::next(alive.begin(), static_cast<long>(below(alive.size())));
      ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", gone->first, Caller{}).ok());
      alive.erase(gone);
    } else if (dice < 17 && !alive.empty()) {
      const auto to = std::next(alive.begin(), static_cast<long>(below(alive.size())));
      ASSERT_TRUE(fixture_.store().Revert("db", to->first, Caller{}).ok());
    } else if (dice < 18) {
      ASSERT_TRUE(fixture_.store().Resize("db", kDiffBlock * 40 + below(kSize), Caller{}).ok());
    } else if (dice < 19 && step % 3 == 0) {
      db_.reset();
      fixture_.Reopen({.allow_shrink = true});
      db_ = fixture_.store().Find("db");
    }
    for (const auto& [name, before] : alive) {
      (void)Now(before);
      for (const auto& [other, after] : alive) (void)Diff(before, after);
    }
    ASSERT_FALSE(HasFailure()) << "step " << step;
  }
}

}  // namespace
}  // namespace volfs
