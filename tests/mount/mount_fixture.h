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

// A real mount for one test: node directories below a temporary directory, mounted by the command
// VOLFS_BINARY.
//
// At the end of each test `volfs umount` unmounts the remaining mounts. Each daemon must have ended
// well, and a report of a sanitizer fails the test. Loop devices, mounts and daemons are cleaned up
// in any case, also when the test's process is killed.
//
// Methods without a result throw std::runtime_error, which fails the test, if they do not work.
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
  // Returns whether VOLFS_TEST_IO=native is set: then the kernel serves the volumes by itself
  // (PROTOCOL.md, section 11). All tests can run in both modes.
  [[nodiscard]] static bool NativeByDefault();
  // Mounts the nodes of these names; `-o options` if there are any.
  void Mount(const std::vector<std::string>& nodes = {"a", "b"}, const std::string& options = "");
  CommandResult TryMount(const std::vector<std::string>& nodes, const std::string& options = "");
  // Runs `volfs umount`. The daemon must end with exit code 0.
  void Unmount();
  void Remount();
  // Sends SIGKILL and returns when the process has ended. The dead mount stays.
  void Kill();
  // Kills, and mounts again over the dead mount. Returns how long mounting took.
  int KillAndMount();
  // Waits for the end of the daemon, from any cause. Throws after `timeout_ms`.
  void AwaitDaemon(int timeout_ms);
  [[nodiscard]] int pid() const { return pid_; }
  // Requires: a mount that TryMount or the test's own command line has made.
  void FindDaemon();
  // Accepts that the daemon has ended with an exit code other than 0.
  void ExpectNoDaemon() { pid_ = 0; }

  // --- asking
  // Runs `volfs WORDS...`. A command other than mount and umount should name the mount.
  static CommandResult Volfs(const std::string& words, const CommandOptions& options = {});
  // Runs the same with `--mount MNT` behind the words.
  [[nodiscard]] CommandResult VolfsHere(const std::string& words) const;
  // Writes one request line with its LF in one write(2). Returns the errno.
  [[nodiscard]] int Ask(const std::string& file, const std::string& line) const;
  [[nodiscard]] AskResult AskForReply(const std::string& file, const std::string& line) const;
  void MustAsk(const std::string& file, const std::string& line) const;
  // Returns control/volumes/VOLUME/FIELD without its LF.
  [[nodiscard]] std::string Field(const std::string& volume, const std::string& field) const;
  [[nodiscard]] uint64_t Number(const std::string& volume, const std::string& field) const;
  // Polls. Returns false after `timeout_ms`.
  [[nodiscard]] bool WaitForStatus(const std::string& volume, const std::string& status,
                                   int timeout_ms = 30'000) const;
  void SetCopyRate(const std::string& rate) const;

  // Returns whether a process is in a call that has not returned. The second function waits until
  // that has lasted for a while: on a busy machine the process may not have begun.
  static bool IsAsleep(int pid);
  static void AwaitAsleep(int pid);

  // --- loop devices
  // Detaches the loop devices with `text` in the path of their file. Returns whether there were
  // any.
  static bool DetachLoopsNaming(const std::string& text);
  // Runs losetup(8) and returns /dev/loopN.
  [[nodiscard]] std::string AttachLoop(const std::string& image,
                                       const std::string& losetup_options = "") const;
  static void DetachLoop(const std::string& device);
  static void AwaitDetached(const std::string& device);

  [[nodiscard]] static std::string Binary();

 private:
  // Ends everything left of a test's mount: filesystems on loop devices, loop devices, daemons, the
  // mount itself, logs.
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
