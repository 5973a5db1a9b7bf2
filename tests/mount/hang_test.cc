// Goal: a node that hangs affects its own volumes only, a program that waits for it is answered or
// can be killed, and late writes destroy nothing (contract.md 7.7, traps T54, T63).
// Method: node b has an ext4 of its own. Frozen, it takes no write until it is thawed, and reads of
// cached data are answered. For hanging reads, its disk is an image of a second mount whose daemon
// is stopped.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

int MsOf(const std::function<void()>& action) {
  const Clock::time_point start = Clock::now();
  action();
  return static_cast<int>(
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start).count());
}

class HangTest : public MountTest {
 protected:
  // The disk is released after 40 s, so a waiting caller needs as long. The machine may be busy.
  static constexpr int kAtOnceMs = 5000;
  static constexpr int kGivenUpMs = 15000;

  void TearDown() override {
    Thaw();
    LetDiskGo();
    if (pid() != 0) {
      (void)Answers();  // otherwise umount reports the hung node
      Unmount();
    }
    (void)RunShell("umount " + NodePath("b"));
    if (outer_ != 0) (void)Volfs("umount " + directory() + "/outer/mnt");
    MountTest::TearDown();
  }

  void PutNodeOnADisk() {
    MustRun("truncate -s 256M " + directory() + "/b.ext4 && mkfs.ext4 -q -F " + directory() +
            "/b.ext4 && mount -o loop " + directory() + "/b.ext4 " + NodePath("b") +
            " && chmod 700 " + NodePath("b"));
  }

  // A background process thaws it even if the test fails, because a process that waits for it
  // cannot be killed.
  void Freeze() {
    MustRun("fsfreeze -f " + NodePath("b"));
    thawer_ = std::stoi(MustRun("setsid sh -c 'sleep 40; fsfreeze -u " + NodePath("b") +
                                "' > /dev/null 2>&1 & echo $!"));
  }
  void Thaw() {
    if (thawer_ == 0) return;
    ::kill(-thawer_, SIGKILL);
    (void)RunShell("fsfreeze -u " + NodePath("b"));
    thawer_ = 0;
  }

  // Makes reads hang, too: the disk is an image of a mount whose daemon can be stopped.
  void PutNodeOnAStoppableDisk() {
    const std::string outer = directory() + "/outer";
    MustRun("mkdir -p " + outer + "/node " + outer + "/mnt && " + Binary() + " mount " + outer +
            "/node " + outer + "/mnt && truncate -s 256M " + outer + "/mnt/volumes/b.ext4 && " +
            "mkfs.ext4 -q -F " + outer + "/mnt/volumes/b.ext4 && mount -o loop " + outer +
            "/mnt/volumes/b.ext4 " + NodePath("b") + " && chmod 700 " + NodePath("b"));
    outer_ = std::stoi(MustRun("sed -n 's/^pid=//p' " + outer + "/mnt/control/config"));
  }
  void StopDisk() { ::kill(outer_, SIGSTOP); }
  void LetDiskGo() {
    if (outer_ != 0) ::kill(outer_, SIGCONT);
  }

  // Makes a volume on each node.
  void Start() {
    PutNodeOnADisk();
    Mount({"a", "b"}, "node_timeout=1");
    for (const char* node : {"a", "b"}) {
      const std::string file = Path("nodes/") + node + "/on-" + node;
      MustRun("head -c 4M /dev/urandom > " + file);
      // The limit is short, so a busy machine may exceed it.
      MustRun("for i in $(seq 30); do sync " + file + " && exit 0; sleep 1; done; exit 1");
    }
  }

  int WriteBlock(const std::string& volume, char byte, off_t offset = 0) {
    const TestFile file(Volume(volume), O_WRONLY);
    const std::string data(kBlock, byte);
    return file.ok() ? ErrnoOf(::pwrite(file.fd(), data.data(), data.size(), offset))
                     : file.open_error();
  }
  char ReadByte(const std::string& volume, off_t offset = 0) {
    const TestFile file(Volume(volume), O_RDONLY | O_DIRECT);
    alignas(kBlock) char data[kBlock] = {};
    return ::pread(file.fd(), data, sizeof data, offset) == kBlock ? data[0] : '?';
  }

  // Writes to node b until the error says that the node hangs.
  void LearnThatItHangs() {
    int error = 0;
    EXPECT_LT(MsOf([&] { error = WriteBlock("on-b", 'h'); }), kGivenUpMs);
    EXPECT_EQ(error, EIO);
    EXPECT_THAT(State(), HasSubstr("does not answer"));
  }
  std::string State() { return ReadText(Path("control/nodes/b/state")); }
  bool Answers() {
    for (int i = 0; i < 500; ++i) {
      if (State() == "ok\n") return true;
      ::usleep(10'000);
    }
    return false;
  }

  // Starts a child that runs `action`.
  template <typename Action>
  int Fork(const Action& action) {
    const int child = ::fork();
    if (child == 0) {
      action();
      ::_exit(0);
    }
    return child;
  }
  // Kills a child and returns the milliseconds until it is gone.
  int Kill9(int child) {
    return MsOf([child] {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    });
  }

 private:
  int thawer_ = 0;  // process group of the late thaw; 0: not frozen
  int outer_ = 0;   // the daemon under node b's disk
};

// A writer gets EIO after the limit, and a later one gets it at once. last_error, the log and the
// node's state name the node and the time since when it hangs.
TEST_F(HangTest, WhoWaitsIsAnswered) {
  Start();
  Freeze();
  LearnThatItHangs();
  int error = 0;
  EXPECT_LT(MsOf([&] { error = WriteBlock("on-b", 'i'); }), kAtOnceMs);
  EXPECT_EQ(error, EIO);
  EXPECT_THAT(State(), HasSubstr("a write has not returned for"));
  EXPECT_THAT(ReadText(Path("control/last_error")),
              AllOf(HasSubstr("write:volumes/on-b EIO given up after"),
                    HasSubstr("node b does not answer: a write has not returned for")));
  EXPECT_THAT(
      RunShell("cat /var/log/volfs/*" + directory().substr(directory().rfind('.')) + "-mnt.log")
          .output,
      HasSubstr("node b does not answer"));
  Thaw();
  EXPECT_TRUE(Answers());
}

// Volumes of the other node work while the first hangs, both before and after the hang is known.
TEST_F(HangTest, TheOtherNodesVolumesAreNotHurt) {
  Start();
  MustRun("truncate -s 1M " + Path("nodes/a/old"));
  Freeze();
  const int writer = Fork([&] { (void)WriteBlock("on-b", 'h'); });
  const auto use_a = [&] {
    EXPECT_EQ(WriteBlock("on-a", 'x'), 0);
    EXPECT_EQ(ReadByte("on-a"), 'x');
    MustRun("sync " + Volume("on-a"));
    MustRun("ls -l " + Path("volumes") + " && df " + Path("nodes/a"));
    EXPECT_THAT(ReadText(Path("control/status")), HasSubstr("on-b"));
    MustRun("touch " + Path("nodes/a/new") + " && mv " + Path("nodes/a/new") + " " +
            Path("nodes/a/newer") + " && rm " + Path("nodes/a/newer"));
    MustAsk("snapshot", "on-a s");
    MustAsk("clone", "on-a copy node=a");
    EXPECT_TRUE(WaitForStatus("copy", "available"));
    MustAsk("delete", "copy");
    MustAsk("delete", "on-a@s");
  };
  use_a();
  ::waitpid(writer, nullptr, 0);
  EXPECT_THAT(State(), HasSubstr("does not answer"));
  EXPECT_LT(MsOf(use_a), 2 * kAtOnceMs);
  EXPECT_EQ(Ask("create", "fresh 1M node=b"), EHOSTDOWN);
  EXPECT_EQ(Ask("delete", "on-b"), EHOSTDOWN);
  EXPECT_EQ(Ask("clone", "on-a across node=b"), EHOSTDOWN);
  EXPECT_EQ(Ask("snapshot", "on-b s"), EHOSTDOWN);
  EXPECT_EQ(::unlink(Path("nodes/b/on-b").c_str()) == 0 ? 0 : errno, EHOSTDOWN);
  EXPECT_EQ(::unlink(Path("nodes/b/missing").c_str()) == 0 ? 0 : errno, ENOENT);
  Thaw();
  ASSERT_TRUE(Answers());
  MustAsk("create", "fresh 1M node=b");
}

// However many requests wait for the hung node, the other node's volumes are served at once.
TEST_F(HangTest, ManyWhoWaitHoldUpNobodyElse) {
  constexpr int kMany = 120;
  Start();
  Freeze();
  std::vector<int> children;
  for (int i = 0; i < kMany; ++i) {
    children.push_back(Fork([&] { (void)WriteBlock("on-b", 'h', i * kBlock); }));
  }
  ::usleep(200'000);
  for (int i = 0; i < 5; ++i) {
    EXPECT_LT(MsOf([&] { EXPECT_EQ(WriteBlock("on-a", 'x'), 0); }), kAtOnceMs);
    EXPECT_LT(MsOf([&] { (void)ReadText(Path("control/status")); }), kAtOnceMs);
  }
  const int took_ms = MsOf([&] {
    for (const int child : children) ::waitpid(child, nullptr, 0);
  });
  EXPECT_LT(took_ms, 2 * kGivenUpMs);
  Thaw();
  EXPECT_TRUE(Answers());
}

// A killed caller is gone long before the limit.
TEST_F(HangTest, WhoWaitsCanBeKilled) {
  PutNodeOnADisk();
  Mount({"a", "b"}, "node_timeout=60");
  MustRun("head -c 1M /dev/urandom > " + Path("nodes/b/on-b") + " && sync " + Volume("on-b"));
  Freeze();
  const int writer = Fork([&] { (void)WriteBlock("on-b", 'h'); });
  const int maker = Fork([&] { (void)TestFile(Path("nodes/b/new"), O_CREAT | O_WRONLY); });
  AwaitAsleep(writer);
  AwaitAsleep(maker);
  EXPECT_LT(Kill9(writer), 2500);
  EXPECT_LT(Kill9(maker), 2500);
  EXPECT_EQ(State(), "ok\n") << "it may be slow only";
  Thaw();
}

// Writes that bypass the page cache go to the node in parallel. All that begin before the first has
// returned are abandoned, and none waits in the kernel (T58).
TEST_F(HangTest, DirectWritesOfOneImageGoSideBySide) {
  constexpr int kWriters = 4;
  Start();
  Freeze();
  std::vector<int> children;
  for (int i = 0; i < kWriters; ++i) {
    children.push_back(Fork([&, i] {
      const TestFile file(Volume("on-b"), O_WRONLY | O_DIRECT);
      alignas(kBlock) const char data[kBlock] = {};
      (void)!::pwrite(file.fd(), data, sizeof data, i * kBlock);
    }));
  }
  for (const int child : children) ::waitpid(child, nullptr, 0);
  const std::string errors = ReadText(Path("control/last_error"));
  int given_up = 0;
  for (size_t at = errors.find("given up"); at != std::string::npos;
       at = errors.find("given up", at + 1)) {
    ++given_up;
  }
  EXPECT_EQ(given_up, kWriters) << errors;
  Thaw();
}

// A late write does not land over a newer one: no write is taken until the abandoned one has
// returned. Then the volume works as before, and reads return the written bytes (T63).
TEST_F(HangTest, AWriteThatLandsLateIsOverNothingNewer) {
  Start();
  Freeze();
  LearnThatItHangs();
  EXPECT_EQ(WriteBlock("on-b", 'n'), EIO);
  Thaw();
  int error = EIO;
  for (int i = 0; i < 500 && error == EIO; ++i) {
    error = WriteBlock("on-b", 'n');
    if (error == EIO) ::usleep(2000);
  }
  EXPECT_EQ(error, 0);
  EXPECT_TRUE(Answers());
  ::usleep(100'000);
  EXPECT_EQ(ReadByte("on-b"), 'n');
  MustRun("sync " + Volume("on-b"));
  Remount();
  EXPECT_EQ(ReadByte("on-b"), 'n');
}

// The same for a write whose caller was killed: the next write waits for it.
TEST_F(HangTest, AWriteWaitsForAnEarlierOneWhoseCallerWasKilled) {
  PutNodeOnADisk();
  Mount({"a", "b"}, "node_timeout=60");
  MustRun("head -c 1M /dev/zero > " + Path("nodes/b/on-b") + " && sync " + Volume("on-b"));
  Freeze();
  (void)Kill9(Fork([&] { (void)WriteBlock("on-b", 'o'); }));
  const int writer = Fork([&] { ::_exit(WriteBlock("on-b", 'n')); });
  ::usleep(300'000);
  EXPECT_EQ(::waitpid(writer, nullptr, WNOHANG), 0);
  Thaw();
  int status = 0;
  ::waitpid(writer, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  ::usleep(100'000);
  EXPECT_EQ(ReadByte("on-b"), 'n');
}

// After an abandoned sync the next sync must sync again, so an answer to the first does not count.
TEST_F(HangTest, ASyncThatWasGivenUpIsNoSuccess) {
  Start();
  const TestFile file(Volume("on-b"), O_WRONLY);
  const std::string data(kBlock, 's');
  ASSERT_EQ(ErrnoOf(::pwrite(file.fd(), data.data(), data.size(), 0)), 0);
  Freeze();
  LearnThatItHangs();
  int error = 0;
  EXPECT_LT(MsOf([&] { error = ErrnoOf(::fsync(file.fd())); }), kGivenUpMs);
  EXPECT_EQ(error, EIO);
  Thaw();
  ASSERT_TRUE(Answers());
  EXPECT_EQ(ErrnoOf(::fsync(file.fd())), 0) << "no sync had failed: nothing is final";
  EXPECT_EQ(WriteBlock("on-b", 't'), 0);
  EXPECT_EQ(Field("on-b", "error"), "");
}

// Where reads hang, too, a reader is answered. A clone that needs the node behaves as a volume of
// that node, and other volumes are not affected.
TEST_F(HangTest, ReadsAreAnsweredToo) {
  PutNodeOnAStoppableDisk();
  Mount({"a", "b"}, "node_timeout=1");
  MustRun("head -c 4M /dev/urandom > " + Path("nodes/a/on-a") + " && head -c 4M /dev/urandom > " +
          Path("nodes/b/on-b") + " && sync " + Volume("on-a") + " " + Volume("on-b"));
  SetCopyRate("0");
  MustAsk("clone", "on-b copy node=a");
  MustRun("sync; for f in " + NodePath("b") +
          "/layers/*; do dd of=$f oflag=nocache "
          "conv=notrunc,fdatasync count=0 status=none; done");
  StopDisk();
  char byte = 0;
  EXPECT_LT(MsOf([&] { byte = ReadByte("on-b"); }), kGivenUpMs);
  EXPECT_EQ(byte, '?');
  EXPECT_LT(MsOf([&] { byte = ReadByte("copy"); }), kGivenUpMs);
  EXPECT_EQ(byte, '?');
  EXPECT_LT(MsOf([&] {
              EXPECT_EQ(WriteBlock("on-a", 'x'), 0);
              EXPECT_EQ(ReadByte("on-a"), 'x');
              MustRun("sync " + Volume("on-a") + " && cat " + Path("control/status") + " && rm " +
                      Volume("on-a"));
            }),
            2 * kAtOnceMs);
  EXPECT_THAT(State(), HasSubstr("a read has not returned for"));
  LetDiskGo();
  ASSERT_TRUE(Answers());
  EXPECT_NE(ReadByte("on-b"), '?');
  EXPECT_EQ(ReadByte("on-b"), ReadByte("copy"));
}

// A write that is in flight for over a second refuses a snapshot and a clone, because the snapshot
// point would have to wait for it. The request leaves nothing behind (5.7).
TEST_F(HangTest, AWriteInFlightForOverASecondRefusesAnInstant) {
  PutNodeOnADisk();
  Mount({"a", "b"}, "node_timeout=60");
  MustRun("head -c 1M /dev/zero > " + Path("nodes/b/on-b") + " && sync " + Volume("on-b"));
  Freeze();
  const int writer = Fork([&] { (void)WriteBlock("on-b", 'w'); });
  AwaitAsleep(writer);
  AskResult refused;
  const int took_ms = MsOf([&] { refused = AskForReply("snapshot", "on-b s"); });
  EXPECT_EQ(refused.error, EBUSY) << refused.reply;
  EXPECT_GE(took_ms, 900);
  EXPECT_LT(took_ms, 5000);
  Thaw();
  ::waitpid(writer, nullptr, 0);
  EXPECT_FALSE(Exists(Path("snapshots/on-b")));
  MustAsk("snapshot", "on-b s");
}

// umount names the hung node in time, and leaves the mount until the node answers (exit code 7).
TEST_F(HangTest, UmountIsRefusedWhileANodeHangs) {
  Start();
  Freeze();
  LearnThatItHangs();
  CommandResult refused;
  EXPECT_LT(MsOf([&] { refused = Volfs("umount " + Mnt()); }), kAtOnceMs);
  EXPECT_EQ(refused.exit_code, 7) << refused.output;
  EXPECT_THAT(refused.output, HasSubstr("node b: does not answer"));
  EXPECT_EQ(WriteBlock("on-a", 'u'), 0);
  Thaw();
  ASSERT_TRUE(Answers());
  Unmount();
}

// umount answers long before the limit after which the node counts as hung, whether or not the node
// has unsaved data.
TEST_F(HangTest, UmountAnswersSoonerThanTheNodesLimit) {
  PutNodeOnADisk();
  Mount({"a", "b"}, "node_timeout=60");
  MustRun("head -c 1M /dev/urandom > " + Path("nodes/b/on-b") + " && sync " + Volume("on-b"));
  for (const bool unsaved : {true, false}) {
    SCOPED_TRACE(unsaved);
    if (unsaved) {
      EXPECT_EQ(WriteBlock("on-b", 'u'), 0);
    }
    Freeze();
    CommandResult refused;
    const int took_ms = MsOf([&] { refused = Volfs("umount " + Mnt()); });
    EXPECT_LT(took_ms, kGivenUpMs) << "5 s on a machine with time";
    EXPECT_EQ(refused.exit_code, 7) << refused.output;
    EXPECT_THAT(refused.output, AllOf(HasSubstr("node b: does not answer: "),
                                      HasSubstr("has not returned for"), HasSubstr("--force")));
    EXPECT_EQ(WriteBlock("on-a", 'u'), ENOENT) << "it is still mounted";
    Thaw();
  }
  Unmount();
}

// A mount with a hung node can be ended. The other node's volumes are committed.
TEST_F(HangTest, TheMountCanBeEnded) {
  Start();
  EXPECT_EQ(WriteBlock("on-a", 'e'), 0);
  Freeze();
  LearnThatItHangs();
  ::kill(pid(), SIGTERM);
  for (int i = 0; i < 1000 && Exists(Path("control")); ++i) ::usleep(10'000);
  EXPECT_FALSE(Exists(Path("control")));
  ::sleep(4);  // the process exits; the kernel keeps it until the call has returned
  Thaw();
  int status = 0;
  ::waitpid(pid(), &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 1) << "it did not end in order";
  ExpectNoDaemon();
  Mount({"a", "b"}, "node_timeout=1");
  EXPECT_EQ(ReadByte("on-a"), 'e');
  EXPECT_EQ(ReadText(Path("control/nodes/b/state")), "ok\n");
}

}  // namespace
}  // namespace volfs
