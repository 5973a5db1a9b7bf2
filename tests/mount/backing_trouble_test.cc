// Goal: if a volume's node is in trouble, a filesystem in the volume ends as on a failing disk. The
// kernel's log reports it, the filesystem's own tools mend it, every file that was fsynced before
// is there, and no file reads wrong (contract.md 7.1, 7.6, T43, T56).
// Method: ext4 and XFS on a loop device over a volume with a snapshot, so that first writes and
// commits are involved. The node is on a disk that can be broken (faulty_disk.h).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <functional>

#include "tests/mount/faulty_disk.h"
#include "tests/mount/mount_fixture.h"
#include "tests/support/file_load.h"

namespace volfs {
namespace {

enum class Trouble { kWritesFail, kFull, kHangs, kFilesystemGone, kDaemonKilled };

struct TroubleCase {
  std::string filesystem;
  Trouble trouble;
};

std::string TroubleName(Trouble trouble) {
  switch (trouble) {
    case Trouble::kWritesFail:
      return "WritesFail";
    case Trouble::kFull:
      return "Full";
    case Trouble::kHangs:
      return "Hangs";
    case Trouble::kFilesystemGone:
      return "FilesystemGone";
    case Trouble::kDaemonKilled:
      return "DaemonKilled";
  }
  return "";
}

class BackingTroubleTest : public MountTest, public testing::WithParamInterface<TroubleCase> {
 protected:
  static constexpr int kPatienceMs = 60'000;

  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    if (!RunShell("grep -qw " + GetParam().filesystem + " /proc/filesystems || modprobe " +
                  GetParam().filesystem)
             .ok()) {
      GTEST_SKIP() << "this kernel has no " << GetParam().filesystem;
    }
    disk_ = std::make_unique<FaultyDisk>(NodePath("bad"), "512M");
  }
  void TearDown() override {
    if (disk_ != nullptr) disk_->MendAll();
    load_.reset();
    LeaveUpperFilesystem();
    if (pid() > 0) Kill();
    (void)RunShell("umount -l " + Mnt());
    disk_.reset();
    MountTest::TearDown();
  }

  [[nodiscard]] std::string Disk() const { return directory() + "/disk"; }
  [[nodiscard]] std::string Image() const { return Volume("disk.img"); }

  void MountStore() { Mount({"a", "bad"}, "node_timeout=1"); }

  void MakeUpperFilesystem() {
    MustAsk("create", "disk.img 320M node=bad");
    MustRun("mkfs." + GetParam().filesystem + " -q " + Image() + " && mkdir " + Disk());
    MountUpperFilesystem();
    MustRun("mkdir " + Disk() + "/files && sync -f " + Disk());
    MustAsk("snapshot", "disk.img before");
  }
  void MountUpperFilesystem() {
    device_ = AttachLoop(Image());
    MustRun("mount " + device_ + " " + Disk());
  }
  // Unmounts the filesystem in any state.
  void LeaveUpperFilesystem() {
    if (device_.empty()) return;
    (void)RunShell("for i in $(seq 50); do umount " + Disk() +
                   " && exit 0; sleep 0.1; done; umount -l " + Disk());
    (void)RunShell("losetup -d " + device_);
    device_.clear();
  }

  void Begin(Trouble trouble) {
    switch (trouble) {
      case Trouble::kWritesFail:
        return disk_->Break("pwrite");
      case Trouble::kFull:
        (void)RunShell("cd " + NodePath("bad") + " && fallocate -l $(df -B1 --output=avail . | " +
                       "tail -n 1) filler; dd if=/dev/zero of=filler2 bs=4k status=none");
        return;
      case Trouble::kHangs:
        return disk_->Signal(SIGSTOP);
      case Trouble::kFilesystemGone:
        MustRun("xfs_io -x -c shutdown " + NodePath("bad"));
        return;
      case Trouble::kDaemonKilled:
        return Kill();
    }
  }
  // Repairs the disk and mounts the store again.
  void End() {
    disk_->MendAll();
    (void)RunShell("rm -f " + NodePath("bad") + "/filler*");
    LeaveUpperFilesystem();
    if (pid() > 0) Kill();
    (void)RunShell("umount -l " + Mnt());
    disk_->MountAgain();
    MountStore();
  }

  void LetLoadFill(uint64_t files) {
    const uint64_t wanted = load_->acknowledged() + files;
    for (int waited = 0; load_->acknowledged() < wanted && waited < kPatienceMs; waited += 10) {
      SleepMs(10);
    }
    ASSERT_GE(load_->acknowledged(), wanted);
  }

  // Returns the lines of the kernel's log about the loop device since `mark` was put into it.
  [[nodiscard]] std::string KernelSays(const std::string& mark) const {
    const std::string loop = device_.substr(std::string("/dev/").size());
    return RunShell("dmesg | sed -n '/" + mark + "/,$p' | grep -w " + loop + "; true").output;
  }
  std::string MarkKernelLog() const {
    const std::string mark = "mark of " + directory().substr(directory().rfind('/') + 1);
    std::ofstream("/dev/kmsg") << mark << "\n";
    return mark;
  }
  // Goes on writing, because a filesystem learns of a dead disk only when it uses it.
  bool AwaitKernelSays(const std::string& mark) const {
    for (int waited = 0; waited < kPatienceMs; waited += 100) {
      if (testing::Value(KernelSays(mark), testing::ContainsRegex("error|Error|shut|abort"))) {
        return true;
      }
      (void)RunShell("head -c 100k /dev/urandom > " + Disk() + "/more && sync " + Disk() + "/more");
      SleepMs(100);
    }
    return false;
  }

  // Replays the journal and mends the damage that the filesystem's own tool finds. Expects none to
  // be left.
  void MendUpperFilesystem() {
    if (GetParam().filesystem == "xfs") {
      MountUpperFilesystem();
      LeaveUpperFilesystem();
      (void)RunShell("xfs_repair -n " + Image() + " || xfs_repair " + Image());
      const CommandResult clean = RunShell("xfs_repair -n " + Image());
      EXPECT_EQ(clean.exit_code, 0) << clean.output;
      return;
    }
    const CommandResult mended = RunShell("e2fsck -fy " + Image());
    EXPECT_LE(mended.exit_code, 1) << mended.output;  // 1: mended
    const CommandResult clean = RunShell("e2fsck -fn " + Image());
    EXPECT_EQ(clean.exit_code, 0) << clean.output;
  }

  std::unique_ptr<FaultyDisk> disk_;
  std::unique_ptr<FileLoad> load_;
  std::string device_;
};

TEST_P(BackingTroubleTest, EndsAFilesystemInAVolumeAsAFailingDiskDoes) {
  MountStore();
  MakeUpperFilesystem();
  load_ = std::make_unique<FileLoad>(Disk() + "/files", 1);
  load_->Start();
  LetLoadFill(20);
  const std::string mark = MarkKernelLog();
  // A sync that runs while a filesystem is being shut down may return 0 for lost data.
  if (GetParam().trouble == Trouble::kFilesystemGone) load_->DistrustSyncs();
  Begin(GetParam().trouble);
  EXPECT_TRUE(AwaitKernelSays(mark)) << "the kernel's log tells nothing of " << device_;
  disk_->MendAll();
  load_->Stop();
  End();
  MendUpperFilesystem();
  MountUpperFilesystem();
  EXPECT_EQ(load_->Check(), "");
  load_.reset();
  LeaveUpperFilesystem();
  EXPECT_EQ(Field("disk.img", "status"), "available") << Field("disk.img", "error");
}

std::vector<TroubleCase> TroubleCases() {
  std::vector<TroubleCase> cases;
  for (const char* filesystem : {"ext4", "xfs"}) {
    for (const Trouble trouble : {Trouble::kWritesFail, Trouble::kFull, Trouble::kHangs,
                                  Trouble::kFilesystemGone, Trouble::kDaemonKilled}) {
      cases.push_back({filesystem, trouble});
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Kinds, BackingTroubleTest, testing::ValuesIn(TroubleCases()),
                         [](const testing::TestParamInfo<TroubleCase>& one) {
                           return one.param.filesystem + "_" + TroubleName(one.param.trouble);
                         });

}  // namespace
}  // namespace volfs
