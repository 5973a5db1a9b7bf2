// Goal: a node that is lost under its daemon acknowledges nothing any more and says why. Data that
// is not durable is reported by `error`, by `state`, by an event and by umount, which leaves the
// mount as it is.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class NodeLossTest : public MountTest {
 protected:
  void TearDown() override {
    (void)Volfs("umount --force " + Mnt());
    if (pid() != 0) ::waitpid(pid(), nullptr, 0);
    ExpectNoDaemon();
    (void)RunShell("umount -R " + NodePath("b"));
    MountTest::TearDown();
  }

  // Writes a block and syncs it.
  int WriteAndSync(const std::string& volume) {
    const TestFile file(Volume(volume), O_WRONLY);
    if (!file.ok()) return file.open_error();
    const std::string data(kBlock, 'x');
    const int error = ErrnoOf(::pwrite(file.fd(), data.data(), data.size(), 0));
    return error != 0 ? error : ErrnoOf(::fsync(file.fd()));
  }
  void MakeSynced(const std::string& volume) {
    MustRun("head -c 1M /dev/urandom > " + volume + " && sync " + volume);
  }
  std::string State(const std::string& node) {
    return ReadText(Path("control/nodes/" + node + "/state"));
  }
  bool WaitForState(const std::string& node, const std::string& words) {
    for (int i = 0; i < 1000; ++i) {
      if (State(node).find(words) != std::string::npos) return true;
      SleepMs(10);
    }
    return false;
  }
  // Node b's volume is refused with the reason, and node a's goes on.
  void ExpectLost() {
    EXPECT_TRUE(WaitForState("b", "fenced")) << State("b");
    EXPECT_EQ(WriteAndSync("on-b"), EIO);
    EXPECT_EQ(Field("on-b", "status"), "error");
    EXPECT_THAT(Field("on-b", "error"), HasSubstr("node directory " + NodePath("b")));
    EXPECT_THAT(ReadText(Path("control/metrics")), HasSubstr("volfs_node_up{node=\"b\"} 0"));
    EXPECT_EQ(WriteAndSync("on-a"), 0);
    EXPECT_EQ(State("a"), "ok\n");
  }
  void Start() {
    Mount();
    MakeSynced(Path("nodes/a/on-a"));
    MakeSynced(Path("nodes/b/on-b"));
  }
};

// The loss shows without a wait: no sync after it succeeds.
TEST_F(NodeLossTest, ARemovedDirectoryAcknowledgesNothing) {
  Start();
  const TestFile open(Volume("on-b"), O_WRONLY);
  fs::remove_all(NodePath("b"));
  EXPECT_EQ(ErrnoOf(::fsync(open.fd())), EIO);
  EXPECT_NE(WriteAndSync("on-b"), 0);
  ExpectLost();
  EXPECT_EQ(Ask("create", "new 1M node=b"), EIO);
  EXPECT_EQ(Ask("create", "new 1M node=a"), 0);
}

// A layered volume syncs by a commit, which checks for the loss, too.
TEST_F(NodeLossTest, ARemovedDirectoryTakesNoCommit) {
  Start();
  MustAsk("snapshot", "on-b s");
  fs::remove_all(NodePath("b"));
  EXPECT_NE(WriteAndSync("on-b"), 0);
  EXPECT_NE(Ask("snapshot", "on-b t"), 0);
  EXPECT_NE(Ask("delete", "on-b@s"), 0);
  ExpectLost();
}

// If one volume's file is removed, only that volume is lost.
TEST_F(NodeLossTest, ARemovedLayerIsTheErrorOfItsVolume) {
  Start();
  MakeSynced(Path("nodes/b/neighbour"));
  const std::string layer = Field("on-b", "map");
  const size_t at = layer.find("layers/");
  ASSERT_NE(at, std::string::npos) << layer;
  fs::remove(NodePath("b") + "/" + layer.substr(at, 23));
  EXPECT_EQ(WriteAndSync("on-b"), EIO);
  EXPECT_THAT(Field("on-b", "error"), HasSubstr("was removed"));
  EXPECT_EQ(Field("on-b", "status"), "error");
  EXPECT_EQ(WriteAndSync("neighbour"), 0);
  EXPECT_EQ(State("b"), "ok\n");
}

TEST_F(NodeLossTest, ADirectoryThatIsReplacedByACopyIsNotWrittenAnyMore) {
  Start();
  MustRun("mv " + NodePath("b") + " " + NodePath("aside") + " && cp -a " + NodePath("aside") + " " +
          NodePath("b"));
  EXPECT_NE(WriteAndSync("on-b"), 0);
  ExpectLost();
}

TEST_F(NodeLossTest, AFilesystemThatIsUnmountedIsNotWrittenAnyMore) {
  MustRun("mkdir -p " + NodePath("b") + " && mount -t tmpfs -o mode=700 disk " + NodePath("b"));
  Start();
  MustRun("umount -l " + NodePath("b"));
  EXPECT_NE(WriteAndSync("on-b"), 0);
  ExpectLost();
}

TEST_F(NodeLossTest, ADirectoryThatIsMountedOverIsNotWrittenAnyMore) {
  Start();
  MustRun("mount -t tmpfs over " + NodePath("b"));
  EXPECT_NE(WriteAndSync("on-b"), 0);
  ExpectLost();
}

// ext4 makes itself read-only after an error, and reports that only to writers.
TEST_F(NodeLossTest, AFilesystemThatTakesNoMoreWritesAcknowledgesNone) {
  const std::string image = directory() + "/b.ext4";
  MustRun("mkdir -p " + NodePath("b") + " && truncate -s 64M " + image + " && mkfs.ext4 -q -F " +
          image + " && mount -o loop,errors=remount-ro " + image + " " + NodePath("b") +
          " && chmod 700 " + NodePath("b"));
  Start();
  MustRun("echo test > /sys/fs/ext4/$(basename $(findmnt -no SOURCE " + NodePath("b") +
          "))/trigger_fs_error");
  EXPECT_NE(WriteAndSync("on-b"), 0);
  EXPECT_NE(Ask("snapshot", "on-b s"), 0);
  EXPECT_TRUE(WaitForState("b", "fenced"));
  EXPECT_NE(Volfs("umount " + Mnt()).exit_code, 0);
}

// Watchers get the event without asking, once.
TEST_F(NodeLossTest, IsAnEventOfTheNodeAndOfItsVolumes) {
  Start();
  const TestFile events(Path("control/watch/events"), O_RDONLY);
  ASSERT_TRUE(events.ok());
  fs::remove_all(NodePath("b"));
  std::string seen;
  char buffer[8192];
  while (seen.find("\"event\":\"node\"") == std::string::npos ||
         seen.find("\"event\":\"status\"") == std::string::npos) {
    const ssize_t got = ::read(events.fd(), buffer, sizeof buffer);
    ASSERT_GT(got, 0);
    seen.append(buffer, static_cast<size_t>(got));
  }
  EXPECT_THAT(seen, AllOf(HasSubstr("\"status\":\"error\",\"node\":\"b\",\"error\":\"fenced"),
                          HasSubstr("\"volume\":\"on-b\"")));
}

// umount names the data that is not durable and leaves the mount, so that it can be mended. --force
// abandons the data. The daemon ends with an error in both cases.
TEST_F(NodeLossTest, UmountIsRefusedUntilItIsForced) {
  Start();
  fs::remove_all(NodePath("b"));
  const CommandResult refused = Volfs("umount " + Mnt());
  EXPECT_EQ(refused.exit_code, 1) << refused.output;
  EXPECT_THAT(refused.output, AllOf(HasSubstr("not all that was written is durable"),
                                    HasSubstr("node b: fenced"), HasSubstr("--force")));
  EXPECT_EQ(WriteAndSync("on-a"), 0) << "it is still mounted";
  const CommandResult forced = Volfs("umount --force " + Mnt());
  EXPECT_EQ(forced.exit_code, 0) << forced.output;
  EXPECT_THAT(forced.output, HasSubstr("not durable:"));
  EXPECT_FALSE(Exists(Path("control")));
  int status = 0;
  ::waitpid(pid(), &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 1);
  ExpectNoDaemon();
}

TEST_F(NodeLossTest, TheDaemonEndsWithAnErrorIfItsLastCommitsFail) {
  Start();
  fs::remove_all(NodePath("b"));
  MustRun("fusermount3 -u " + Mnt());
  int status = 0;
  ::waitpid(pid(), &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1);
  ExpectNoDaemon();
}

// A stopped daemon does not answer: the command says so and ends with exit code 7.
TEST_F(NodeLossTest, UmountDoesNotWaitForADaemonThatIsStopped) {
  Start();
  ::kill(pid(), SIGSTOP);
  const CommandResult refused = RunShell("timeout 20 " + Binary() + " umount " + Mnt());
  ::kill(pid(), SIGCONT);
  EXPECT_EQ(refused.exit_code, 7) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr("the daemon of " + Mnt()));
  Unmount();
}

}  // namespace
}  // namespace volfs
