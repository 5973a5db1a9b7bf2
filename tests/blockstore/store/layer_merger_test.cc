// Goal: layers without a use of their own are merged in the background. The merge changes no byte
// that a reader sees and delays no request.
// Method: stores of one volume with snapshots and clones in the positions that matter. The files of
// layers/ and the catalog are compared with the written bytes. The simulation (tests/sim) shows
// that no crash and no schedule breaks it.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "blockstore/io/posix_node.h"
#include "blockstore/store/store.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;
constexpr uint64_t kMergeBlock = kDefaultBlockSize;
// Merging gives way to all other work, so a busy machine takes long.
constexpr Nanoseconds kWait = std::chrono::minutes(2);

class LayerMergerTest : public testing::Test {
 protected:
  void Write(Volume& volume, uint64_t offset, uint64_t bytes, uint8_t with) {
    ASSERT_TRUE(volume.WriteAt(Bytes(bytes, std::byte{with}), offset).ok());
  }

  void Snapshot(const std::string& name, const std::string& of = "db") {
    const auto taken = fixture_.store().TakeSnapshot(of, name, Caller{});
    ASSERT_TRUE(taken.ok()) << taken.error().message;
  }

  void DeleteSnapshot(const std::string& name) {
    ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", name, Caller{}).ok());
  }

  [[nodiscard]] std::vector<fs::path> Files() const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(fixture_.NodePath("a") + "/layers")) {
      files.push_back(entry.path());
    }
    return files;
  }

  // Closes the store and opens it again. Returns the layers that the mount finds.
  [[nodiscard]] std::vector<LayerRecord> Layers() {
    fixture_.Close();
    std::vector<LayerRecord> layers;
    {
      auto directory = OpenPosixNode(fixture_.NodePath("a"));
      const auto node = Node::Open(std::move(directory.value()));
      layers = node.value()->contents().layers;
    }
    fixture_.Reopen();
    return layers;
  }

  // Waits until there are `count` files, because nothing is left to merge.
  [[nodiscard]] bool WaitForFiles(size_t count) const {
    const Nanoseconds deadline = MonotonicNow() + kWait;
    while (Files().size() != count && MonotonicNow() < deadline) {
      SleepFor(std::chrono::milliseconds(20));
    }
    return Files().size() == count;
  }

  // Waits until the volume's head is flat and the layer below it is gone.
  [[nodiscard]] static bool WaitUntilFlat(Volume& volume) {
    const auto flat = [&] {
      const Epoch::Reader reader = volume.node().epoch().Enter();
      return volume.head()->flat();
    };
    const Nanoseconds deadline = MonotonicNow() + kWait;
    while (!flat() && MonotonicNow() < deadline) SleepFor(std::chrono::milliseconds(20));
    return flat();
  }

  void ExpectShows(const std::string& name, const Bytes& bytes) {
    const auto volume = fixture_.store().Find(name);
    ASSERT_NE(volume, nullptr);
    EXPECT_TRUE(ReadBack(*volume) == bytes) << name;
  }

  void ExpectSnapshotShows(const std::string& name, const Bytes& bytes) {
    const auto db = fixture_.store().Find("db");
    for (const SnapshotInfo& info : fixture_.store().Snapshots(db->id())) {
      if (info.name != name) continue;
      const auto open = fixture_.store().OpenSnapshotImage(info.id);
      ASSERT_TRUE(open.ok());
      Bytes now(bytes.size());
      ASSERT_TRUE(open.value()->image().ReadAt(now, 0).ok());
      EXPECT_TRUE(now == bytes) << name;
      return;
    }
    FAIL() << "no snapshot " << name;
  }

  void ExpectClean() {
    for (const std::string& finding : LastingFindings(fixture_.store())) ADD_FAILURE() << finding;
  }

  StoreFixture fixture_;
};

// Promise 7.4: one raw file, of exactly the volume's size, that any program can read.
TEST_F(LayerMergerTest, AVolumeWithoutSnapshotsIsOneRawFileAgain) {
  const auto db = fixture_.MakeVolume("db", 5 * kMiB + 1000, 3 * kMiB);
  Snapshot("s");
  Write(*db, kMiB + 5, 300000, 1);
  ASSERT_TRUE(db->Discard({2 * kMiB, 100 * kMergeBlock}).ok());
  ASSERT_TRUE(db->Grow(6 * kMiB + 77).ok());
  Write(*db, 5 * kMiB + 990, 100, 2);
  const Bytes then = ReadBack(*db);
  DeleteSnapshot("s");
  ASSERT_TRUE(WaitForFiles(1));
  ExpectShows("db", then);

  const std::vector<LayerRecord> layers = Layers();
  ASSERT_EQ(layers.size(), 1U);
  EXPECT_EQ(layers.front().parent, kNoId);
  EXPECT_EQ(layers.front().size_bytes, then.size());
  std::ifstream raw(Files().front(), std::ios::binary);
  std::vector<char> bytes((std::istreambuf_iterator<char>(raw)), {});
  ASSERT_EQ(bytes.size(), then.size());
  EXPECT_EQ(std::memcmp(bytes.data(), then.data(), then.size()), 0);
  ExpectShows("db", then);
  ExpectClean();
}

// The smaller part moves. Here the snapshot has less than the volume has overwritten.
TEST_F(LayerMergerTest, TheSmallerLayerIsMovedIntoTheLarger) {
  const auto db = fixture_.MakeVolume("db", 32 * kMiB, 32 * kMiB);
  Snapshot("s");
  Write(*db, 0, 31 * kMiB, 7);
  ASSERT_TRUE(db->Sync().ok());
  const Bytes then = ReadBack(*db);
  const std::vector<fs::path> before = Files();
  const std::string head = db->head()->FileName().substr(7);
  DeleteSnapshot("s");
  ASSERT_TRUE(WaitUntilFlat(*db));
  ASSERT_TRUE(WaitForFiles(1));
  EXPECT_EQ(Files().front().filename(), head);
  ExpectShows("db", then);
  ASSERT_EQ(Layers().size(), 1U);
  ExpectShows("db", then);
  ExpectClean();
}

// Slices end in the middle of a run, at blocks that are zeros and cost nothing, and at holes.
TEST_F(LayerMergerTest, ManySmallSlicesMoveEverything) {
  fixture_.Reopen({.merge_slice_bytes = 16 * kMergeBlock});
  const auto db = fixture_.MakeVolume("db", 3 * kMiB + 1000, 3 * kMiB);
  Snapshot("s");
  for (uint64_t at = 0; at < kMiB; at += 25 * kMergeBlock) {
    Write(*db, at, 7 * kMergeBlock, 0x11);
    Write(*db, at + 7 * kMergeBlock, 9 * kMergeBlock, 0);
    Write(*db, at + 16 * kMergeBlock, 3 * kMergeBlock + 5, 0x12);
    ASSERT_TRUE(db->Discard({at + 20 * kMergeBlock, 3 * kMergeBlock}).ok());
  }
  ASSERT_TRUE(db->Sync().ok());
  const Bytes expected = ReadBack(*db);
  Snapshot("t");
  DeleteSnapshot("s");
  ASSERT_TRUE(WaitForFiles(1));
  ExpectShows("db", expected);
  ExpectSnapshotShows("t", expected);
  ExpectClean();
}

// T32: rolling snapshots (take one, delete the oldest) keep the chain as long as there are
// snapshots, plus one.
TEST_F(LayerMergerTest, UnderRollingSnapshotsTheChainStaysShort) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  constexpr int kRounds = 40;
#else
  constexpr int kRounds = 1000;
#endif
  constexpr int kKept = 3;
  constexpr size_t kMaxFiles = 150;  // a few are made while one look at the chain lasts
  const auto db = fixture_.MakeVolume("db", 4 * kMiB, 4 * kMiB);
  std::vector<Bytes> kept;
  size_t longest = 0;
  for (int i = 0; i < kRounds; ++i) {
    Write(*db, static_cast<uint64_t>(i * 37 % 1000) * kMergeBlock, 3 * kMergeBlock,
          static_cast<uint8_t>(i + 1));
    if (i >= kRounds - kKept) kept.push_back(ReadBack(*db));
    Snapshot("s" + std::to_string(i));
    if (i >= kKept) DeleteSnapshot("s" + std::to_string(i - kKept));
    longest = std::max(longest, Files().size());
  }
  EXPECT_LE(longest, kMaxFiles);
  const Bytes then = ReadBack(*db);
  // There was no write to the head since, so it has no file.
  ASSERT_TRUE(WaitForFiles(kKept));
  EXPECT_EQ(Layers().size(), kKept + 1U);
  ExpectShows("db", then);
  for (int i = 0; i < kKept; ++i) {
    ExpectSnapshotShows("s" + std::to_string(kRounds - kKept + i), kept[static_cast<size_t>(i)]);
  }
  ExpectClean();
}

TEST_F(LayerMergerTest, ASnapshotInTheMiddleLeavesItsNeighboursAsTheyAre) {
  const auto db = fixture_.MakeVolume("db", 4 * kMiB, 2 * kMiB);
  const Bytes first = ReadBack(*db);
  Snapshot("s1");
  Write(*db, kMiB, kMiB, 1);
  ASSERT_TRUE(db->Discard({0, kMiB / 2}).ok());
  Snapshot("s2");
  Write(*db, kMiB / 4, kMiB, 2);
  const Bytes third = ReadBack(*db);
  Snapshot("s3");
  Write(*db, 3 * kMiB, kMergeBlock, 3);
  const Bytes now = ReadBack(*db);
  DeleteSnapshot("s2");
  ASSERT_TRUE(WaitForFiles(3));
  EXPECT_EQ(Layers().size(), 3U);
  ExpectSnapshotShows("s1", first);
  ExpectSnapshotShows("s3", third);
  ExpectShows("db", now);
  ExpectClean();
}

// Volumes that share a layer keep it. Only layers that no two volumes share differently are merged.
TEST_F(LayerMergerTest, LinkedClonesKeepWhatTheyShare) {
  const auto db = fixture_.MakeVolume("db", 4 * kMiB, 4 * kMiB);
  const CloneRequest request{.source = "db", .name = "x", .linked = true};
  ASSERT_TRUE(fixture_.store().Clone(request, Caller{}).ok());
  Write(*db, 0, kMiB, 1);
  Write(*fixture_.store().Find("x"), kMiB, kMiB, 2);
  const Bytes then = ReadBack(*db);
  const Bytes of_clone = ReadBack(*fixture_.store().Find("x"));
  SleepFor(std::chrono::milliseconds(500));
  ASSERT_EQ(Layers().size(), 3U);
  ExpectShows("db", then);
  ExpectShows("x", of_clone);
  ASSERT_TRUE(fixture_.store().Delete("db", Caller{}).ok());
  ASSERT_TRUE(WaitForFiles(1));
  EXPECT_EQ(Layers().size(), 1U);
  ExpectShows("x", of_clone);
  ExpectClean();
}

// Both the source of a clone that became whole and the clone are one file again.
TEST_F(LayerMergerTest, AClonesSourceIsOneFileAgainWhenTheCloneIsWhole) {
  const auto db = fixture_.MakeVolume("db", 4 * kMiB, 4 * kMiB);
  const Bytes before = ReadBack(*db);
  fixture_.store().hydrator().throttle().SetRate(0);
  ASSERT_TRUE(fixture_.store().Clone({.source = "db", .name = "x"}, Caller{}).ok());
  Write(*db, 12345, kMiB, 1);
  const Bytes then = ReadBack(*db);
  SleepFor(std::chrono::milliseconds(500));
  EXPECT_EQ(Files().size(), 2U);  // the clone needs the source's layer unchanged
  fixture_.store().hydrator().throttle().SetRate(Throttle::kUnlimited);
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  ASSERT_TRUE(WaitForFiles(1));
  ExpectShows("db", then);
  ExpectShows("x", before);
  ExpectClean();
}

// A reader of a deleted snapshot can read it to the end.
TEST_F(LayerMergerTest, WaitsForWhoHasASnapshotOpen) {
  const auto db = fixture_.MakeVolume("db", 4 * kMiB, 4 * kMiB);
  const Bytes first = ReadBack(*db);
  Snapshot("s1");
  Write(*db, 0, kMiB, 1);
  const Bytes second = ReadBack(*db);
  Snapshot("s2");
  Write(*db, 0, kMiB, 2);
  const Bytes now = ReadBack(*db);
  auto open =
      fixture_.store().OpenSnapshotImage(fixture_.store().Snapshots(db->id()).back().id);  // s2
  ASSERT_TRUE(open.ok());
  DeleteSnapshot("s1");
  DeleteSnapshot("s2");
  SleepFor(std::chrono::milliseconds(600));
  Bytes seen(second.size());
  ASSERT_TRUE(open.value()->image().ReadAt(seen, 0).ok());
  EXPECT_TRUE(seen == second);
  EXPECT_GT(Files().size(), 1U);
  open.value().reset();
  ASSERT_TRUE(WaitForFiles(1));
  ExpectShows("db", now);
  ExpectClean();
}

TEST_F(LayerMergerTest, WhatAShrinkCutOffDoesNotComeBack) {
  StoreOptions options;
  options.allow_shrink = true;
  fixture_.Reopen(options);
  const auto db = fixture_.MakeVolume("db", 4 * kMiB, 4 * kMiB);
  Snapshot("s1");
  Write(*db, 0, kMergeBlock, 1);
  Snapshot("s2");
  Write(*db, kMergeBlock, kMergeBlock, 2);
  ASSERT_TRUE(fixture_.store().Shrink(*db, kMiB + 100).ok());
  ASSERT_TRUE(db->Grow(3 * kMiB).ok());
  ASSERT_TRUE(db->Sync().ok());
  const Bytes then = ReadBack(*db);
  EXPECT_EQ(then[2 * kMiB], std::byte{0});
  DeleteSnapshot("s2");
  ASSERT_TRUE(WaitForFiles(2));
  ExpectShows("db", then);
  DeleteSnapshot("s1");
  ASSERT_TRUE(WaitForFiles(1));
  ExpectShows("db", then);
  ASSERT_EQ(Layers().size(), 1U);
  ExpectShows("db", then);
  ExpectClean();
}

// The head holds more than can be moved while writers wait. It is frozen, then moved, repeatedly.
TEST_F(LayerMergerTest, AHeadIsMergedUnderItsWriters) {
  StoreOptions options;
  options.merge_slice_bytes = 64 * kMergeBlock;
  fixture_.Reopen(options);
  const auto db = fixture_.MakeVolume("db", 8 * kMiB, 8 * kMiB);
  Snapshot("s");
  Write(*db, 0, kMiB, 1);
  DeleteSnapshot("s");
  std::atomic<bool> stop{false};
  Bytes model = ReadBack(*db);
  Thread writer("writer", [&] {
    for (uint32_t i = 0; !stop.load(); ++i) {
      const uint64_t at = (i * 7919 % 1000) * kMergeBlock + i % 512;
      const Bytes bytes(5000, std::byte{static_cast<uint8_t>(i)});
      EXPECT_TRUE(db->WriteAt(bytes, at).ok());
      std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<ptrdiff_t>(at));
      if (i % 64 == 0) {
        EXPECT_TRUE(db->Sync().ok());
      }
      SleepFor(std::chrono::microseconds(200));
    }
  });
  SleepFor(std::chrono::seconds(3));
  stop.store(true);
  writer.Join();
  EXPECT_TRUE(ReadBack(*db) == model);
  ASSERT_TRUE(WaitUntilFlat(*db));
  ASSERT_TRUE(WaitForFiles(1));
  ExpectShows("db", model);
  ASSERT_EQ(Layers().size(), 1U);
  ExpectShows("db", model);
  ExpectClean();
}

// Two layers of which one was cut are not merged, in neither direction. Lost bytes are an error and
// never zeros: in this mount, in the next one, and for the check.
TEST_F(LayerMergerTest, ALayerThatWasCutIsNotMerged) {
  struct Case {
    const char* name;
    uint64_t under_bytes, over_bytes;  // `over` has the last bytes of the volume
    bool cuts_under;
  };
  for (const Case& one : {Case{"down", 8 * kMiB, kMiB, true}, Case{"down", 8 * kMiB, kMiB, false},
                          Case{"up", kMiB, 6 * kMiB, true}, Case{"up", kMiB, 6 * kMiB, false}}) {
    SCOPED_TRACE(one.name + std::string(one.cuts_under ? ", lower" : ", upper"));
    StoreFixture store;
    const std::string layers = store.NodePath("a") + "/layers";
    const auto files = [&] {
      std::set<fs::path> names;
      for (const auto& entry : fs::directory_iterator(layers)) names.insert(entry.path());
      return names;
    };
    const auto db = store.MakeVolume("db", 8 * kMiB, one.under_bytes);
    const fs::path under = *files().begin();
    store.store().hydrator().throttle().SetRate(0);
    ASSERT_TRUE(store.store().TakeSnapshot("db", "s", Caller{}).ok());
    const Bytes bytes(one.over_bytes, std::byte{7});
    ASSERT_TRUE(db->WriteAt(bytes, 8 * kMiB - one.over_bytes).ok());
    const Bytes then = ReadBack(*db);
    ASSERT_TRUE(db->Sync().ok());
    ASSERT_EQ(files().size(), 2U);
    const fs::path over = under == *files().begin() ? *files().rbegin() : *files().begin();
    ASSERT_TRUE(store.store().TakeSnapshot("db", "t", Caller{}).ok());  // both are frozen
    fs::resize_file(one.cuts_under ? under : over, kMiB / 2);
    ASSERT_TRUE(store.store().DeleteSnapshot("db", "s", Caller{}).ok());
    store.store().hydrator().throttle().SetRate(Throttle::kUnlimited);
    EXPECT_TRUE(store.WaitForStatus("db", "error"));
    SleepFor(std::chrono::seconds(1));
    const auto expect_no_zeros = [&] {
      uint64_t lost = 0;
      for (uint64_t at = 0; at < then.size(); at += kMergeBlock) {
        Bytes block(kMergeBlock);
        if (!store.store().Find("db")->ReadAt(block, at).ok()) {
          lost += block.size();
        } else {
          ASSERT_EQ(std::memcmp(block.data(), then.data() + at, block.size()), 0) << at;
        }
      }
      EXPECT_GT(lost, 0U);
      EXPECT_EQ(files().size(), 2U);
    };
    expect_no_zeros();
    const std::vector<std::string> found = CheckFindings(store.store());
    EXPECT_TRUE(std::any_of(found.begin(), found.end(), [](const std::string& text) {
      return text.find("524288") != std::string::npos;
    })) << testing::PrintToString(found);
    store.Reopen();
    expect_no_zeros();
  }
}

// limits/copy_rate 0 pauses merging, as it pauses all copying.
TEST_F(LayerMergerTest, IsPausedWithAllCopying) {
  const auto db = fixture_.MakeVolume("db", 4 * kMiB, 4 * kMiB);
  fixture_.store().hydrator().throttle().SetRate(0);
  Snapshot("s");
  Write(*db, 0, kMiB, 1);
  ASSERT_TRUE(db->Sync().ok());
  DeleteSnapshot("s");
  SleepFor(std::chrono::milliseconds(600));
  EXPECT_EQ(Files().size(), 2U);
  fixture_.store().hydrator().throttle().SetRate(Throttle::kUnlimited);
  EXPECT_TRUE(WaitForFiles(1));
}

}  // namespace
}  // namespace volfs
