// Goal: `-o ro` and `volfs check` read a node and write nothing to it, in any state after the last
// mount, on a writable disk or not. Method: node a is on an ext4 of its own, which is made
// read-only. Every name, byte, mode, owner and time of the node is compared before and after.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int kLocked = 8;

class ReadOnlyTest : public MountTest {
 protected:
  void TearDown() override {
    if (pid() != 0) Unmount();
    (void)RunShell("umount " + NodePath("a") + "; losetup -d " + device_);
    MountTest::TearDown();
  }

  void PutNodeOnADisk() {
    MustRun("truncate -s 128M " + Disk() + " && mkfs.ext4 -q -F " + Disk());
    MountDisk("losetup -f --show " + Disk(), "");
  }
  void MountDisk(const std::string& losetup, const std::string& options) {
    device_ = MustRun(losetup);
    device_.pop_back();
    MustRun("mount " + options + " " + device_ + " " + NodePath("a") + " && { chmod 700 " +
            NodePath("a") + " 2> /dev/null || true; }");
  }
  void UnmountDisk() { MustRun("umount " + NodePath("a") + " && losetup -d " + device_); }
  void MakeDisk(const std::string& how) {
    MustRun("mount -o remount," + how + " " + NodePath("a"));
  }

  // Makes a volume with a snapshot of other contents, and a clone that is far from whole. The last
  // writes are in the catalog's log only.
  void Fill(const std::string& options = "") {
    Mount({"a", "b"}, options);
    SetCopyRate("0");
    MustRun("head -c 3M /dev/urandom > " + directory() + "/first && cp " + directory() + "/first " +
            Volume("v") + " && cp " + directory() + "/first " + Volume("plain") + " && sync " +
            Volume("plain"));
    MustAsk("snapshot", "v s");
    MustRun("echo later | dd of=" + Volume("v") + " conv=notrunc,fsync status=none");
    MustAsk("clone", "v half node=b");
  }
  void ExpectContents() {
    EXPECT_EQ(MustRun("cmp " + directory() + "/first " + Path("snapshots/v/s") + " && echo same"),
              "same\n");
    EXPECT_EQ(MustRun("cmp " + directory() + "/first " + Volume("plain") + " && echo same"),
              "same\n");
    EXPECT_EQ(MustRun("head -c 6 " + Volume("v")), "later\n");
    EXPECT_EQ(MustRun("head -c 6 " + Volume("half")), "later\n") << "read through from the source";
    EXPECT_EQ(MustRun("tail -c +4097 " + Volume("half") + " | cmp - " + directory() +
                      "/tail && echo same"),
              "same\n");
    EXPECT_EQ(Field("half", "status"), "creating") << "the truth: it is not whole";
    EXPECT_THAT(Field("half", "error"), HasSubstr("without `ro`"));
  }
  void KeepTail() { MustRun("tail -c +4097 " + directory() + "/first > " + directory() + "/tail"); }

  // Returns all visible facts of the nodes.
  std::string Everything() {
    return MustRun("for n in a b; do find " + directory() +
                   "/$n -printf '%P %y %s %b %m %U %G %n %T@ %C@\\n' | sort; find " + directory() +
                   "/$n -type f -exec sha256sum {} + | sort; done");
  }

  // The mount shows everything, takes no change, and leaves the nodes as they were.
  void ExpectReadsAndWritesNothing() {
    const std::string before = Everything();
    Mount({"a", "b"}, "ro");
    ExpectContents();
    const TestFile file(Volume("v"), O_WRONLY);
    EXPECT_EQ(file.open_error(), EROFS);
    EXPECT_EQ(ErrnoOf(::unlink(Volume("v").c_str())), EROFS);
    const CommandResult refused = VolfsHere("snapshot v t");
    EXPECT_NE(refused.exit_code, 0);
    EXPECT_THAT(refused.output, AllOf(HasSubstr("reading only"), HasSubstr("without `ro`")));
    Unmount();
    EXPECT_EQ(Everything(), before) << "mount and unmount";
    Mount({"a", "b"}, "ro");
    ExpectContents();
    Kill();
    MustRun("umount -l " + Mnt());
    ExpectNoDaemon();
    EXPECT_EQ(Everything(), before) << "mount and kill";
    const CommandResult check = Volfs("check " + NodePath("a") + " " + NodePath("b"));
    EXPECT_EQ(check.exit_code, 0) << check.output;
    EXPECT_THAT(check.output, HasSubstr("nothing is wrong"));
    EXPECT_EQ(Everything(), before) << "check";
  }

  void EndInOrder() { Unmount(); }
  void EndByKill() {
    Kill();
    MustRun("umount -l " + Mnt());
    ExpectNoDaemon();
  }
  [[nodiscard]] std::string Disk() const { return directory() + "/a.ext4"; }

 private:
  std::string device_;
};

TEST_F(ReadOnlyTest, WritesNothingAfterAnOrderlyEnd) {
  Fill();
  KeepTail();
  EndInOrder();
  ExpectReadsAndWritesNothing();
}

TEST_F(ReadOnlyTest, WritesNothingAfterAKillAndShowsWhatItsLogHas) {
  Fill();
  KeepTail();
  EndByKill();
  ExpectReadsAndWritesNothing();
  Mount();  // the next writable mount finds the state that the kill left
  EXPECT_EQ(MustRun("head -c 6 " + Volume("v")), "later\n");
}

// The kernel made the filesystem read-only after an error.
TEST_F(ReadOnlyTest, ReadsFromAFilesystemThatIsReadOnly) {
  PutNodeOnADisk();
  Fill();
  KeepTail();
  EndByKill();
  MakeDisk("ro");
  ExpectReadsAndWritesNothing();
  const CommandResult refused = TryMount({"a", "b"});
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.output, HasSubstr("-o ro"));
  MakeDisk("rw");
}

// A rescue copy: the device itself is read-only, so the filesystem's journal is not replayed
// either.
TEST_F(ReadOnlyTest, ReadsFromADeviceThatIsReadOnly) {
  PutNodeOnADisk();
  Fill();
  KeepTail();
  EndInOrder();
  UnmountDisk();
  MountDisk("losetup -r -f --show " + Disk(), "-o ro,noload");
  ExpectReadsAndWritesNothing();
}

TEST_F(ReadOnlyTest, ReadsThroughABindMountThatIsReadOnly) {
  Fill();
  KeepTail();
  EndByKill();
  MustRun("mount --bind " + NodePath("a") + " " + NodePath("a") + " && mount -o remount,bind,ro " +
          NodePath("a"));
  ExpectReadsAndWritesNothing();
}

// Two readers may share one copy. A reader and a writer exclude each other.
TEST_F(ReadOnlyTest, ReadersShareANodeAndKeepWritersOut) {
  Mount({"a"});
  MustRun("echo x > " + Volume("v"));
  const std::string other = directory() + "/other";
  MustRun("mkdir " + other);
  const CommandResult beside_writer = Volfs("mount -o ro " + NodePath("a") + " " + other);
  EXPECT_EQ(beside_writer.exit_code, kLocked) << beside_writer.output;
  Unmount();
  Mount({"a"}, "ro");
  const CommandResult second = Volfs("mount -o ro " + NodePath("a") + " " + other);
  ASSERT_EQ(second.exit_code, 0) << second.output;
  EXPECT_EQ(MustRun("cat " + other + "/volumes/v"), "x\n");
  MustRun("mkdir " + directory() + "/third");
  const CommandResult writer = Volfs("mount " + NodePath("a") + " " + directory() + "/third");
  EXPECT_EQ(writer.exit_code, kLocked) << writer.output;
  EXPECT_EQ(Volfs("check " + NodePath("a")).exit_code, 0) << "it reads, too";
  EXPECT_EQ(Volfs("umount " + other).exit_code, 0);
  Unmount();
  Mount({"a"});
}

// Root may make the kernel's mount writable; the daemon still refuses writes.
TEST_F(ReadOnlyTest, ARemountDoesNotMakeItWritable) {
  Fill();
  KeepTail();
  EndInOrder();
  const std::string before = Everything();
  Mount({"a", "b"}, "ro");
  if (RunShell("mount -i -o remount,rw " + Mnt()).ok()) {
    const TestFile file(Volume("v"), O_WRONLY);
    EXPECT_EQ(file.open_error(), EROFS);
    EXPECT_EQ(Ask("snapshot", "plain t"), EROFS);
    EXPECT_EQ(Ask("create", "new 1M"), EROFS);
    EXPECT_EQ(ErrnoOf(::unlink(Volume("plain").c_str())), EROFS);
  }
  Unmount();
  EXPECT_EQ(Everything(), before);
}

TEST_F(ReadOnlyTest, MakesNoNode) {
  const CommandResult made = TryMount({"a"}, "ro");
  EXPECT_NE(made.exit_code, 0);
  EXPECT_THAT(made.output, HasSubstr("makes none"));
  EXPECT_EQ(MustRun("ls -A " + NodePath("a")), "");
}

}  // namespace
}  // namespace volfs
