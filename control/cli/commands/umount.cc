#include <poll.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/commands/commands.h"
#include "control/cli/host/loop.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/host/users.h"
#include "control/cli/image_loops.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/cli/process/standstill.h"
#include "control/cli/process/supervisor.h"
#include "control/cli/target.h"
#include "control/cli/unsaved.h"
#include "control/text/name.h"

namespace volfs::cli {
namespace {

constexpr size_t kMaxOfALine = 1000;

// A dead mount answers no stat(2), so the path itself is never resolved, only its directory.
Result<MountEntry> MountAt(const std::vector<MountEntry>& mounts, const std::string& argument) {
  const std::string given = AbsolutePath(argument);
  std::error_code error;
  const std::filesystem::path directory =
      std::filesystem::canonical(std::filesystem::path(given).parent_path(), error);
  const std::string real =
      error ? given : (directory / std::filesystem::path(given).filename()).string();
  const MountEntry* found = nullptr;  // of several the last: it hides the others
  for (const MountEntry& entry : mounts) {
    if (entry.mountpoint == given || entry.mountpoint == real) found = &entry;
  }
  if (found != nullptr && found->type == kVolfsType) return *found;
  if (found != nullptr) {
    return UsageFailure(StrCat(argument, ": is a mount of type ", found->type, ", not of volfs"));
  }
  return Failure(ENOENT, StrCat(argument, ": no volfs is mounted here"));
}

// Returns the users that keep the mount busy, one line each.
std::vector<std::string> UsersOf(const MountEntry& mount, const std::vector<MountEntry>& mounts,
                                 int daemon_pid) {
  std::vector<std::string> lines;
  for (const LoopDevice& device : ReadLoopDevices()) {
    if (!IsAtOrBelow(device.backing_file, mount.mountpoint)) continue;
    std::string line = StrCat("loop", device.number, ": ", device.backing_file);
    for (const std::string& holder : LoopHolders(device, mounts)) line += ", " + holder;
    lines.push_back(line);
  }
  for (const MountEntry& other : mounts) {
    if (other.parent == mount.id) lines.push_back("a mount on it: " + other.mountpoint);
  }
  const auto is_below = [&mount](std::string_view path) {
    return IsAtOrBelow(path, mount.mountpoint);
  };
  for (const User& user : FindUsers(is_below)) {
    if (user.pid != daemon_pid) lines.push_back(UserText(user));
  }
  return lines;
}

Status CheckUnused(const MountEntry& mount, const std::vector<MountEntry>& mounts, int daemon_pid) {
  const std::vector<std::string> lines = UsersOf(mount, mounts, daemon_pid);
  if (lines.empty()) return OkStatus();
  std::string message = StrCat(mount.mountpoint, ": is in use; end this first");
  for (const std::string& line : lines) message += StrCat(kNoteBreak, line);
  return Failure(EBUSY, message);
}

enum class Way { kWhenUnused, kDead };

// Only the setuid helper may unmount for an ordinary user.
Status UnmountByHelper(const std::string& mountpoint, Way way) {
  const char* argv[] = {"fusermount3", way == Way::kDead ? "-uz" : "-u", "--", mountpoint.c_str(),
                        nullptr};
  pid_t pid = 0;
  const int failed =
      ::posix_spawnp(&pid, argv[0], nullptr, nullptr, const_cast<char* const*>(argv), environ);
  if (failed != 0) return Failure(failed, StrCat("fusermount3: ", std::strerror(failed)));
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return OkStatus();
  return Error{Errc::kIo, StrCat("fusermount3 -u ", mountpoint, " failed")};
}

Status UnmountNow(const std::string& mountpoint, Way way) {
  if (::geteuid() != 0) return UnmountByHelper(mountpoint, way);
  constexpr int kStepMs = 20;
  constexpr int kPatienceMs = 2000;
  // A process that has just ended or been killed is no longer visible and still holds the mount for
  // a moment.
  for (int waited = 0; waited < kPatienceMs; waited += kStepMs) {
    // Of a dead mount nothing can be lost any more.
    if (::umount2(mountpoint.c_str(), UMOUNT_NOFOLLOW | (way == Way::kDead ? MNT_DETACH : 0)) ==
        0) {
      return OkStatus();
    }
    if (errno != EBUSY) return SystemFailure(mountpoint);
    ::poll(nullptr, 0, kStepMs);
  }
  return Failure(EBUSY, StrCat(mountpoint,
                               ": is in use by a process that cannot be seen from here "
                               "(an NFS export, another mount namespace?)"));
}

struct Daemon {
  bool dead = false;  // the daemon does not answer
  int pid = 0;        // 0: unknown
  Descriptor pidfd;
};

// Its pid is held by a descriptor before the mount goes, so that no other process of that number
// can be mistaken for it. Where the daemon cannot be asked (another user's mount), it is unknown.
Daemon FindDaemon(const std::string& mountpoint) {
  Daemon daemon;
  const Result<std::string> config = ReadFile(mountpoint + "/control/config");
  if (!config.ok()) {
    daemon.dead = config.error().os_errno == ENOTCONN;
    return daemon;
  }
  constexpr std::string_view kKey = "pid=";
  for (const std::string_view line : SplitLines(config.value())) {
    if (!line.starts_with(kKey)) continue;
    daemon.pid = static_cast<int>(ParseNumber(line.substr(kKey.size())).value_or(0));
  }
  if (daemon.pid > 0) {
    daemon.pidfd = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, daemon.pid, 0)));
  }
  return daemon;
}

// A container that was started meanwhile may have a copy of the mount, which it keeps.
Status CheckNotElsewhere(const MountEntry& mount, int daemon_pid) {
  const std::vector<User> others = FindOtherNamespaces(mount.device);
  if (others.empty()) return OkStatus();
  std::string message =
      StrCat(mount.mountpoint,
             ": is unmounted here, but still mounted in other namespaces of mounts, "
             "for which its daemon (pid ",
             daemon_pid,
             ") goes on; end these, or "
             "unmount it there (`nsenter -t PID -m umount PATH`)");
  for (const User& user : others) message += StrCat(kNoteBreak, UserText(user));
  return Failure(EBUSY, message);
}

constexpr int kEver = 0;

// Waits for as long as the daemon is at work, if no other patience is given: the daemon commits a
// user's data. An impatient user interrupts the command.
Status AwaitEnd(const MountEntry& mount, const Daemon& daemon, int patience_ms) {
  constexpr int kStepMs = 100;
  constexpr int kQuietMs = 3000;
  constexpr int kHangsMs = 16'000;
  if (!daemon.pidfd.ok()) return OkStatus();
  pollfd ended{daemon.pidfd.get(), POLLIN, 0};
  Standstill standstill;
  for (int waited = 0; ::poll(&ended, 1, kStepMs) <= 0; waited += kStepMs) {
    if (patience_ms != kEver && waited >= patience_ms) {
      PrintNote(StrCat("volfs umount: not waiting any longer for the daemon (pid ", daemon.pid,
                       ") to commit and end"));
      return OkStatus();
    }
    if (waited == kQuietMs) {
      PrintNote(
          StrCat("volfs umount: waiting for the daemon (pid ", daemon.pid, ") to commit and end"));
    }
    if (waited >= kQuietMs && waited % 1000 == 0)
      RETURN_IF_ERROR(CheckNotElsewhere(mount, daemon.pid));
    if (standstill.Look(daemon.pid) * kStepMs < kHangsMs) continue;
    return Error{
        Errc::kNodeDown,
        StrCat(mount.mountpoint, ": is unmounted, and all writes are durable, but its daemon (pid ",
               daemon.pid,
               ") does not end: a node does not answer (its log says which), or it is "
               "mounted where this user cannot look. Its nodes can be mounted when it has ended")};
  }
  if (patience_ms != kEver || ExitStatusOf(daemon.pid, daemon.pidfd.get()) == 0) return OkStatus();
  return Error{Errc::kIo,
               "it is unmounted, but its daemon ended with an error: the last writes "
               "may not be durable; the daemon's log names them"};
}

struct Unsaved {
  std::string lines;
  bool silent = false;  // a node does not answer
};

Unsaved FindUnsaved(const std::string& mountpoint) {
  Unsaved unsaved;
  for (const std::string& line : AskUnsaved(mountpoint)) {
    unsaved.lines += StrCat(kNoteBreak, Printable(line, kMaxOfALine));
    unsaved.silent = unsaved.silent || line.find(": does not answer") != std::string::npos;
  }
  return unsaved;
}

// Data that is not durable keeps the mount where it is. It may still be saved (room on a full disk,
// a node that answers again), and no user would hear of the loss later.
Status CheckSaved(const std::string& mountpoint, const Unsaved& unsaved, bool force) {
  if (unsaved.lines.empty()) return OkStatus();
  if (force) {
    PrintNote(StrCat("volfs umount: ", mountpoint, ": not durable:", unsaved.lines));
    return OkStatus();
  }
  return Error{
      unsaved.silent ? Errc::kNodeDown : Errc::kIo,
      StrCat(mountpoint,
             ": not all that was written is durable, so it stays mounted; end the cause and "
             "try again, or give that up with --force",
             unsaved.lines)};
}

// Another place where the same filesystem is mounted: the daemon lives on for it.
bool IsMountedElsewhere(const MountEntry& mount, const std::vector<MountEntry>& mounts) {
  for (const MountEntry& other : mounts) {
    if (other.device == mount.device && other.id != mount.id) return true;
  }
  return false;
}

// A dead mount is useless, so it is removed even while processes have it open. The loop devices
// that stay behind are reported.
Status TakeDeadAway(const MountEntry& mount, const std::vector<MountEntry>& mounts) {
  const std::vector<StaleLoop> stale = StaleLoops(mounts, {mount.mountpoint});
  RETURN_IF_ERROR(UnmountNow(mount.mountpoint, Way::kDead));
  PrintNote(StrCat("volfs umount: ", mount.mountpoint,
                   " was dead, its daemon is gone; it was taken away"));
  for (const StaleLoop& loop : stale) {
    std::string way;
    for (const std::string& command : WayOut(loop, mounts)) {
      way += (way.empty() ? "" : " && ") + command;
    }
    PrintNote(
        StrCat("  ", loop.device.path(), ", of ", loop.image, ", is of no use any more: ", way));
  }
  return OkStatus();
}

Status UnmountVolfs(const std::string& mountpoint, bool force) {
  ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, ReadMountInfo());
  Touching::Note(StrCat("the way to ", mountpoint));
  ASSIGN_OR_RETURN(const MountEntry mount, MountAt(mounts, mountpoint));
  if (::chdir("/") != 0) return SystemFailure("/");  // our own working directory is no user of it
  const Touching touching(StrCat("the daemon of ", mount.mountpoint),
                          "see its log for a node that hangs; kill -9 of the daemon, then `volfs "
                          "umount`, gives up changes that it has not committed");
  const Daemon daemon = FindDaemon(mount.mountpoint);
  if (daemon.dead) return TakeDeadAway(mount, mounts);
  RETURN_IF_ERROR(CheckUnused(mount, mounts, daemon.pid));
  const Unsaved unsaved = FindUnsaved(mount.mountpoint);
  RETURN_IF_ERROR(CheckSaved(mount.mountpoint, unsaved, force));
  const Waiting waiting(Waiting::For::kEver);
  RETURN_IF_ERROR(UnmountNow(mount.mountpoint, Way::kWhenUnused));
  return IsMountedElsewhere(mount, mounts)
             ? OkStatus()
             : AwaitEnd(mount, daemon, force ? unsaved.silent ? 1000 : 5000 : kEver);
}

}  // namespace

Status Unmount(const Common& common, const std::string& mountpoint, bool force) {
  const std::string path = AbsolutePath(mountpoint);  // the working directory changes
  RETURN_IF_ERROR(UnmountVolfs(mountpoint, force));
  PrintDone(common, {{"mountpoint", path}});
  return OkStatus();
}

}  // namespace volfs::cli
