// Goal: `volfs clone --freeze` gives a clone with a clean filesystem, and thaws the source in any
// case (contract.md 3, traps T21, T24).
// Method: an ext4 on a loop device over an image, with a writer. A slow request is one to a node
// whose own filesystem is frozen.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/mount/freeze_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// Under writes, the clone's journal is empty, e2fsck finds nothing, and all earlier writes are
// there. The source is written to as before. Without --freeze the journal must be replayed.
TEST_F(FreezeTest, TheClonesJournalIsEmpty) {
  Start();
  for (int i = 0; i < 5; ++i) {
    MustRun("echo " + std::to_string(i) + " > " + Disk() + "/words");
    const std::string name = "frozen" + std::to_string(i);
    const CommandResult cloned = VolfsHere("clone disk.img " + name + " --linked --freeze");
    ASSERT_EQ(cloned.exit_code, 0) << cloned.output;
    EXPECT_EQ(cloned.output, name + ": available, 64M, on node a\n");
    EXPECT_TRUE(Grows(10'000)) << "it is thawed";
    EXPECT_FALSE(NeedsRecovery(Volume(name)));
    const CommandResult fsck = RunShell("e2fsck -fn " + Volume(name));
    EXPECT_EQ(fsck.exit_code, 0) << fsck.output;
    EXPECT_EQ(MustRun("debugfs -R 'cat words' " + Volume(name) + " 2>/dev/null"),
              std::to_string(i) + "\n");
  }
  ASSERT_TRUE(VolfsHere("clone disk.img other --linked").ok());
  EXPECT_TRUE(NeedsRecovery(Volume("other"))) << "or nothing was proved";
  Stop();
}

// The loop device still reports the name that the image had when it was attached. By now another
// volume may have that name.
TEST_F(FreezeTest, AVolumeThatWasRenamedIsKnownByItsInode) {
  Start();
  MustRun("mv " + Path("nodes/a/disk.img") + " " + Path("nodes/a/renamed.img"));
  MustRun("truncate -s 1M " + Volume("disk.img"));
  const CommandResult cloned = VolfsHere("clone renamed.img x --linked --freeze");
  EXPECT_EQ(cloned.exit_code, 0) << cloned.output;
  EXPECT_FALSE(NeedsRecovery(Volume("x")));
  const CommandResult other = VolfsHere("clone disk.img y --linked --freeze");
  EXPECT_THAT(other.output, HasSubstr("no filesystem is mounted"));
  EXPECT_TRUE(Grows(10'000));
  Stop();
}

TEST_F(FreezeTest, AFilesystemInAPartitionIsFrozen) {
  Mount();
  MustRun("truncate -s 64M " + Volume("disk.img") + " && sgdisk -n 1:2048:0 " + Volume("disk.img"));
  const CommandResult attached = VolfsHere("attach disk.img");
  ASSERT_TRUE(attached.ok()) << attached.output;
  device_ = attached.output.substr(0, attached.output.find('\n'));
  const std::string part = device_ + "p1";
  const std::string known = "/sys/block/" + device_.substr(5) + "/" + part.substr(5) + "/dev";
  // Not every kernel reads partition tables, nor does every machine make device nodes.
  MustRun("test -e " + known + " || partx -a " + device_ + "; test -b " + part + " || mknod " +
          part + " b $(tr : ' ' < " + known + ")");
  MustRun("mkfs.ext4 -q -F " + part + " && mkdir -p " + Disk() + " && mount " + part + " " +
          Disk());
  StartWriter();
  const CommandResult cloned = VolfsHere("clone disk.img x --linked --freeze");
  EXPECT_EQ(cloned.exit_code, 0) << cloned.output;
  EXPECT_TRUE(Grows(10'000));
  MustRun("dd bs=1M skip=1 status=none if=" + Volume("x") + " of=" + directory() + "/x.part");
  EXPECT_FALSE(NeedsRecovery(directory() + "/x.part"));
  Stop();
}

TEST_F(FreezeTest, NothingMountedIsSaidAndNoReasonNotToClone) {
  Mount();
  MustRun("truncate -s 1M " + Volume("v"));
  const CommandResult cloned = VolfsHere("clone v x --linked --freeze");
  EXPECT_EQ(cloned.exit_code, 0);
  EXPECT_THAT(cloned.output,
              AllOf(HasSubstr("no filesystem is mounted"), HasSubstr("x: available")));
  ASSERT_EQ(Ask("snapshot", "v s"), 0);
  EXPECT_EQ(VolfsHere("clone v@s y --linked --freeze").exit_code, 2);
}

// A filesystem that cannot be frozen is reported, no request is made, and nothing stays frozen.
TEST_F(FreezeTest, RefusalsLeaveNothingBehind) {
  Start();
  const std::string words = Binary() + " clone disk.img x --linked --freeze --mount " + Mnt();
  const CommandResult denied =
      RunShell("setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin " + words);
  EXPECT_EQ(denied.exit_code, 1) << denied.output;
  EXPECT_THAT(denied.output,
              AllOf(HasSubstr(Disk()), HasSubstr("run as root"), HasSubstr("nothing was asked")));
  EXPECT_FALSE(Exists(Volume("x")));
  EXPECT_TRUE(Grows(10'000));

  MustRun("fsfreeze -f " + Disk());
  const CommandResult busy = RunShell(words);
  MustRun("fsfreeze -u " + Disk());
  EXPECT_EQ(busy.exit_code, 5) << busy.output;
  EXPECT_THAT(busy.output, AllOf(HasSubstr("frozen already"), HasSubstr("fsfreeze -u " + Disk())));
  EXPECT_FALSE(Exists(Volume("x")));

  const CommandResult refused = VolfsHere("clone disk.img disk.img --freeze");
  EXPECT_EQ(refused.exit_code, 4) << refused.output;
  EXPECT_TRUE(Grows(10'000)) << "the refusal came from the mount, while it was frozen";
  Stop();
}

// SIGKILL during the request: the filesystem is thawed as soon as the process is gone.
TEST_F(FreezeTest, AKilledCommandLeavesNothingFrozen) {
  PutNodeOnADisk();
  Start();
  HoldNodeUp();
  BackgroundProgram command({Binary(), "clone", "disk.img", "x", "--freeze", "--mount", Mnt()});
  const bool frozen = BecomesFrozen();
  command.Signal(SIGKILL);
  // The process ends with its system call, which ends with the request.
  LetNodeGo();
  EXPECT_TRUE(frozen);
  EXPECT_TRUE(Grows(8'000)) << "sooner than the time is over";
  EXPECT_TRUE(command.WaitForEnd(10'000));
  Stop();
  TakeNodeOffItsDisk();
}

// If a request is not answered in time, the filesystem is thawed, and the command reports that.
TEST_F(FreezeTest, NothingIsFrozenForLong) {
  PutNodeOnADisk();
  Start();
  HoldNodeUp();
  BackgroundProgram command({Binary(), "clone", "disk.img", "x", "--freeze", "--mount", Mnt()});
  const bool frozen = BecomesFrozen();
  const bool thawed = Grows(20'000);
  const bool waits = !command.WaitForEnd(0);
  LetNodeGo();
  EXPECT_TRUE(frozen);
  EXPECT_TRUE(thawed);
  EXPECT_TRUE(waits);
  const CommandResult result = command.Finish(20'000);
  EXPECT_EQ(result.exit_code, 1) << result.output;
  EXPECT_THAT(result.output, AllOf(HasSubstr("x: creating"), HasSubstr("x: was made"),
                                   HasSubstr("may not be clean"), HasSubstr("more than 10 s")));
  EXPECT_TRUE(Exists(Volume("x")));
  Stop();
  TakeNodeOffItsDisk();
}

}  // namespace
}  // namespace volfs
