// Goal: `--agent` has the real QEMU guest agent freeze a guest around a snapshot or a clone, and
// thaws it in any case (contract.md 3).
// Method: the "guest" is a root directory of its own in a mount namespace of its own, in which the
// filesystem on the image is the only one that has a disk: the agent can freeze nothing else.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "tests/mount/freeze_fixture.h"
#include "tests/mount/own_namespace.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class GuestTest : public FreezeTest {
 protected:
  void TearDown() override {
    StopAgent();
    if (Exists(Disk())) (void)RunShell("fsfreeze -u " + Disk());
    FreezeTest::TearDown();
  }

  // Copies the agent's program and its libraries: a bind mount would bring in their disk.
  void StartAgent() {
    const std::string root = directory() + "/guest";
    agent_.emplace(InOwnNamespace(
        directory(),
        "set -e; mkdir " + root + "; mount -t tmpfs guest " + root + "; cd " + root +
            "; mkdir -p run proc dev disk usr/sbin; cp /usr/sbin/qemu-ga usr/sbin/; " +
            "for file in $(ldd usr/sbin/qemu-ga | grep -o '/[^ ]*'); do cp -L --parents $file .; " +
            "done; mount -t proc proc proc; mknod -m 666 dev/null c 1 3; mount " + device_ +
            " disk; exec chroot . /usr/sbin/qemu-ga -m unix-listen -p /run/qga.sock -t /run"));
    for (int i = 0; i < 500 && !Exists(Socket()); ++i) SleepMs(20);
    ASSERT_TRUE(Exists(Socket())) << agent_->Finish(0).output;
  }
  void StopAgent() {
    if (!agent_) return;
    agent_->Signal(SIGCONT);
    agent_->Signal(SIGTERM);
    agent_->WaitForEnd(5000);
    agent_.reset();
  }
  [[nodiscard]] std::string Socket() const {
    return "/proc/" + std::to_string(agent_->pid()) + "/root/run/qga.sock";
  }

  std::optional<BackgroundProgram> agent_;
};

// Under writes, the journal in the snapshot and in the clone is empty, and e2fsck finds nothing.
// The guest goes on afterwards.
TEST_F(GuestTest, TheJournalOfASnapshotIsEmpty) {
  Start();
  StartAgent();
  const CommandResult taken = VolfsHere("snapshot disk.img s --agent " + Socket());
  ASSERT_EQ(taken.exit_code, 0) << taken.output;
  EXPECT_TRUE(Grows(10'000)) << "it is thawed";
  const CommandResult cloned = VolfsHere("clone disk.img x --linked --agent " + Socket());
  ASSERT_EQ(cloned.exit_code, 0) << cloned.output;
  EXPECT_TRUE(Grows(10'000));
  ASSERT_TRUE(VolfsHere("restore disk.img@s r --linked").ok());
  for (const char* copy : {"r", "x"}) {
    EXPECT_FALSE(NeedsRecovery(Volume(copy))) << copy;
    const CommandResult fsck = RunShell("e2fsck -fn " + Volume(copy));
    EXPECT_EQ(fsck.exit_code, 0) << fsck.output;
  }
  StopAgent();
  Stop();
}

// `snapshot --freeze` does the same for a filesystem that is mounted here.
TEST_F(GuestTest, ASnapshotFreezesWhatIsMountedHereToo) {
  Start();
  ASSERT_TRUE(VolfsHere("snapshot disk.img plain").ok());
  const CommandResult taken = VolfsHere("snapshot disk.img s --freeze");
  ASSERT_EQ(taken.exit_code, 0) << taken.output;
  EXPECT_TRUE(Grows(10'000));
  ASSERT_TRUE(VolfsHere("restore disk.img@s r --linked").ok());
  ASSERT_TRUE(VolfsHere("restore disk.img@plain p --linked").ok());
  EXPECT_FALSE(NeedsRecovery(Volume("r")));
  EXPECT_TRUE(NeedsRecovery(Volume("p"))) << "or nothing was proved";
  Stop();
}

// SIGKILL during the request: the guest is thawed as soon as the process is gone.
TEST_F(GuestTest, AKilledCommandLeavesNoGuestFrozen) {
  PutNodeOnADisk();
  Start();
  StartAgent();
  HoldNodeUp();
  BackgroundProgram command(
      {Binary(), "clone", "disk.img", "x", "--agent", Socket(), "--mount", Mnt()});
  const bool frozen = BecomesFrozen();
  command.Signal(SIGKILL);
  LetNodeGo();
  EXPECT_TRUE(frozen);
  EXPECT_TRUE(Grows(8'000)) << "sooner than the time is over";
  EXPECT_TRUE(command.WaitForEnd(10'000));
  StopAgent();
  Stop();
  TakeNodeOffItsDisk();
}

// An agent that is stopped is named, and nothing is asked. When it goes on, nothing is frozen.
TEST_F(GuestTest, AnAgentThatHangsIsNamedAndNothingIsAsked) {
  Start();
  StartAgent();
  agent_->Signal(SIGSTOP);
  const CommandResult taken = VolfsHere("snapshot disk.img s --agent " + Socket());
  EXPECT_EQ(taken.exit_code, 7) << taken.output;
  EXPECT_THAT(taken.output, AllOf(HasSubstr("qga.sock"), HasSubstr("does not answer")));
  EXPECT_FALSE(Exists(Path("snapshots/disk.img/s")));
  agent_->Signal(SIGCONT);
  EXPECT_TRUE(Grows(10'000));
  EXPECT_EQ(VolfsHere("snapshot disk.img s --agent " + directory() + "/none").exit_code, 3);
  StopAgent();
  Stop();
}

}  // namespace
}  // namespace volfs
