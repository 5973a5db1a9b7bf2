// Goal: exclusive_bytes is the number of bytes that deleting the volume or snapshot frees, in every
// position that its layers can have among snapshots and clones. Method: the number before the
// deletion is compared with the files in layers/ before and after it.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "blockstore/store/store.h"
#include "tests/support/store_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;
constexpr uint64_t kSpaceMiB = 1 << 20;

class StoreSpaceTest : public testing::Test {
 protected:
  [[nodiscard]] VolumeInfo InfoOf(const std::string& name) {
    return fixture_.store().Info(name).value();
  }

  [[nodiscard]] uint64_t TakenOn(const std::string& node) const {
    uint64_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(fixture_.NodePath(node) + "/layers")) {
      struct stat st {};
      if (::stat(entry.path().c_str(), &st) == 0)
        bytes += static_cast<uint64_t>(st.st_blocks) * 512;
    }
    return bytes;
  }

  void Write(Volume& volume, uint64_t bytes, uint64_t offset) {
    ASSERT_TRUE(volume.WriteAt(Pattern(bytes), offset).ok());
    ASSERT_TRUE(volume.Sync().ok());
  }

  void Clone(const std::string& name, const std::string& node) {
    CloneRequest request{.source = "db", .name = name, .node = node, .linked = node.empty()};
    const auto clone = fixture_.store().Clone(request, Caller{});
    ASSERT_TRUE(clone.ok()) << clone.error().message;
  }

  // Allows for blocks that the node's filesystem adds to a file, such as those of its extent tree.
  static void ExpectAbout(uint64_t bytes, uint64_t expected) {
    EXPECT_GE(bytes, expected);
    EXPECT_LE(bytes, expected + kSpaceMiB / 16);
  }

  void ExpectDeletingFrees(const std::string& name) {
    const uint64_t told = InfoOf(name).exclusive_bytes;
    const uint64_t before = TakenOn("a");
    ASSERT_TRUE(fixture_.store().Delete(name, Caller{}).ok());
    EXPECT_EQ(before - TakenOn("a"), told);
  }

  // Merging would move the blocks that are counted.
  StoreFixture fixture_{StoreOptions{.merge = false}};
};

TEST_F(StoreSpaceTest, AVolumeByItselfIsAllItsOwn) {
  fixture_.MakeVolume("db", 8 * kSpaceMiB, 3 * kSpaceMiB);
  ExpectAbout(InfoOf("db").exclusive_bytes, 3 * kSpaceMiB);
  EXPECT_EQ(InfoOf("db").exclusive_bytes, InfoOf("db").allocated_bytes);
  ExpectDeletingFrees("db");
}

TEST_F(StoreSpaceTest, ASnapshotsBlocksAreShared) {
  const auto db = fixture_.MakeVolume("db", 8 * kSpaceMiB, 3 * kSpaceMiB);
  ASSERT_TRUE(fixture_.store().TakeSnapshot("db", "s", Caller{}).ok());
  EXPECT_EQ(InfoOf("db").exclusive_bytes, 0U);
  Write(*db, kSpaceMiB, kSpaceMiB);
  ExpectAbout(InfoOf("db").exclusive_bytes, kSpaceMiB);
  ExpectAbout(InfoOf("db").allocated_bytes, 4 * kSpaceMiB);
  ExpectDeletingFrees("db");
}

TEST_F(StoreSpaceTest, OfASnapshotThatIsGoneTheyAreItsOwnAgain) {
  const auto db = fixture_.MakeVolume("db", 8 * kSpaceMiB, 3 * kSpaceMiB);
  ASSERT_TRUE(fixture_.store().TakeSnapshot("db", "s", Caller{}).ok());
  Write(*db, kSpaceMiB, 5 * kSpaceMiB);
  ASSERT_TRUE(fixture_.store().TakeSnapshot("db", "t", Caller{}).ok());
  Write(*db, kSpaceMiB, 6 * kSpaceMiB);
  ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", "t", Caller{}).ok());
  ExpectAbout(InfoOf("db").exclusive_bytes, 2 * kSpaceMiB);
  ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", "s", Caller{}).ok());
  ExpectAbout(InfoOf("db").exclusive_bytes, 5 * kSpaceMiB);
  fixture_.Reopen(StoreOptions{.merge = false});
  ExpectAbout(InfoOf("db").exclusive_bytes, 5 * kSpaceMiB);
  ExpectDeletingFrees("db");
}

class SnapshotSpaceTest : public StoreSpaceTest {
 protected:
  static constexpr uint64_t kSize = 8 * kSpaceMiB;

  void Snapshot(const std::string& name) {
    ASSERT_TRUE(fixture_.store().TakeSnapshot("db", name, Caller{}).ok());
  }

  [[nodiscard]] uint64_t Told(const std::string& name) {
    const auto info = fixture_.store().MeasureSnapshot(fixture_.store().SnapshotId("db", name));
    return info ? info->exclusive_bytes : 0;
  }

  // A count is told again for a while.
  void ExpectTold(const std::string& name, uint64_t bytes) {
    for (int i = 0; i < 2000 && Told(name) != bytes; ++i) {
      SleepFor(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(Told(name), bytes) << name;
  }

  // Deletes the snapshot, and expects that the node gains what was told before.
  void ExpectDeletingSnapshotFrees(const std::string& name, const std::string& where) {
    const uint64_t told = Told(name);
    const uint64_t before = TakenOn("a");
    ASSERT_TRUE(fixture_.store().DeleteSnapshot("db", name, Caller{}).ok()) << where;
    // Allows for blocks of extent trees, which punching adds to files, too.
    const uint64_t freed = before - TakenOn("a");
    EXPECT_LE(freed, told + kSpaceMiB / 64) << where << ", " << name;
    EXPECT_GE(freed + kSpaceMiB / 64, told) << where << ", " << name;
  }
};

TEST_F(SnapshotSpaceTest, ASnapshotHasWhatWasOverwrittenSince) {
  const auto db = fixture_.MakeVolume("db", kSize, 3 * kSpaceMiB);
  Snapshot("s");
  ExpectTold("s", 0);
  Write(*db, kSpaceMiB, kSpaceMiB);
  ExpectTold("s", kSpaceMiB);
  Snapshot("t");
  ExpectTold("s", kSpaceMiB);
  ExpectTold("t", 0);
  Write(*db, kSpaceMiB, kSpaceMiB);
  ExpectTold("t", kSpaceMiB);
  ExpectTold("s", kSpaceMiB);  // a block that was overwritten twice is counted once in each
  ExpectDeletingSnapshotFrees("s", "");
  ExpectDeletingSnapshotFrees("t", "");
}

// What no reader but an open file needs is told already: a deletion frees it at the last close.
TEST_F(SnapshotSpaceTest, AReaderDoesNotChangeIt) {
  const auto db = fixture_.MakeVolume("db", kSize, 3 * kSpaceMiB);
  Snapshot("s");
  Write(*db, 2 * kSpaceMiB, 0);
  const auto open =
      fixture_.store().OpenSnapshotImage(fixture_.store().SnapshotId("db", "s")).value();
  EXPECT_EQ(Told("s"), 2 * kSpaceMiB);
}

TEST_F(SnapshotSpaceTest, TheLastSnapshotsOfADeletedVolumeHaveAll) {
  const auto db = fixture_.MakeVolume("db", kSize, 3 * kSpaceMiB);
  Snapshot("s");
  Write(*db, kSpaceMiB, 0);
  Snapshot("t");
  ASSERT_TRUE(fixture_.store().Delete("db", Caller{}).ok());
  ExpectDeletingSnapshotFrees("s", "first");
  ExpectDeletingSnapshotFrees("t", "last");
  EXPECT_EQ(TakenOn("a"), 0U);
}

TEST_F(SnapshotSpaceTest, AreToldByVolumeAndAge) {
  fixture_.MakeVolume("db", kSize, kSpaceMiB);
  fixture_.MakeVolume("a", kSize, kSpaceMiB);
  Snapshot("z");
  Snapshot("b");
  ASSERT_TRUE(fixture_.store().TakeSnapshot("a", "x", Caller{}).ok());
  std::string names;
  for (const SnapshotInfo& info : fixture_.store().MeasureSnapshots()) {
    names += info.volume + "@" + info.name + " ";
  }
  EXPECT_EQ(names, "a@x db@z db@b ");
}

// Property: after any writes, discards, reverts and clones each deletion frees the bytes that were
// told just before it.
TEST_F(SnapshotSpaceTest, EachDeletionFreesWhatWasTold) {
  for (uint32_t seed = 0; seed < 8; ++seed) {
    const std::string where = "seed " + std::to_string(seed);
    std::mt19937 random(seed);
    const auto below = [&](uint64_t bound) { return random() % bound; };
    const auto db = fixture_.MakeVolume("db", kSize, below(4) * kSpaceMiB);
    std::vector<std::string> names;
    for (int step = 0; step < 24; ++step) {
      const uint64_t offset = below(kSize / 4096 - 64) * 4096;
      const uint64_t bytes = (1 + below(64)) * 4096;
      switch (below(6)) {
        case 0:
          ASSERT_TRUE(db->Discard({offset, bytes}).ok());
          ASSERT_TRUE(db->Sync().ok());
          break;
        case 1:
          names.push_back("s" + std::to_string(step));
          Snapshot(names.back());
          break;
        case 2:
          if (names.empty() || below(2) != 0) break;
          ASSERT_TRUE(fixture_.store().Revert("db", names[below(names.size())], Caller{}).ok());
          break;
        case 3:
          if (names.empty() || below(3) != 0) break;
          ExpectDeletingSnapshotFrees(names.back(), where);
          names.pop_back();
          break;
        default:
          Write(*db, bytes, offset);
      }
    }
    std::shuffle(names.begin(), names.end(), random);
    const bool volume_first = below(2) == 0;
    const auto delete_volume = [&] { return fixture_.store().Delete("db", Caller{}).ok(); };
    EXPECT_TRUE(!volume_first || delete_volume()) << where;
    for (const std::string& name : names) ExpectDeletingSnapshotFrees(name, where);
    EXPECT_TRUE(volume_first || delete_volume()) << where;
    ASSERT_EQ(TakenOn("a"), 0U) << where;
  }
}

TEST_F(StoreSpaceTest, LinkedClonesShareUntilOneIsLeft) {
  fixture_.MakeVolume("db", 8 * kSpaceMiB, 3 * kSpaceMiB);
  Clone("x", "");
  Write(*fixture_.store().Find("x"), kSpaceMiB, 0);
  EXPECT_EQ(InfoOf("db").exclusive_bytes, 0U);
  ExpectAbout(InfoOf("x").exclusive_bytes, kSpaceMiB);
  const uint64_t before = TakenOn("a");
  ASSERT_TRUE(fixture_.store().Delete("db", Caller{}).ok());
  ExpectAbout(before - TakenOn("a"),
              kSpaceMiB);  // the part of the shared layer that only db showed
  EXPECT_EQ(InfoOf("x").exclusive_bytes, TakenOn("a"));
  ExpectDeletingFrees("x");
}

// While the clone is being copied, the held layer counts for no volume. The clone on its own node
// is exclusive.
TEST_F(StoreSpaceTest, AClonesSourceIsNotItsOwn) {
  fixture_.store().hydrator().throttle().SetRate(0);
  fixture_.MakeVolume("db", 8 * kSpaceMiB, 3 * kSpaceMiB);
  Clone("x", "b");
  Write(*fixture_.store().Find("x"), kSpaceMiB, 4 * kSpaceMiB);
  ExpectAbout(InfoOf("x").exclusive_bytes, kSpaceMiB);
  ExpectAbout(InfoOf("x").allocated_bytes, 4 * kSpaceMiB);
  EXPECT_EQ(InfoOf("db").exclusive_bytes, 0U) << "its layer is held";
  fixture_.store().hydrator().throttle().SetRate(Throttle::kUnlimited);
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  ExpectAbout(InfoOf("x").exclusive_bytes, 4 * kSpaceMiB);
  EXPECT_EQ(InfoOf("x").exclusive_bytes, TakenOn("b"));
  ExpectDeletingFrees("db");
}

// A copy on the source's own node lies over the held layer.
TEST_F(StoreSpaceTest, ACopyOnTheSourcesNodeSharesUntilItIsWhole) {
  fixture_.store().hydrator().throttle().SetRate(0);
  fixture_.MakeVolume("db", 8 * kSpaceMiB, 3 * kSpaceMiB);
  Clone("x", "a");
  EXPECT_EQ(InfoOf("x").exclusive_bytes, 0U);
  EXPECT_EQ(InfoOf("db").exclusive_bytes, 0U);
  fixture_.store().hydrator().throttle().SetRate(Throttle::kUnlimited);
  ASSERT_TRUE(fixture_.WaitForStatus("x", "available"));
  ExpectAbout(InfoOf("x").exclusive_bytes, 3 * kSpaceMiB);
  ExpectDeletingFrees("x");
  ExpectDeletingFrees("db");
}

}  // namespace
}  // namespace volfs
