// Goal: the command finds its mount in /proc/self/mountinfo, also with other mounts over, below or
// beside it.
#include "control/cli/host/mountinfo.h"

#include <gtest/gtest.h>

#include <string>

namespace volfs::cli {
namespace {

constexpr std::string_view kTable =
    "22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
    "40 22 0:52 / /mnt/v rw,nosuid,nodev - fuse.volfs volfs rw,user_id=0\n"
    "41 22 0:53 / /mnt/a\\040b rw shared:5 master:2 - fuse.volfs volfs rw\n"
    "42 22 0:52 / /mnt/again rw - fuse.volfs volfs rw\n"
    "43 22 0:52 /volumes /mnt/part rw - fuse.volfs volfs rw\n"
    "44 22 7:0 / /srv/db rw - ext4 /dev/loop0 rw\n"
    "45 40 0:54 / /mnt/v/volumes rw - tmpfs none rw\n";

std::string MountpointOf(std::string_view path) {
  const auto mount = VolfsMountOf(ParseMountInfo(kTable), path);
  return mount ? mount->mountpoint : "";
}

TEST(MountInfoTest, ReadsEveryField) {
  const auto mounts = ParseMountInfo(kTable);
  ASSERT_EQ(mounts.size(), 7U);
  EXPECT_EQ(mounts[1].id, 40);
  EXPECT_EQ(mounts[1].parent, 22);
  EXPECT_EQ(mounts[1].device, "0:52");
  EXPECT_EQ(mounts[1].root, "/");
  EXPECT_EQ(mounts[1].mountpoint, "/mnt/v");
  EXPECT_EQ(mounts[1].type, "fuse.volfs");
  EXPECT_EQ(mounts[5].source, "/dev/loop0");
}

TEST(MountInfoTest, BlanksComeEscapedAndOptionalFieldsMayBeAnyNumber) {
  const auto mounts = ParseMountInfo(kTable);
  EXPECT_EQ(mounts[2].mountpoint, "/mnt/a b");
  EXPECT_EQ(mounts[2].type, "fuse.volfs");
  EXPECT_EQ(ParseMountInfo("1 2 0:1 / /a\\134040 rw - t s o\n").at(0).mountpoint, "/a\\040");
}

TEST(MountInfoTest, SkipsWhatIsMalformed) {
  EXPECT_TRUE(ParseMountInfo("").empty());
  EXPECT_TRUE(ParseMountInfo("\n\n").empty());
  EXPECT_TRUE(ParseMountInfo("22 1 254:1 / / rw - ext4\n").empty());
  EXPECT_TRUE(ParseMountInfo("22 x 254:1 / / rw - ext4 a b\n").empty());
  EXPECT_TRUE(ParseMountInfo("22 1 254:1 / / rw shared:1 ext4 a b\n").empty());
}

TEST(MountInfoTest, APathIsOnTheMountThatItLiesBelow) {
  EXPECT_EQ(MountpointOf("/mnt/v"), "/mnt/v");
  EXPECT_EQ(MountpointOf("/mnt/v/volumes/db"), "/mnt/v");
  EXPECT_EQ(MountpointOf("/mnt/a b/volumes"), "/mnt/a b");
  EXPECT_EQ(MountpointOf("/mnt/vv"), "");
  EXPECT_EQ(MountpointOf("/mnt"), "");
  EXPECT_EQ(MountpointOf("/mnt/part/db"), "") << "a part of a mount has no control/";
}

TEST(MountInfoTest, ALaterMountHidesAnEarlierOneAtTheSamePlace) {
  const auto mounts = ParseMountInfo(
      "1 0 0:5 / /m rw - fuse.volfs volfs rw\n"
      "2 1 0:6 / /m rw - fuse.volfs volfs rw\n");
  EXPECT_EQ(VolfsMountOf(mounts, "/m/x")->id, 2);
}

TEST(MountInfoTest, TheSameFilesystemCountsOnce) {
  const auto mounts = VolfsMounts(ParseMountInfo(kTable));
  ASSERT_EQ(mounts.size(), 2U);
  EXPECT_EQ(mounts[0].mountpoint, "/mnt/v");
  EXPECT_EQ(mounts[1].mountpoint, "/mnt/a b");
}

TEST(MountInfoTest, BelowIsByWholeNames) {
  EXPECT_TRUE(IsAtOrBelow("/a/b", "/a"));
  EXPECT_TRUE(IsAtOrBelow("/a", "/a"));
  EXPECT_TRUE(IsAtOrBelow("/a", "/"));
  EXPECT_FALSE(IsAtOrBelow("/ab", "/a"));
  EXPECT_FALSE(IsAtOrBelow("/", "/a"));
  EXPECT_FALSE(IsAtOrBelow("pipe:[1]", "/"));
}

}  // namespace
}  // namespace volfs::cli
