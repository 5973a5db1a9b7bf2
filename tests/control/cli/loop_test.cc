// Goal: who has an image attached, and who holds the device, is read from /sys as it is (trap T12:
// a loop device's descriptor is in no process).
#include "control/cli/loop.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace volfs::cli {
namespace {

void Put(const std::string& file, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(file).parent_path());
  std::ofstream(file) << text;
}

TEST(LoopTest, ReadsTheDevicesThatHaveAFile) {
  const TempDir sys;
  Put(sys / "loop10/loop/backing_file", "/mnt/v/volumes/b\n");
  Put(sys / "loop10/ro", "1\n");
  Put(sys / "loop2/loop/backing_file", "/mnt/v/volumes/a b (deleted)\n");
  Put(sys / "loop2/ro", "0\n");
  Put(sys / "loop3/ro", "0\n");  // not attached
  Put(sys / "sda/loop/backing_file", "/no\n");
  const auto devices = ReadLoopDevices(sys.path());
  ASSERT_EQ(devices.size(), 2U);
  EXPECT_EQ(devices[0].path(), "/dev/loop2");
  EXPECT_EQ(devices[0].backing_file, "/mnt/v/volumes/a b");
  EXPECT_FALSE(devices[0].read_only);
  EXPECT_EQ(devices[1].number, 10);
  EXPECT_TRUE(devices[1].read_only);
}

TEST(LoopTest, NoSysIsNoDevice) { EXPECT_TRUE(ReadLoopDevices("/nonexistent").empty()); }

TEST(LoopTest, ANumberIsOfAWholeDevice) {
  EXPECT_EQ(LoopNumber("loop0"), 0);
  EXPECT_EQ(LoopNumber("/dev/loop12"), 12);
  for (const char* name : {"loop", "/dev/loop", "loop-control", "loop1p1", "loop 1", "sda", "",
                           "/dev/loop99999999999", "db"}) {
    EXPECT_FALSE(LoopNumber(name)) << name;
  }
}

TEST(LoopTest, PartitionsBelongToTheirDevice) {
  const LoopDevice device{1, "/x", false};
  EXPECT_TRUE(IsDeviceOf("/dev/loop1", device));
  EXPECT_TRUE(IsDeviceOf("/dev/loop1p2", device));
  EXPECT_FALSE(IsDeviceOf("/dev/loop10", device));
  EXPECT_FALSE(IsDeviceOf("/dev/loop1p", device));
  EXPECT_FALSE(IsDeviceOf("/dev/loop1px", device));
}

TEST(LoopTest, MountsAndMappedDevicesHoldIt) {
  const TempDir sys;
  // A number that no device of this machine has: the processes are those of the real /proc.
  const LoopDevice device{1048575, "/mnt/v/volumes/db", false};
  Put(sys / "loop1048575/holders/dm-0", "");
  Put(sys / "loop1048575/loop1048575p1/holders/md0", "");
  Put(sys / "loop1048575/queue/holders/no", "");
  const std::vector<MountEntry> mounts = ParseMountInfo(
      "1 0 7:9 / /srv/db rw - ext4 /dev/loop1048575p2 rw\n"
      "2 0 7:1 / /srv/no rw - ext4 /dev/loop1 rw\n");
  EXPECT_EQ(LoopHolders(device, mounts, sys.path()),
            (std::vector<std::string>{"mounted on /srv/db", "dm-0", "md0"}));
  EXPECT_TRUE(LoopHolders(device, {}, "/nonexistent").empty());
}

}  // namespace
}  // namespace volfs::cli
