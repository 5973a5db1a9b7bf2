// Goal: cost grows linearly with the work to do, not with its square nor with the nominal size of a
// volume (ARCHITECTURE, "What is bounded"). Counted are the host's answers where data ends, the
// commits and frees of a huge discard, and the time for which it delays others.
// Method: stores over nodes that count the calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "blockstore/io/posix_node.h"
#include "blockstore/store/store.h"
#include "tests/support/forwarding_node.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

constexpr uint64_t kCostBlock = kDefaultBlockSize;
constexpr uint64_t kCostTiB = uint64_t{1} << 40;

struct Calls {
  std::atomic<uint64_t> ranges{0};  // where does data end? May walk all of the file
  std::atomic<uint64_t> punches{0};
  std::atomic<uint64_t> largest_punch_bytes{0};
  std::atomic<int> punch_takes_ms{0};
};

class CountingFile final : public ForwardingFile {
 public:
  CountingFile(std::unique_ptr<NodeFile> file, Calls& calls)
      : ForwardingFile(std::move(file)), calls_(calls) {}
  Result<std::optional<ByteRange>> NextData(uint64_t offset_bytes) override {
    ++calls_.ranges;
    return file_->NextData(offset_bytes);
  }
  Status Punch(const ByteRange& range) override {
    ++calls_.punches;
    calls_.largest_punch_bytes =
        std::max(calls_.largest_punch_bytes.load(), uint64_t{range.length_bytes});
    SleepFor(std::chrono::milliseconds(calls_.punch_takes_ms));
    return file_->Punch(range);
  }

 private:
  Calls& calls_;
};

class CountingNode final : public ForwardingNode {
 public:
  CountingNode(std::unique_ptr<NodeDirectory> node, Calls& calls)
      : ForwardingNode(std::move(node)), calls_(calls) {}
  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override {
    ASSIGN_OR_RETURN(auto file, node_->Open(name, mode));
    return std::unique_ptr<NodeFile>(std::make_unique<CountingFile>(std::move(file), calls_));
  }

 private:
  Calls& calls_;
};

class BoundedCostTest : public testing::Test {
 protected:
  // Opens the fixture's nodes and counts their calls from now on.
  void OpenCounted(const StoreOptions& options = {}) {
    fixture_.Close();
    std::vector<std::unique_ptr<Node>> nodes;
    for (const char* name : {"a", "b"}) {
      auto directory = OpenPosixNode(fixture_.NodePath(name));
      auto node = Node::Open(std::make_unique<CountingNode>(std::move(directory.value()), calls_));
      nodes.push_back(std::move(node.value()));
    }
    store_ = std::move(Store::Open(std::move(nodes), options).value());
    calls_.ranges = calls_.punches = calls_.largest_punch_bytes = 0;
  }

  [[nodiscard]] std::shared_ptr<Volume> Find(const std::string& name) const {
    return store_->Find(name);
  }
  static void Write(Volume& volume, uint64_t offset, uint64_t bytes, uint8_t with) {
    const std::vector<std::byte> data(bytes, std::byte{with});
    ASSERT_TRUE(volume.WriteAt(data, offset).ok());
  }
  void Snapshot(const std::string& name) {
    const auto taken = store_->TakeSnapshot("db", name, Caller{});
    ASSERT_TRUE(taken.ok()) << taken.error().message;
  }
  void DeleteSnapshot(const std::string& name) {
    ASSERT_TRUE(store_->DeleteSnapshot("db", name, Caller{}).ok());
  }
  // Writes every eighth block of a head over a dense flat layer.
  void WriteEveryEighth(Volume& volume, uint64_t bytes) {
    for (uint64_t at = 0; at < bytes; at += 8 * kCostBlock) Write(volume, at, kCostBlock, 0x77);
    ASSERT_TRUE(volume.Sync().ok());
  }
  void CloneAndWait(const std::string& name) {
    const auto clone = store_->Clone({.source = "db", .name = name}, Caller{});
    ASSERT_TRUE(clone.ok()) << clone.error().message;
    const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(60);
    while (store_->Info(name).value().status != "available" && MonotonicNow() < deadline) {
      SleepFor(std::chrono::milliseconds(5));
    }
    EXPECT_EQ(store_->Info(name).value().status, "available");
    EXPECT_TRUE(ReadBack(*clone.value()) == ReadBack(*Find("db")));
  }
  [[nodiscard]] bool WaitForFiles(size_t count) const {
    const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(60);
    const auto files = [&] {
      const std::filesystem::directory_iterator directory(fixture_.NodePath("a") + "/layers");
      return static_cast<size_t>(std::distance(begin(directory), end(directory)));
    };
    while (files() != count && MonotonicNow() < deadline) SleepFor(std::chrono::milliseconds(20));
    return files() == count;
  }
  [[nodiscard]] uint64_t CommitsOfA() const { return store_->nodes()[0]->catalog().commits(); }
  void ExpectByte(Volume& volume, uint64_t offset, uint8_t expected) {
    std::byte byte{0xff};
    ASSERT_TRUE(volume.ReadAt({&byte, 1}, offset).ok());
    EXPECT_EQ(byte, std::byte{expected}) << "at " << offset;
  }

  StoreFixture fixture_;
  Calls calls_;
  std::unique_ptr<Store> store_;
};

// The host is asked once for each walk (counting, copying, the last look), not for each of the 64
// pieces.
TEST_F(BoundedCostTest, CopyingAsksOnceForEachRangeOfData) {
  fixture_.MakeVolume("db", 64 * kMiB, 64 * kMiB);
  OpenCounted();
  CloneAndWait("x");
  EXPECT_LE(calls_.ranges, 8U);
}

// Nor is it asked for each of the thousand extents of the map that lie in one range of data.
TEST_F(BoundedCostTest, CopyingAFragmentedVolumeAsksOnceForEachRangeOfData) {
  fixture_.MakeVolume("db", 32 * kMiB, 32 * kMiB);
  OpenCounted({.merge = false});
  Snapshot("s");
  WriteEveryEighth(*Find("db"), 32 * kMiB);
  CloneAndWait("x");
  EXPECT_LE(calls_.ranges, 16U);
}

// Blocks that readers want first lie in a range that the walk already knows, in any order.
TEST_F(BoundedCostTest, WhatReadersWantFirstIsNotWalked) {
  fixture_.MakeVolume("db", 32 * kMiB, 32 * kMiB);
  OpenCounted({.copy_rate = 0});
  const auto clone = store_->Clone({.source = "db", .name = "x"}, Caller{});
  ASSERT_TRUE(clone.ok()) << clone.error().message;
  std::byte byte;
  for (uint64_t at = 32 * kMiB; at > 0; at -= kMiB) {
    ASSERT_TRUE(clone.value()->ReadAt({&byte, 1}, at - 1).ok());
  }
  store_->hydrator().throttle().SetRate(Throttle::kUnlimited);
  const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(60);
  while (store_->Info("x").value().status != "available" && MonotonicNow() < deadline) {
    SleepFor(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(store_->Info("x").value().status, "available");
  EXPECT_LE(calls_.ranges, 8U);
}

TEST_F(BoundedCostTest, SeekingInAFragmentedVolumeAsksOnceForEachRangeOfData) {
  fixture_.MakeVolume("db", 32 * kMiB, 32 * kMiB);
  OpenCounted({.merge = false});
  Snapshot("s");
  const auto db = Find("db");
  WriteEveryEighth(*db, 32 * kMiB);
  EXPECT_EQ(db->SeekHole(0).value(), 32 * kMiB);
  EXPECT_LE(calls_.ranges, 2U);
  calls_.ranges = 0;
  for (uint64_t at = 0; at < 32 * kMiB; at += kMiB) EXPECT_EQ(db->SeekData(at).value(), at);
  EXPECT_EQ(calls_.ranges, 0U) << "where data begins is told without a walk";
}

// A slice of merging goes on where the last one ended, within one answer of the host.
TEST_F(BoundedCostTest, MergingUpAsksOnceForEachRangeOfData) {
  fixture_.MakeVolume("db", 80 * kMiB, 24 * kMiB);
  OpenCounted({.merge_slice_bytes = kMiB});
  Snapshot("s");
  const auto db = Find("db");
  Write(*db, 32 * kMiB, 48 * kMiB, 0x21);  // more than the layer below has
  ASSERT_TRUE(db->Sync().ok());
  std::vector<std::byte> expected = ReadBack(*db);
  Snapshot("t");
  DeleteSnapshot("s");
  ASSERT_TRUE(WaitForFiles(1));
  EXPECT_LE(calls_.ranges, 12U);
  EXPECT_TRUE(ReadBack(*db) == expected);
}

// A discard of 8 TiB is one row and one slice. It needs neither a commit for each 4 GiB nor an
// entry for each 16 MiB.
TEST_F(BoundedCostTest, AHugeDiscardIsMergedInAFewCommits) {
  fixture_.MakeVolume("db", kMiB);
  OpenCounted();
  const auto db = Find("db");
  ASSERT_TRUE(db->Grow(8 * kCostTiB).ok());
  Write(*db, 0, kCostBlock, 0x31);
  Write(*db, 5 * kCostTiB, kCostBlock, 0x32);
  ASSERT_TRUE(db->Sync().ok());
  Snapshot("s1");
  ASSERT_TRUE(db->Discard({0, 8 * kCostTiB}).ok());
  ASSERT_TRUE(db->Sync().ok());
  Snapshot("s2");
  Write(*db, 3 * kCostTiB, kCostBlock, 0x33);
  ASSERT_TRUE(db->Sync().ok());
  const uint64_t before = CommitsOfA();
  DeleteSnapshot("s1");
  ASSERT_TRUE(WaitForFiles(2));  // the files of s2 and of the head
  EXPECT_LE(CommitsOfA() - before, 32U);
  EXPECT_LE(calls_.largest_punch_bytes, Layer::kPunchBytes);
  ExpectByte(*db, 0, 0);
  ExpectByte(*db, 5 * kCostTiB, 0);
  ExpectByte(*db, 3 * kCostTiB, 0x33);
  DeleteSnapshot("s2");
  ASSERT_TRUE(WaitForFiles(1));
  ExpectByte(*db, 0, 0);
  ExpectByte(*db, 5 * kCostTiB, 0);
  ExpectByte(*db, 3 * kCostTiB, 0x33);
  EXPECT_THAT(LastingFindings(*store_), testing::IsEmpty());
}

// Only allocated blocks are freed, in calls that hold the host's lock on the file only briefly.
TEST_F(BoundedCostTest, ADiscardOfARawVolumeFreesWhatIsThere) {
  fixture_.MakeVolume("db", kMiB);
  OpenCounted();
  const auto db = Find("db");
  ASSERT_TRUE(db->Grow(8 * kCostTiB).ok());
  Write(*db, kCostTiB, 130 * kMiB, 0x41);
  Write(*db, 7 * kCostTiB + 100, kCostBlock, 0x42);
  ASSERT_TRUE(db->Discard({50, 8 * kCostTiB - 60}).ok());
  EXPECT_LE(calls_.punches, 16U);
  EXPECT_LE(calls_.largest_punch_bytes, Layer::kPunchBytes);
  EXPECT_EQ(db->AllocatedBytes().value(), 0U);
  ExpectByte(*db, kCostTiB + kMiB, 0);
  ExpectByte(*db, 7 * kCostTiB + 100, 0);
}

// A snapshot can be taken between two steps of a long discard.
TEST_F(BoundedCostTest, ASnapshotIsTakenWhileALongDiscardGoesOn) {
  fixture_.MakeVolume("db", kMiB);
  OpenCounted();
  const auto db = Find("db");
  constexpr int kPlaces = 12;
  const uint64_t step = 4 * Layer::kPunchBytes;
  ASSERT_TRUE(db->Grow(kPlaces * step).ok());
  for (int i = 0; i < kPlaces; ++i) Write(*db, i * step, kCostBlock, 0x51);
  ASSERT_TRUE(db->Sync().ok());
  calls_.punch_takes_ms = 150;
  std::thread discards([&] { EXPECT_TRUE(db->Discard({0, kPlaces * step}).ok()); });
  while (calls_.punches == 0) SleepFor(std::chrono::milliseconds(1));
  const auto taken = store_->TakeSnapshot("db", "s", Caller{});
  EXPECT_TRUE(taken.ok()) << taken.error().message;
  discards.join();
  const auto image = store_->OpenSnapshotImage(store_->Snapshots(db->id()).front().id);
  ASSERT_TRUE(image.ok()) << image.error().message;
  std::byte first{0xff};
  std::byte last{0xff};
  ASSERT_TRUE(image.value()->image().ReadAt({&first, 1}, 0).ok());
  ASSERT_TRUE(image.value()->image().ReadAt({&last, 1}, (kPlaces - 1) * step).ok());
  EXPECT_EQ(first, std::byte{0});
  EXPECT_EQ(last, std::byte{0x51}) << "it was to be taken in the middle";
  for (int i = 0; i < kPlaces; ++i) ExpectByte(*db, i * step, 0);
}

// Blocks that a deleted snapshot leaves hidden are all freed, in commits of a bounded size.
TEST_F(BoundedCostTest, ManyHiddenBlocksAreFreedInSeveralCommits) {
  constexpr uint64_t kRuns = PresenceChunk::kChunkBlocks / 2 + 50;  // every second block
  fixture_.MakeVolume("db", kRuns * 2 * kCostBlock);
  OpenCounted({.merge = false});
  const auto db = Find("db");
  const auto write_all = [&](uint8_t with) {
    for (uint64_t i = 0; i < kRuns; ++i) Write(*db, i * 2 * kCostBlock, kCostBlock, with);
  };
  Snapshot("s0");
  write_all(0x61);
  Snapshot("s1");  // freezes these blocks over the raw ones
  write_all(0x62);
  ASSERT_TRUE(db->Sync().ok());
  const auto linked = store_->Clone({.source = "db", .name = "l", .linked = true}, Caller{});
  ASSERT_TRUE(linked.ok()) << linked.error().message;
  const uint64_t before = CommitsOfA();
  DeleteSnapshot("s1");
  EXPECT_GE(CommitsOfA() - before, 3U);
  EXPECT_GE(calls_.punches, kRuns);
  for (uint64_t i = 0; i < kRuns; i += 97) ExpectByte(*db, i * 2 * kCostBlock, 0x62);
  EXPECT_THAT(LastingFindings(*store_), testing::IsEmpty());
}

}  // namespace
}  // namespace volfs
