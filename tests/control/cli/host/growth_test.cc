// Goal: a user who grows a disk is told the very commands that grow its contents.
#include "control/cli/host/growth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace volfs::cli {
namespace {

using enum ContentsKind;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> Growth(const std::vector<Contents>& contents,
                                const std::string& mountpoint = "") {
  return GrowthCommands(contents, "/dev/loop3", [&](const std::string&) { return mountpoint; });
}

TEST(GrowthTest, AFilesystemGrowsWhereItIsMounted) {
  EXPECT_THAT(Growth({{kExt}}, "/srv"), ElementsAre("resize2fs /dev/loop3"));
  EXPECT_THAT(Growth({{kXfs}}, "/srv"), ElementsAre("xfs_growfs /srv"));
  EXPECT_THAT(Growth({{kBtrfs}}, "/srv"), ElementsAre("btrfs filesystem resize max /srv"));
}

TEST(GrowthTest, OneThatIsNotMountedIsCheckedOrMountedFirst) {
  EXPECT_THAT(Growth({{kExt}}), ElementsAre("e2fsck -fp /dev/loop3 && resize2fs /dev/loop3"));
  EXPECT_THAT(Growth({{kXfs}}), ElementsAre("mount /dev/loop3 DIR && xfs_growfs DIR"));
}

TEST(GrowthTest, OtherContentsHaveTheirCommands) {
  EXPECT_THAT(Growth({{kLvm}}), ElementsAre("pvresize /dev/loop3"));
  EXPECT_THAT(Growth({{kMdRaid}}), ElementsAre("mdadm --grow --size=max /dev/mdN"));
  EXPECT_THAT(Growth({{kLuks}}), ElementsAre("cryptsetup resize NAME"));
  EXPECT_THAT(Growth({{kSwap}}),
              ElementsAre("swapoff /dev/loop3; mkswap /dev/loop3 && swapon /dev/loop3"));
}

TEST(GrowthTest, ATableGrowsBeforeItsLastPartition) {
  EXPECT_THAT(Growth({{kGpt}, {kExt, 1}, {kXfs, 2}}, "/srv"),
              ElementsAre("sgdisk -e /dev/loop3", "growpart /dev/loop3 2", "xfs_growfs /srv"));
  EXPECT_THAT(Growth({{kMbr}, {kExt, 5}}, "/srv"),
              ElementsAre("growpart /dev/loop3 5", "resize2fs /dev/loop3p5"));
  EXPECT_THAT(Growth({{kGpt}}), ElementsAre("sgdisk -e /dev/loop3", "growpart /dev/loop3 N"));
}

TEST(GrowthTest, NothingIsSaidOfWhatIsUnknown) { EXPECT_THAT(Growth({}), IsEmpty()); }

}  // namespace
}  // namespace volfs::cli
