// Goal: bytes that a program has written to an image are in a clone or snapshot that is requested
// afterwards, synced or not. Bytes in the page cache of a loop device over the image are there once
// the device was told to write them back (contract.md, T21, R11: Longhorn v0, on FUSE and a loop
// device, took snapshots without the data that the kernel still had).
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

constexpr uint64_t kImageBytes = uint64_t{48} << 20;

class KernelCacheTest : public MountTest {
 protected:
  static std::vector<std::byte> SomeBytes(size_t size, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    return bytes;
  }
  void MakeImage(const std::string& name) {
    MustRun("truncate -s " + std::to_string(kImageBytes) + " " + Volume(name));
  }
};

// Once write(2) has returned, no kernel cache keeps the bytes from the daemon.
TEST_F(KernelCacheTest, R11_WhatWasWrittenToAnImageIsInItsCloneAndSnapshotUnsynced) {
  Mount();
  SetCopyRate("0");
  MakeImage("db.img");
  const TestFile file(Volume("db.img"));
  std::vector<std::byte> expected(kImageBytes);
  for (uint64_t round = 0; round < 5; ++round) {
    // Writes parts of pages, too, through a file that stays open.
    const uint64_t offset = round * 777'777 + 100;
    const std::vector<std::byte> bytes = SomeBytes(1'000'001, round);
    std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<ptrdiff_t>(offset));
    ASSERT_EQ(file.WriteAt(offset, bytes), 0);
    const std::string name = "s" + std::to_string(round);
    ASSERT_EQ(Ask("snapshot", "db.img " + name), 0);
    EXPECT_TRUE(ReadBytes(Path("snapshots/db.img/" + name)) == expected) << name;
  }
  ASSERT_EQ(file.WriteAt(0, SomeBytes(5'000, 99)), 0);
  ASSERT_EQ(Ask("clone", "db.img copy"), 0);
  EXPECT_TRUE(ReadBytes(Volume("copy")) == ReadBytes(Volume("db.img")));
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("copy", "available"));
  EXPECT_TRUE(ReadBytes(Volume("copy")) == ReadBytes(Volume("db.img")));
}

// The loop device's page cache is above volfs, so a file that was just written there may not have
// reached the image. After `sync -f` it has. Without it a clone is as after a power cut: the
// journal repairs the filesystem, and all synced data is there.
TEST_F(KernelCacheTest, R11_WhatALoopDevicesPageCacheHasIsThereAfterSyncF) {
  Mount();
  SetCopyRate("0");
  MakeImage("disk.img");
  const std::string device = AttachLoop(Volume("disk.img"));
  const std::string inside = directory() + "/inside";
  MustRun("mkfs.ext4 -q -F " + device + " && mkdir " + inside + " && mount " + device + " " +
          inside);
  const std::string file = "head -c 3000000 /dev/urandom > " + inside;
  MustRun(file + "/synced && sync -f " + inside);
  MustRun(file + "/dirty");
  ASSERT_EQ(Ask("snapshot", "disk.img unsynced"), 0);
  MustRun("sync -f " + inside);
  ASSERT_EQ(Ask("clone", "disk.img copy"), 0);
  MustRun("cp -a " + inside + " " + directory() + "/expected && rm " + inside + "/*ed " + inside +
          "/dirty && umount " + inside);
  DetachLoop(device);

  MustRun("mkdir " + directory() + "/found");
  const auto look = [&](const std::string& image, const std::string& what) {
    // ext4 replays its journal, so the image must be writable: a snapshot is not.
    const std::string copy = AttachLoop(image);
    MustRun("mount " + copy + " " + directory() + "/found");
    const CommandResult same =
        RunShell("cmp " + directory() + "/expected/" + what + " " + directory() + "/found/" + what);
    EXPECT_EQ(same.exit_code, 0) << image << ": " << same.output;
    MustRun("umount " + directory() + "/found");
    DetachLoop(copy);
    const CommandResult fsck = RunShell("e2fsck -fn " + image);
    EXPECT_EQ(fsck.exit_code, 0) << image << "\n" << fsck.output;
  };
  look(Volume("copy"), "dirty");
  look(Volume("copy"), "synced");
  ASSERT_EQ(Ask("restore", "disk.img@unsynced before"), 0);
  look(Volume("before"), "synced");
}

}  // namespace
}  // namespace volfs
