// Goal: a sum over nodes counts shared room once. Room that one clone still needs is not offered to
// another.
#include <gtest/gtest.h>

#include <filesystem>

#include "blockstore/io/posix_node.h"
#include "blockstore/store/store.h"
#include "tests/support/store_fixture.h"
#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

NodeInfo NodeOn(const std::string& filesystem, uint64_t size_bytes, uint64_t free_bytes) {
  NodeInfo node;
  node.filesystem = filesystem;
  node.space = {size_bytes, free_bytes};
  return node;
}

TEST(SharedRoomTest, DirectoriesOfOneFilesystemHaveOneName) {
  const TempDir dir;
  const auto open = [&dir](const std::string& name) {
    std::filesystem::create_directory(dir / name);
    auto opened = OpenPosixNode(dir / name);
    return std::move(opened.value());
  };
  const auto a = open("a");
  const auto b = open("b");
  EXPECT_NE(a->FilesystemName(), "");
  EXPECT_EQ(a->FilesystemName(), b->FilesystemName());
  EXPECT_NE(a->FilesystemName(), OpenPosixNode("/dev/shm").value()->FilesystemName());
}

TEST(SharedRoomTest, NodesOfOneFilesystemHaveItsRoomOnce) {
  const SpaceInfo all = SpaceOfAll({NodeOn("8:1", 100, 60), NodeOn("8:1", 100, 60),
                                    NodeOn("8:2", 50, 10), NodeOn("8:1", 100, 59)});
  EXPECT_EQ(all.size_bytes, 150U);
  EXPECT_EQ(all.free_bytes, 70U);
}

TEST(SharedRoomTest, NodesWithQuotasOfTheirOwnBothCount) {
  const SpaceInfo all = SpaceOfAll({NodeOn("8:1", 10, 6), NodeOn("8:1", 20, 7)});
  EXPECT_EQ(all.size_bytes, 30U);
  EXPECT_EQ(all.free_bytes, 13U);
}

TEST(SharedRoomTest, WhereTheFilesystemIsNotKnownAllCount) {
  EXPECT_EQ(SpaceOfAll({NodeOn("", 10, 6), NodeOn("", 10, 6)}).free_bytes, 12U);
}

TEST(SharedRoomTest, TheOwnerMayWriteWhatHeMakes) {
  EXPECT_EQ(NewVolumeMode(0444), 0644U);
  EXPECT_EQ(NewVolumeMode(0400), 0600U);
  EXPECT_EQ(NewVolumeMode(0), 0200U);
  EXPECT_EQ(NewVolumeMode(0464), 0464U);  // some user may write to the source
}

// A clone of a write-protected volume is writable.
TEST(SharedRoomTest, ACloneOfAProtectedVolumeIsWritable) {
  StoreFixture fixture;
  fixture.MakeVolume("golden", uint64_t{1} << 20, 4096)->state().ChangeAttributes({.mode = 0440});
  const CloneRequest request{.source = "golden", .name = "copy", .linked = true};
  ASSERT_TRUE(fixture.store().Clone(request, Caller{}).ok());
  EXPECT_EQ(fixture.store().Find("copy")->attributes().mode, 0640U);
  EXPECT_EQ(fixture.store().Find("golden")->attributes().mode, 0440U);
}

}  // namespace
}  // namespace volfs
