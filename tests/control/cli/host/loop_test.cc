// Goal: the command finds in /sys which loop device has an image attached, and which processes hold
// the device (trap T12: no process has a descriptor of an attached file).
#include "control/cli/host/loop.h"

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
  // No device of this machine has this number. The processes are those of the real /proc.
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

// A mount is found by device number, also if it names the device otherwise. Mounts of a partition
// and of a mapped device are found, too.
TEST(LoopTest, FindsWhatIsMountedFromIt) {
  const TempDir sys;
  const LoopDevice device{5, "/mnt/v/volumes/db", false};
  Put(sys / "loop5/dev", "7:5\n");
  Put(sys / "loop5/loop/backing_file", "/mnt/v/volumes/db\n");
  Put(sys / "loop5/loop5p1/dev", "259:3\n");
  Put(sys / "loop5/loop5p1/holders/dm-0/dev", "253:0\n");
  const std::vector<MountEntry> mounts = ParseMountInfo(
      "1 0 7:5 / /srv/whole rw - ext4 /dev/root rw\n"
      "2 0 7:50 / /srv/no rw - ext4 /dev/loop50 rw\n"
      "3 0 259:3 / /srv/part rw - xfs /dev/disk/by-label/x rw\n"
      "4 0 253:0 /sub /srv/mapped rw - ext4 /dev/mapper/y rw\n"
      "5 0 0:40 / /srv/btrfs rw - btrfs /dev/loop5 rw\n"
      "6 0 0:41 / /srv/other rw - btrfs /dev/loop50 rw\n"
      "7 0 253:1 / /srv/else rw - ext4 /dev/loop5 rw\n");
  std::vector<std::string> found;
  for (const MountEntry& mount : MountsOn(device, mounts, sys.path())) {
    found.push_back(mount.mountpoint);
  }
  EXPECT_EQ(found,
            (std::vector<std::string>{"/srv/whole", "/srv/part", "/srv/mapped", "/srv/btrfs"}));
  EXPECT_TRUE(MountsOn(LoopDevice{6, "/x", false}, mounts, sys.path()).empty());
}

}  // namespace
}  // namespace volfs::cli
