// Goal: files that ordinary filesystems put into a volume through a loop device are there after a
// remount, as their own fsck and a comparison of each file show.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

struct Kind {
  std::string name;
  std::string size;  // of the image, sparse: the minimum of its mkfs, or a little more
  std::string mkfs;
  std::string fsck;  // exits with 0 only if it finds nothing
};

struct Case {
  Kind kind;
  bool direct;  // --direct-io=on
};

std::vector<Case> Cases() {
  const std::vector<Kind> kinds = {
      {"ext4", "64M", "mkfs.ext4 -q -F", "e2fsck -fn"},
      {"xfs", "320M", "mkfs.xfs -q -f", "xfs_repair -n -f"},
      {"btrfs", "128M", "mkfs.btrfs -q -f", "btrfs check"},
  };
  std::vector<Case> cases;
  for (const Kind& kind : kinds) {
    for (const bool direct : {false, true}) cases.push_back({kind, direct});
  }
  return cases;
}

bool KernelKnows(const std::string& filesystem) {
  return RunShell("grep -qw " + filesystem + " /proc/filesystems || modprobe " + filesystem).ok();
}

class FilesystemTest : public MountTest {
 protected:
  [[nodiscard]] std::string Tree() const { return directory() + "/tree"; }
  [[nodiscard]] std::string Disk() const { return directory() + "/disk"; }

  // Some megabytes in files of all sizes, a sparse one among them.
  void MakeTree() {
    MustRun("mkdir -p " + Disk() + " " + Tree() + "/deep/er && cd " + Tree() +
            " && cp -r " VOLFS_SOURCE_DIR "/blockstore " VOLFS_SOURCE_DIR "/control ." +
            " && head -c 3000001 /dev/urandom > deep/random" +
            " && truncate -s 1M deep/er/sparse && ln -s deep/random link" +
            " && for i in $(seq 200); do echo $i > deep/er/$i; done");
  }

  void MountDisk(const std::string& device, const std::string& options = "") {
    MustRun("mount " + options + " " + device + " " + Disk());
  }

  // A program that was just killed may still use the disk for a moment.
  static void UnmountDisk(const std::string& disk) {
    MustRun("for i in 1 2 3 4 5 6 7 8 9; do umount " + disk +
            " 2>/dev/null && exit 0; sleep 0.2; done; umount " + disk);
  }

  void ExpectSameTree() {
    const CommandResult same =
        RunShell("diff -r --no-dereference " + Tree() + " " + Disk() + "/tree");
    EXPECT_EQ(same.exit_code, 0) << same.output;
  }

  // Checks the present image, without changing it.
  void CheckImage(const Kind& kind, const std::string& image) {
    const CommandResult fsck = RunShell(kind.fsck + " " + image);
    EXPECT_EQ(fsck.exit_code, 0) << fsck.output;
    const std::string device = AttachLoop(image, "--read-only");
    MountDisk(device, "-o ro");
    ExpectSameTree();
    UnmountDisk(Disk());
    DetachLoop(device);
  }
};

class FilesystemKindTest : public FilesystemTest, public testing::WithParamInterface<Case> {};

// A filesystem is made and filled through a loop device, with page cache or with --direct-io=on.
// After a remount of volfs its fsck finds nothing and it has the same files. So has a clone of it,
// on another node (T51, T53).
TEST_P(FilesystemKindTest, IsWholeAfterARemountAndInAClone) {
  const Kind& kind = GetParam().kind;
  if (!KernelKnows(kind.name)) GTEST_SKIP() << "this kernel has no " << kind.name;
  Mount();
  MakeTree();
  const std::string image = Volume("disk.img");
  MustRun("truncate -s " + kind.size + " " + image);
  const std::string device = AttachLoop(image, GetParam().direct ? "--direct-io=on" : "");
  if (GetParam().direct) {
    ASSERT_EQ(MustRun("losetup -n -O DIO " + device), "  1\n") << "the loop refuses direct I/O";
  }
  MustRun(kind.mkfs + " " + device);
  MountDisk(device);
  MustRun("cp -a " + Tree() + " " + Disk());
  UnmountDisk(Disk());
  DetachLoop(device);
  Remount();
  CheckImage(kind, image);
  ASSERT_EQ(Ask("clone", "disk.img copy"), 0);
  ASSERT_TRUE(WaitForStatus("copy", "available"));
  EXPECT_EQ(RunShell("cmp " + image + " " + Volume("copy")).output, "");
}

INSTANTIATE_TEST_SUITE_P(Kinds, FilesystemKindTest, testing::ValuesIn(Cases()),
                         [](const testing::TestParamInfo<Case>& one) {
                           return one.param.kind.name + (one.param.direct ? "_direct" : "_cached");
                         });

// A mounted filesystem can be cloned while it is in use. The clone can be mounted while it is
// `creating`, and has everything that was synced before the request (T11, T21, R11).
TEST_F(FilesystemTest, CloneOfAMountedOneIsUsableAtOnce) {
  Mount();
  MakeTree();
  MustRun("truncate -s 64M " + Volume("disk.img"));
  const std::string device = AttachLoop(Volume("disk.img"));
  const std::string other = directory() + "/other";
  MustRun("mkfs.ext4 -q -F " + device + " && mkdir " + other);
  MustRun("mount " + device + " " + other);
  MustRun("cp -a " + Tree() + " " + other + " && sync -f " + other);
  BackgroundProgram writer(
      {"sh", "-c",
       "cd " + other +
           "; n=0; while n=$((n+1)); do "
           "head -c 50000 /dev/zero > f$((n%50)) && sync -d f$((n%50)); done"});
  SetCopyRate("1M");
  ASSERT_EQ(Ask("clone", "disk.img"), 0);
  const std::string copy = AttachLoop(Volume("disk-clone.img"));
  MountDisk(copy);
  ExpectSameTree();
  MustRun("echo mine > " + Disk() + "/mine && sync -f " + Disk());
  EXPECT_EQ(Field("disk-clone.img", "status"), "creating");
  SetCopyRate("max");
  EXPECT_TRUE(WaitForStatus("disk-clone.img", "in-use"));
  ExpectSameTree();
  EXPECT_EQ(ReadText(Disk() + "/mine"), "mine\n");
  EXPECT_FALSE(Exists(other + "/mine"));
  writer.Finish(0);
  UnmountDisk(Disk());
  UnmountDisk(other);
  DetachLoop(copy);
  DetachLoop(device);
  for (const char* name : {"disk.img", "disk-clone.img"}) {
    const CommandResult fsck = RunShell("e2fsck -fn " + Volume(name));
    EXPECT_EQ(fsck.exit_code, 0) << name << "\n" << fsck.output;
  }
}

// A discard through a loop device (fstrim) frees the node's space, and the filesystem stays whole
// (contract.md 4, T51).
TEST_F(FilesystemTest, DiscardFreesSpace) {
  Mount();
  MakeTree();
  MustRun("truncate -s 64M " + Volume("disk.img"));
  const std::string device = AttachLoop(Volume("disk.img"));
  MustRun("mkfs.ext4 -q -F " + device);
  MountDisk(device);
  MustRun("cp -a " + Tree() + " " + Disk() + " && head -c 20M /dev/urandom > " + Disk() +
          "/big && sync -f " + Disk());
  const uint64_t filled = Number("disk.img", "allocated_bytes");
  MustRun("rm " + Disk() + "/big && sync -f " + Disk() + " && fstrim " + Disk());
  const uint64_t trimmed = Number("disk.img", "allocated_bytes");
  EXPECT_LT(trimmed + (uint64_t{16} << 20), filled);
  const uint64_t on_disk = std::stoull(MustRun("du -s -B1 " + NodePath("a") + "/layers"));
  EXPECT_LT(on_disk, trimmed + (uint64_t{4} << 20));
  UnmountDisk(Disk());
  DetachLoop(device);
  CheckImage(Cases().front().kind, Volume("disk.img"));
}

}  // namespace
}  // namespace volfs
