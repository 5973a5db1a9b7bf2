// Goal: an error of a disk during copying is reported, affects no other volume, and is over when
// the disk works again (contract.md 5.11, T36, T37). For the kernel the disks are real: a
// filesystem on a loop device, over a file that nbdkit serves through FUSE with injected errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "tests/mount/faulty_disk.h"
#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::HasSubstr;

class DeviceTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    disk_ = std::make_unique<FaultyDisk>(NodePath("bad"), "64M");
  }
  void TearDown() override {
    disk_->MendAll();
    if (pid() > 0) Unmount();
    disk_.reset();
    MountTest::TearDown();
  }
  void MakeVolume(const std::string& name, const std::string& node) {
    MustAsk("create", name + " 8M node=" + node);
    const CommandResult made = RunShell("dd if=/dev/urandom of=" + Volume(name) +
                                        " bs=1M count=8 conv=notrunc,fsync status=none");
    if (made.exit_code != 0) throw std::runtime_error(made.output);
  }
  std::string Differs(const std::string& one, const std::string& other) {
    return RunShell("cmp " + Volume(one) + " " + Volume(other)).output;
  }
  bool WaitForError(const std::string& volume, const std::string& words) {
    for (int i = 0; i < 1500; ++i) {
      if (Field(volume, "error").find(words) != std::string::npos) return true;
      ::usleep(20'000);
    }
    return false;
  }

  std::unique_ptr<FaultyDisk> disk_;
};

// R7, T36: after a few attempts the copy is `error` with range, node and cause. Reading uncopied
// bytes gives EIO and never zeros, and other volumes go on. When the disk works again, resume=1
// continues.
TEST_F(DeviceTest, ThatCannotBeReadStopsTheCopyAndResumeGoesOn) {
  Mount({"b", "bad"});  // limits are remembered on the first one
  MakeVolume("db", "bad");
  MakeVolume("other", "b");
  SetCopyRate("0");
  MustAsk("clone", "db x node=b");
  disk_->Forget();
  disk_->Break("pread");
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("x", "error"));
  EXPECT_THAT(Field("x", "error"), HasSubstr("bytes 0 to "));
  EXPECT_THAT(Field("x", "error"), HasSubstr("of db on node bad"));
  EXPECT_THAT(Field("x", "error"), HasSubstr("Input/output error"));
  std::vector<std::byte> bytes(4096);
  EXPECT_EQ(TestFile(Volume("x"), O_RDONLY).ReadAt(4 << 20, bytes), EIO);
  EXPECT_EQ(RunShell("cat " + Volume("other") + " > /dev/null").output, "");
  disk_->MendAll();
  EXPECT_EQ(Ask("clone", "x resume=1"), 0);
  ASSERT_TRUE(WaitForStatus("x", "available"));
  EXPECT_EQ(Differs("db", "x"), "");
}

// T37: the clone is `error` and says why, its source is unchanged, and after a restart on a working
// disk the copy continues and becomes whole.
TEST_F(DeviceTest, ThatCannotBeWrittenStopsTheCopyUntilTheNextMount) {
  Mount({"a", "bad"});
  MakeVolume("db", "a");
  SetCopyRate("0");
  MustAsk("clone", "db x node=bad");
  disk_->Break("pwrite");
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("x", "error"));
  EXPECT_THAT(Field("x", "error"), HasSubstr("node"));
  EXPECT_THAT(Field("x", "error"), HasSubstr("bad"));
  EXPECT_EQ(RunShell("dd if=/dev/zero of=" + Volume("db") +
                     " bs=4k count=1 conv=notrunc,fsync status=none")
                .output,
            "");
  Kill();
  disk_->MendAll();
  disk_->MountAgain();
  Mount({"a", "bad"});
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("x", "available"));
  EXPECT_EQ(RunShell("cmp -i 4096 " + Volume("db") + " " + Volume("x")).output, "");
}

// A server does not answer: the clone stays `creating`, names the node that it waits for, and
// reports no remaining time. It continues without a request.
TEST_F(DeviceTest, ThatDoesNotAnswerIsToldAndWaitedFor) {
  Mount({"b", "bad"});  // limits are remembered on the first one
  MakeVolume("db", "bad");
  SetCopyRate("0");
  MustAsk("clone", "db x node=b");
  disk_->Forget();
  disk_->Signal(SIGSTOP);
  SetCopyRate("max");
  EXPECT_TRUE(WaitForError("x", "copying waits for node bad")) << Field("x", "error");
  EXPECT_EQ(Field("x", "status"), "creating");
  EXPECT_EQ(Field("x", "eta_seconds"), "unknown");
  disk_->Signal(SIGCONT);
  ASSERT_TRUE(WaitForStatus("x", "available"));
  EXPECT_EQ(Differs("db", "x"), "");
}

}  // namespace
}  // namespace volfs
