// Goal: exclusive_bytes is the number of bytes that deleting the volume frees, in every position
// that its layers can have among snapshots and clones. Method: the number before the deletion is
// compared with the files in layers/ before and after it.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

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
