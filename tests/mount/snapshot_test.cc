// Goal: snapshots as files, and reverting volumes to them, through the kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SnapshotFilesTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    Mount();
    MustRun("head -c 3000005 /dev/urandom > " + Then() + "; cp " + Then() + " " + Volume("db"));
    MustAsk("snapshot", "db monday");
    MustRun("dd if=/dev/zero of=" + Volume("db") + " bs=1M count=2 conv=notrunc status=none");
    MustRun("truncate -s 5M " + Volume("db"));
  }
  std::string Then() { return directory() + "/then"; }
  bool IsThen(const std::string& path) {
    return RunShell("cmp " + Then() + " " + path).exit_code == 0;
  }
};

// A revert drops the newer contents that a reader has just put into the page cache.
TEST_F(SnapshotFilesTest, RevertShowsAtOnce) {
  EXPECT_FALSE(IsThen(Volume("db")));
  MustAsk("revert", "db@monday");
  EXPECT_EQ(StatOf(Volume("db")).st_size, 3000005);
  EXPECT_TRUE(IsThen(Volume("db")));
  Remount();
  EXPECT_TRUE(IsThen(Volume("db")));
  EXPECT_TRUE(IsThen(Path("snapshots/db/monday")));
}

// A volume that is open for reading, or attached, is not reverted, and the program that has it open
// sees no change.
TEST_F(SnapshotFilesTest, RevertIsRefusedWhileItIsOpen) {
  {
    const TestFile open(Volume("db"), O_RDONLY);
    EXPECT_EQ(Ask("revert", "db@monday"), EBUSY);
  }
  const std::string loop = AttachLoop(Volume("db"));
  EXPECT_EQ(Ask("revert", "db@monday"), EBUSY);
  DetachLoop(loop);
  EXPECT_EQ(Ask("revert", "db@monday"), 0);
  MustRun("chmod 444 " + Volume("db"));
  EXPECT_EQ(Ask("revert", "db@monday"), EPERM);
  EXPECT_EQ(Ask("revert", "db@tuesday"), ENOENT);
}

// As for other destructive requests, half a name must never revert.
TEST_F(SnapshotFilesTest, RevertWantsItsLineEnd) {
  EXPECT_NE(RunShell("printf db@monday > " + Path("control/revert")).exit_code, 0);
  EXPECT_FALSE(IsThen(Volume("db")));
  const CommandResult reverted = VolfsHere("revert db@monday");
  EXPECT_EQ(reverted.exit_code, 0) << reverted.output;
  EXPECT_TRUE(IsThen(Volume("db")));
}

// cp gives the copy the snapshot's mode, 0444. The owner may write his copy all the same.
TEST_F(SnapshotFilesTest, AreCopiedByCp) {
  MustRun("cp " + Path("snapshots/db/monday") + " " + Volume("copy"));
  EXPECT_TRUE(IsThen(Volume("copy")));
  EXPECT_EQ(StatOf(Volume("copy")).st_mode & 0222, 0200U);
  EXPECT_TRUE(TestFile(Volume("copy"), O_RDWR).ok());
}

TEST_F(SnapshotFilesTest, AreRenamedInTheirDirectory) {
  const std::string directory = Path("snapshots/db/");
  MustRun("mv " + directory + "monday " + directory + "mon");
  EXPECT_THAT(ListOf(directory), ElementsAre("mon"));
  EXPECT_TRUE(IsThen(directory + "mon"));
  MustAsk("snapshot", "db monday");
  EXPECT_EQ(ErrnoOf(::rename((directory + "mon").c_str(), (directory + "monday").c_str())), EEXIST);
  EXPECT_EQ(ErrnoOf(::rename((directory + "mon").c_str(), (directory + "a b").c_str())), EINVAL);
  EXPECT_EQ(ErrnoOf(::rename((directory + "mon").c_str(), Volume("x").c_str())), EPERM);
  Remount();
  EXPECT_THAT(ListOf(directory), ElementsAre("mon", "monday"));
  EXPECT_TRUE(IsThen(directory + "mon"));
  MustRun("rm " + directory + "mon " + directory + "monday");
  EXPECT_THAT(ListOf(Path("snapshots")), IsEmpty());
}

}  // namespace
}  // namespace volfs
