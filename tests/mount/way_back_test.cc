// Goal: mounting again works right after an unmount, and after a daemon has died the commands that
// doctor, umount and docs/operating.md give lead back to a working filesystem.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using Clock = std::chrono::steady_clock;

constexpr int kLocked = 8;

class WayBackTest : public MountTest {
 protected:
  void TearDown() override {
    (void)RunShell("umount " + Fs());
    // Those of a mount that is gone are not below the test's folder any more.
    (void)DetachLoopsNaming(image_);
    MountTest::TearDown();
  }
  [[nodiscard]] std::string Fs() const { return directory() + "/fs"; }
  // Loop devices belong to the whole machine, so the name excludes leftovers of another run.
  const std::string image_ = "db-" + std::to_string(::getpid()) + ".img";

  // Mounts an ext4 from an attached volume. Returns its device.
  std::string MountFilesystem() {
    MustRun("truncate -s 16M " + Volume(image_) + " && mkfs.ext4 -q -F " + Volume(image_) +
            " && mkdir -p " + Fs());
    std::string device = MustRun(Binary() + " attach " + image_ + " --mount " + Mnt());
    device.pop_back();
    MustRun("mount " + device + " " + Fs() + " && echo precious > " + Fs() + "/file && sync -f " +
            Fs() + "/file");
    return device;
  }
  static constexpr int kRounds = 20;
  // A device disappears when its last user has closed it. udev may be that user for a moment.
  // Another process may have taken the number since, for a file of its own.
  [[nodiscard]] std::string DetachedSays(const std::string& device) const {
    for (int i = 0; i < 500; ++i) {
      const CommandResult over = RunShell("losetup -n -O BACK-FILE " + device);
      if (!over.ok() || over.output.find(image_) == std::string::npos) return "free";
      SleepMs(10);
    }
    return "attached";
  }
  // Returns the commands of doctor's remedy for `subject`: those before ", and when".
  static std::string RemedyOf(const std::string& doctor, const std::string& subject) {
    const size_t at = doctor.find(subject + ": ");
    const size_t begin = at == doctor.npos ? at : doctor.find("-> ", at);
    if (begin == doctor.npos) return "";
    return doctor.substr(begin + 3, doctor.find('\n', begin) - begin - 3);
  }
};

// umount(8) and fusermount3 return when the mount is gone, which is before the daemon has ended.
TEST_F(WayBackTest, MountsRightAfterUnmounting) {
  for (int i = 0; i < kRounds; ++i) {
    Mount();
    MustRun("head -c 64K /dev/urandom > " + Volume("v" + std::to_string(i)));
    MustRun((i % 2 == 0 ? "umount " : "fusermount3 -u ") + Mnt());
    ExpectNoDaemon();
  }
  Mount();
  EXPECT_EQ(MustRun("ls " + Path("volumes") + " | wc -l"), std::to_string(kRounds) + "\n");
}

// The daemon is delayed on its way out. After a second the new mount says that it waits for it.
TEST_F(WayBackTest, WaitsForADaemonThatIsOnItsWayOutAndSaysSo) {
  Mount();
  CommandResult again;
  int old_daemon = 0;
  // Meanwhile another user's mount may get the device number, and so pass for the daemon's mount.
  // The new mount is then refused, and tried again.
  for (int i = 0; i < 5; ++i) {
    old_daemon = pid();
    ::kill(old_daemon, SIGSTOP);
    MustRun("umount -l " + Mnt());
    std::thread later([old_daemon] {
      ::usleep(1'500'000);
      ::kill(old_daemon, SIGCONT);
    });
    again = TryMount({"a", "b"});
    later.join();
    if (again.ok()) break;
    AwaitDaemon(20'000);
    Mount();
  }
  ASSERT_EQ(again.exit_code, 0) << again.output;
  EXPECT_THAT(again.output, AllOf(HasSubstr("waiting for"), HasSubstr(std::to_string(old_daemon))));
  FindDaemon();
}

// The mount does not wait for a daemon that serves a mount.
TEST_F(WayBackTest, RefusesALivingDaemonsNodeAtOnce) {
  Mount();
  MustRun("mkdir " + directory() + "/other");
  const auto begin = Clock::now();
  const CommandResult refused = Volfs("mount " + NodePath("a") + " " + directory() + "/other");
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
  EXPECT_EQ(refused.exit_code, kLocked);
  EXPECT_THAT(refused.output, HasSubstr(std::to_string(pid())));
}

// Follows doctor: mount over the dead mount, unmount the uppermost mount of the loop device,
// detach, attach.
TEST_F(WayBackTest, DoctorsCommandsLeadBackAfterAKill) {
  Mount();
  const std::string device = MountFilesystem();
  Kill();
  const std::string before = Volfs("doctor").output;
  EXPECT_THAT(before, AllOf(HasSubstr("the mount is dead"), HasSubstr("volfs mount")));
  EXPECT_THAT(RemedyOf(before, device), AllOf(HasSubstr("umount " + Fs()), HasSubstr(device)));
  Mount();
  const std::string remedy = RemedyOf(Volfs("doctor").output, device);
  ASSERT_THAT(remedy,
              AllOf(HasSubstr("umount " + Fs() + "; "), HasSubstr("volfs detach " + device + "; "),
                    HasSubstr("volfs attach " + image_)));
  std::string commands = remedy.substr(0, remedy.find("and when"));
  for (size_t at = 0; (at = commands.find("volfs detach", at)) != commands.npos; at += 1) {
    commands.replace(at, 5, Binary());
    at += Binary().size();
  }
  MustRun(commands);
  EXPECT_EQ(DetachedSays(device), "free");
  EXPECT_THAT(Volfs("doctor").output, Not(HasSubstr(device + ": ")));
  std::string fresh = MustRun(Binary() + " attach " + image_ + " --mount " + Mnt());
  fresh.pop_back();
  MustRun("mount " + fresh + " " + Fs());
  EXPECT_EQ(MustRun("cat " + Fs() + "/file"), "precious\n");
  MustRun("umount " + Fs());
  DetachLoop(fresh);
}

// Follows docs/operating.md, with the real names.
TEST_F(WayBackTest, TheDocumentedCommandsLeadBack) {
  Mount();
  const std::string device = MountFilesystem();
  Kill();
  const std::string page = MustRun("cat " VOLFS_SOURCE_DIR "/docs/operating.md");
  const size_t section = page.find("## When a daemon has died");
  const size_t begin = page.find("```\n", section) + 4;
  std::string commands = page.substr(begin, page.find("```", begin) - begin);
  const auto replace = [&commands](const std::string& from, const std::string& to) {
    ASSERT_NE(commands.find(from), commands.npos) << from;
    for (size_t at = 0; (at = commands.find(from, at)) != commands.npos; at += to.size()) {
      commands.replace(at, from.size(), to);
    }
  };
  replace("volfs ", Binary() + " ");
  replace("/srv/a /srv/b", NodePath("a") + " " + NodePath("b"));
  replace("attach db.img", "attach " + image_ + " --mount " + Mnt());
  replace(" /mnt\n", " " + Mnt() + "\n");
  replace("/var/lib/db", Fs());
  replace("/dev/loop0", device);
  MustRun("set -e\n" + commands);
  FindDaemon();
  EXPECT_EQ(MustRun("cat " + Fs() + "/file"), "precious\n");
  const std::string fresh = MustRun("findmnt -n -o SOURCE " + Fs());
  MustRun("umount " + Fs());
  DetachLoop(fresh.substr(0, fresh.size() - 1));
}

// ... or by name.
TEST_F(WayBackTest, DetachFindsTheDeviceOfADeadMountByTheVolumesName) {
  Mount();
  const std::string device = MountFilesystem();
  Kill();
  MustRun("umount " + Fs());
  const CommandResult on_dead_mount = VolfsHere("detach " + image_);
  EXPECT_EQ(on_dead_mount.exit_code, 0) << on_dead_mount.output;
  EXPECT_EQ(DetachedSays(device), "free");
  Mount();
  const std::string second = MustRun(Binary() + " attach " + image_ + " --mount " + Mnt());
  KillAndMount();
  const CommandResult taken_over = VolfsHere("detach " + image_);
  EXPECT_EQ(taken_over.exit_code, 0) << taken_over.output;
  EXPECT_EQ(DetachedSays(second.substr(0, second.size() - 1)), "free");
}

// A process that has the dead mount open cannot use it, so umount removes the mount all the same.
TEST_F(WayBackTest, UmountTakesADeadMountAwayAndSaysWhatIsLeft) {
  Mount();
  const std::string device = MountFilesystem();
  Kill();
  ExpectNoDaemon();
  const CommandResult gone = Volfs("umount " + Mnt());
  EXPECT_EQ(gone.exit_code, 0) << gone.output;
  EXPECT_THAT(gone.output, AllOf(HasSubstr("was dead"), HasSubstr("umount " + Fs()),
                                 HasSubstr("volfs detach " + device)));
  EXPECT_FALSE(RunShell("mountpoint -q " + Mnt()).ok());
  MustRun("umount " + Fs() + " && " + Binary() + " detach " + device);
  EXPECT_EQ(DetachedSays(device), "free");
}

}  // namespace
}  // namespace volfs
