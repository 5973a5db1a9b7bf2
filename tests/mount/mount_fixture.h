#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/mount_command.h"
#include "tests/support/mount_file.h"
#include "tests/support/sizes.h"
#include "tests/support/temp_dir.h"

namespace volfs {

void SleepMs(uint64_t milliseconds);

// The answer of a request file.
struct AskResult {
  int error = 0;      // errno of open(2), write(2) or close(2)
  std::string reply;  // of the same open file, without its LF
};

// A real mount of a test's own: node directories below a temporary directory, the command
// VOLFS_BINARY.
//
// At the end of each test `volfs umount` unmounts the remaining mounts, and each daemon must have
// ended well; a report of a sanitizer fails the test. Loop devices, mounts and daemons are cleaned
// up in any case, also when the test's process is killed.
//
// Methods without a result throw std::runtime_error (which fails the test) if they do not work.
class MountTest : public ::testing::Test {
 protected:
  MountTest();
  ~MountTest() override;
  void SetUp() override;
  void TearDown() override;

  // --- places
  [[nodiscard]] const std::string& directory() const { return dir_.path(); }
  [[nodiscard]] std::string NodePath(const std::string& node) const { return dir_ / node; }
  [[nodiscard]] std::string Mnt() const { return dir_ / "mnt"; }
  [[nodiscard]] std::string Path(const std::string& below) const { return Mnt() + "/" + below; }
  [[nodiscard]] std::string Volume(const std::string& name) const {
    return Path("volumes/" + name);
  }

  // --- the daemon
  // VOLFS_TEST_IO=native: the kernel serves the volumes by itself (PROTOCOL.md, section 11), so
  // that all tests can be run in both modes.
  [[nodiscard]] static bool NativeByDefault();
  // Mounts the nodes of these names; `-o options` if there are any.
  void Mount(const std::vector<std::string>& nodes = {"a", "b"}, const std::string& options = "");
  CommandResult TryMount(const std::vector<std::string>& nodes, const std::string& options = "");
  // `volfs umount`; its daemon must end with exit code 0.
  void Unmount();
  void Remount();
  // SIGKILL; returns when the process has ended. The dead mount stays.
  void Kill();
  // Kill, and mount again over the dead mount. Returns how long mounting took.
  int KillAndMount();
  // Waits for the daemon's end, however it was caused. Throws after `timeout_ms`.
  void AwaitDaemon(int timeout_ms);
  [[nodiscard]] int pid() const { return pid_; }
  // To be called after a mount that TryMount or a command line of the test's own has made.
  void FindDaemon();
  // The daemon is known to have ended with another exit code than 0, and that is right.
  void ExpectNoDaemon() { pid_ = 0; }

  // --- asking
  // `volfs WORDS...`; a command but mount and umount should name the mount.
  static CommandResult Volfs(const std::string& words, const CommandOptions& options = {});
  // The same with `--mount MNT` behind the words.
  [[nodiscard]] CommandResult VolfsHere(const std::string& words) const;
  // One request line, written with its LF in one write(2). Returns the errno.
  [[nodiscard]] int Ask(const std::string& file, const std::string& line) const;
  [[nodiscard]] AskResult AskForReply(const std::string& file, const std::string& line) const;
  void MustAsk(const std::string& file, const std::string& line) const;
  // control/volumes/VOLUME/FIELD without its LF.
  [[nodiscard]] std::string Field(const std::string& volume, const std::string& field) const;
  [[nodiscard]] uint64_t Number(const std::string& volume, const std::string& field) const;
  // Polls; false after `timeout_ms`.
  [[nodiscard]] bool WaitForStatus(const std::string& volume, const std::string& status,
                                   int timeout_ms = 30'000) const;
  void SetCopyRate(const std::string& rate) const;

  // Whether a process is in a call that has not returned. And until it has been for a while: a
  // busy machine may not have let it begin.
  static bool IsAsleep(int pid);
  static void AwaitAsleep(int pid);

  // --- loop devices
  // losetup(8); returns /dev/loopN.
  [[nodiscard]] std::string AttachLoop(const std::string& image,
                                       const std::string& losetup_options = "") const;
  static void DetachLoop(const std::string& device);
  static void AwaitDetached(const std::string& device);

  [[nodiscard]] static std::string Binary();

 private:
  // Ends all that is left of a test's mount: filesystems on loop devices, loop devices, daemons,
  // the mount itself, logs.
  static void CleanUp(const std::string& directory);
  void StartWatchdog();
  void CheckSanitizers();
  void TellLogs();

  TempDir dir_;
  std::vector<std::string> nodes_ = {"a", "b"};
  std::string options_;
  int pid_ = 0;           // of the daemon that should be there
  int watchdog_fd_ = -1;  // the watchdog cleans up when this is closed without a word
  int watchdog_pid_ = -1;
};

}  // namespace volfs
