// Goal: the owner of a volume can clone it step by step as in Rackspace's guide to cloning a Cloud
// Block Storage volume, with its rules. A partitioned, attached volume is cloned while it is in
// use, larger and of another type; the clone is grown to its size; later changes to one do not show
// in the other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::HasSubstr;

class WalkTest : public MountTest {
 protected:
  // Attaches a loop device with its partitions. Not every kernel reads partition tables, so
  // partx(8) does.
  std::string Attach(const std::string& volume) {
    std::string device = AttachLoop(Volume(volume), "--partscan");
    MustRun("partx -u " + device);
    return device;
  }

  std::string MountPartition(const std::string& device, const std::string& name) {
    std::string place = directory() + "/" + name;
    MustRun("mkdir -p " + place + " && mount -o noatime " + device + "p1 " + place);
    return place;
  }

  static void UnmountAndDetach(const std::string& place, const std::string& device) {
    MustRun("umount " + place);
    DetachLoop(device);
  }

  // Returns the digest of the whole image, bypassing the page cache.
  std::string DigestOf(const std::string& volume) {
    return MustRun("dd if=" + Volume(volume) + " iflag=direct bs=1M status=none | sha256sum");
  }

  static uint64_t BytesOf(const std::string& place) {
    return std::stoull(MustRun("df -B1 --output=size " + place + " | tail -n 1"));
  }
};

TEST_F(WalkTest, FromAnAttachedVolumeToAGrownCloneOfItsOwn) {
  MustRun("mkdir " + NodePath("far"));
  for (const char* node : {"a --types ssd", "b --types ssd,sata", "far --region far --types ssd"}) {
    MustRun(Binary() + " node init " + directory() + "/" + node);
  }
  Mount({"a", "b", "far"});

  // A volume with an ext4 in a GPT partition, attached, mounted, in use.
  MustAsk("create", "disk.img 64M type=ssd");
  MustRun("sgdisk -n 1:2048:0 " + Volume("disk.img"));
  const std::string source_device = Attach("disk.img");
  MustRun("mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 " + source_device + "p1");
  const std::string source = MountPartition(source_device, "source");
  MustRun("head -c 8M /dev/urandom > " + source + "/data && echo first > " + source + "/note");

  // Everything is flushed, then the clone is requested: another type, larger, while the source is
  // attached.
  MustRun("sync -f " + source);
  const std::string digest = DigestOf("disk.img");
  const struct stat before = StatOf(Volume("disk.img"));
  SetCopyRate("100K");
  EXPECT_EQ(Ask("clone", "disk.img copy.img size=96M node=far"), EXDEV) << "another region";
  ASSERT_EQ(Ask("clone", "disk.img copy.img size=96M type=sata"), 0);
  EXPECT_EQ(Field("copy.img", "node") + " " + Field("copy.img", "type"), "b sata");

  // The clone is attached at once. Its second partition table moves to the new end, then the
  // partition and the filesystem grow.
  const std::string copy_device = Attach("copy.img");
  MustRun("sgdisk -e " + copy_device + " -d 1 -n 1:2048:0 && partx -u " + copy_device);
  // The clone is as after a power cut: fsck replays the journal.
  EXPECT_LE(RunShell("e2fsck -fp " + copy_device + "p1").exit_code, 1);
  MustRun("resize2fs " + copy_device + "p1");
  const std::string copy = MountPartition(copy_device, "copy");
  EXPECT_GT(BytesOf(copy), BytesOf(source) + 20 * kMiB);
  MustRun("cmp " + source + "/data " + copy + "/data && echo second > " + copy + "/note");
  EXPECT_EQ(ReadText(source + "/note"), "first\n");

  // While it is copied, its source can be neither cloned again nor snapshotted nor deleted.
  EXPECT_EQ(Field("copy.img", "status"), "creating");
  EXPECT_EQ(Ask("clone", "disk.img second.img"), EBUSY);
  EXPECT_EQ(Ask("snapshot", "disk.img monday"), EBUSY);
  EXPECT_EQ(Ask("delete", "disk.img"), EBUSY);
  EXPECT_EQ(Field("copy.img", "status"), "creating") << "the first one is not disturbed";

  // The source is unchanged by all this.
  const auto expect_untouched = [&] {
    EXPECT_EQ(DigestOf("disk.img"), digest);
    EXPECT_EQ(StatOf(Volume("disk.img")).st_mtim.tv_sec, before.st_mtim.tv_sec);
    EXPECT_EQ(StatOf(Volume("disk.img")).st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    EXPECT_EQ(StatOf(Volume("disk.img")).st_size, before.st_size);
    EXPECT_EQ(Field("disk.img", "status"), "in-use");
    EXPECT_EQ(Field("disk.img", "type"), "ssd");
  };
  expect_untouched();
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("copy.img", "in-use"));
  expect_untouched();

  // The source is detached and attached again, with its contents.
  UnmountAndDetach(source, source_device);
  EXPECT_EQ(Field("disk.img", "status"), "available");
  const std::string again_device = Attach("disk.img");
  MountPartition(again_device, "source");
  MustRun("cmp " + source + "/data " + copy + "/data");
  EXPECT_EQ(ReadText(source + "/note"), "first\n");
  UnmountAndDetach(source, again_device);

  // The source is deleted first, because its clone is whole.
  UnmountAndDetach(copy, copy_device);
  ASSERT_EQ(Ask("delete", "disk.img"), 0);
  const std::string last_device = Attach("copy.img");
  const CommandResult fsck = RunShell("e2fsck -fn " + last_device + "p1");
  EXPECT_EQ(fsck.exit_code, 0) << fsck.output;
  EXPECT_THAT(MustRun("sgdisk -v " + last_device), HasSubstr("No problems found"));
  MountPartition(last_device, "copy");
  EXPECT_EQ(ReadText(copy + "/note"), "second\n");
  UnmountAndDetach(copy, last_device);

  // The other way round: a clone is deleted first, then its source.
  ASSERT_EQ(Ask("clone", "copy.img third.img type=ssd"), 0);
  ASSERT_TRUE(WaitForStatus("third.img", "available"));
  EXPECT_EQ(DigestOf("third.img"), DigestOf("copy.img"));
  ASSERT_EQ(Ask("delete", "third.img"), 0);
  ASSERT_EQ(Ask("delete", "copy.img"), 0);
  for (const char* node : {"a", "b", "far"}) {
    EXPECT_TRUE(ListOf(NodePath(node) + "/layers").empty()) << node;
  }
}

}  // namespace
}  // namespace volfs
