#include "control/cli/freeze.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "blockstore/base/str_cat.h"
#include "control/cli/image_loops.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"

namespace volfs::cli {
namespace {

// The messages of the child. After a failure "failed ERRNO MOUNTPOINT" comes before the others.
constexpr std::string_view kFrozen = "frozen";
constexpr std::string_view kThawed = "thawed";
constexpr std::string_view kLate = "late";  // thawed, as the time was over
constexpr std::string_view kFailed = "failed";

struct Filesystem {
  std::string mountpoint;
  Descriptor fd;
};

// The first of its mountpoints that no other mount hides.
Result<Filesystem> OpenVisible(const FilesystemMounts& mounts) {
  for (const MountEntry& mount : mounts) {
    Descriptor fd(::open(mount.mountpoint.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    struct statx info {};
    if (!fd.ok() || ::statx(fd.get(), "", AT_EMPTY_PATH, STATX_MNT_ID, &info) != 0) continue;
    const bool told = (info.stx_mask & STATX_MNT_ID) != 0;  // since Linux 5.8
    if (told && info.stx_mnt_id != static_cast<uint64_t>(mount.id)) continue;
    return Filesystem{mount.mountpoint, std::move(fd)};
  }
  return Error{Errc::kDenied,
               StrCat(mounts.front().mountpoint,
                      ": cannot be opened, or is hidden by another mount, so it cannot "
                      "be frozen; nothing was asked")};
}

// The child. It may touch the frozen filesystems only through these descriptors.
class Keeper {
 public:
  Keeper(std::vector<Filesystem>& filesystems, const Descriptor& image, const Descriptor& words,
         const Descriptor& lifeline)
      : filesystems_(filesystems), image_(image), words_(words), lifeline_(lifeline) {}

  void Run() {
    LeaveTheTerminal();
    // Writes most of the dirty data out while other processes may still write, so that freezing has
    // little left to wait for.
    for (const Filesystem& one : filesystems_) ::syncfs(one.fd.get());
    if (image_.ok()) ::fsync(image_.get());
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(Freeze::kMaxMs);
    for (const Filesystem& one : filesystems_) {
      if (::ioctl(one.fd.get(), FIFREEZE, 0) != 0) {
        const int os_errno = errno;
        Thaw();
        return Say(StrCat(kFailed, " ", os_errno, " ", one.mountpoint));
      }
      ++frozen_;
    }
    Say(std::string(kFrozen));
    const bool in_time = AwaitEnd(deadline);
    if (Thaw()) Say(std::string(in_time ? kThawed : kLate));
  }

 private:
  // A signal that interrupts the command, or kills its process group, shall not kill the child.
  static void LeaveTheTerminal() {
    ::setsid();
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(number, SIG_IGN);
    if (::chdir("/") != 0) return;
    const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nothing, fd);
  }

  // False: the time is over.
  [[nodiscard]] bool AwaitEnd(std::chrono::steady_clock::time_point deadline) const {
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd ended{lifeline_.get(), POLLIN, 0};
      if (left.count() <= 0) return false;
      if (::poll(&ended, 1, static_cast<int>(left.count())) > 0) return true;
    }
  }

  // Thaws in the opposite order. A user may have thawed one by hand (EINVAL).
  bool Thaw() {
    bool all = true;
    for (; frozen_ > 0; --frozen_) {
      const Filesystem& one = filesystems_[frozen_ - 1];
      if (::ioctl(one.fd.get(), FITHAW, 0) == 0 || errno == EINVAL) continue;
      Say(StrCat(kFailed, " ", errno, " ", one.mountpoint));
      all = false;
    }
    return all;
  }

  void Say(std::string word) const {
    word += '\n';
    (void)!::write(words_.get(), word.data(), word.size());
  }

  std::vector<Filesystem>& filesystems_;
  const Descriptor& image_;
  const Descriptor& words_;
  const Descriptor& lifeline_;
  size_t frozen_ = 0;
};

Error FreezeFailure(int os_errno, const std::string& mountpoint) {
  const std::string start = StrCat(mountpoint, ": cannot be frozen, nothing was asked: ");
  if (os_errno == EPERM || os_errno == EACCES) {
    return Failure(os_errno, start + "only root may do that; run as root, or leave --freeze out");
  }
  if (os_errno == EBUSY) {
    return Failure(os_errno, StrCat(start,
                                    "it is frozen already, by another process; wait for that, or "
                                    "run fsfreeze -u ",
                                    mountpoint));
  }
  if (os_errno == EOPNOTSUPP || os_errno == ENOTTY) {
    return Failure(EOPNOTSUPP, StrCat(start, "this filesystem has no freezing; unmount it, or run ",
                                      "sync -f ", mountpoint, " and leave --freeze out"));
  }
  return Failure(os_errno, start + std::strerror(os_errno));
}

// "failed 5 /mnt/x" -> errno and mountpoint.
std::pair<int, std::string> ReadFailed(const std::string& word) {
  const size_t number = kFailed.size() + 1;
  const size_t blank = std::min(word.find(' ', number), word.size());
  const auto os_errno = ParseNumber(std::string_view(word).substr(number, blank - number));
  return {static_cast<int>(os_errno.value_or(EIO)), word.substr(std::min(blank + 1, word.size()))};
}

}  // namespace

std::vector<FilesystemMounts> FilesystemsOf(const Client& client, const std::string& volume,
                                            const std::vector<MountEntry>& mounts) {
  std::vector<FilesystemMounts> filesystems;
  for (const LoopDevice& device : LoopsOf(client, volume)) {
    for (const MountEntry& mount : MountsOn(device, mounts)) {
      const auto known = std::find_if(
          filesystems.begin(), filesystems.end(),
          [&](const FilesystemMounts& one) { return one.front().device == mount.device; });
      if (known != filesystems.end()) {
        known->push_back(mount);
      } else {
        filesystems.push_back({mount});
      }
    }
  }
  return filesystems;
}

Result<Freeze> Freeze::Begin(const std::vector<FilesystemMounts>& filesystems,
                             const std::string& image) {
  std::vector<Filesystem> open;
  for (const FilesystemMounts& mounts : filesystems) {
    ASSIGN_OR_RETURN(Filesystem one, OpenVisible(mounts));
    open.push_back(std::move(one));
  }
  const Descriptor image_fd(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<int, 2> words{};
  std::array<int, 2> lifeline{};
  if (::pipe2(words.data(), O_CLOEXEC) != 0) return SystemFailure("a pipe to freeze");
  Descriptor words_out(words[0]);
  Descriptor words_in(words[1]);
  if (::pipe2(lifeline.data(), O_CLOEXEC) != 0) return SystemFailure("a pipe to freeze");
  Descriptor lifeline_out(lifeline[0]);
  Descriptor lifeline_in(lifeline[1]);
  const pid_t child = ::fork();
  if (child < 0) return SystemFailure("a process to freeze");
  if (child == 0) {
    lifeline_in = Descriptor();  // or it would never end
    Keeper(open, image_fd, words_in, lifeline_out).Run();
    ::_exit(0);
  }
  words_in = Descriptor();
  Freeze freeze(child, std::move(words_out), std::move(lifeline_in));
  const std::string word = freeze.NextWord();
  if (word == kFrozen) return freeze;
  if (!word.starts_with(kFailed)) {
    return Error{Errc::kIo, "the process that freezes has ended; nothing was asked"};
  }
  const auto [os_errno, mountpoint] = ReadFailed(word);
  return FreezeFailure(os_errno, mountpoint);
}

Freeze::~Freeze() {
  if (lifeline_.ok()) (void)End();
}

// "" at its end.
std::string Freeze::NextWord() const {
  std::string word;
  for (char c = 0;;) {
    const ssize_t got = ::read(words_.get(), &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || c == '\n') return word;
    word += c;
  }
}

Status Freeze::End() {
  lifeline_ = Descriptor();
  const std::string word = NextWord();
  while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (word == kThawed) return OkStatus();
  if (word == kLate) {
    return Error{Errc::kIo,
                 StrCat("it took more than ", kMaxMs / 1000,
                        " s, so the filesystem was thawed before the instant was known to "
                        "be fixed")};
  }
  if (!word.starts_with(kFailed)) {
    return Error{Errc::kIo,
                 "the process that freezes was killed, and may have left the filesystem "
                 "frozen; if so, run fsfreeze -u on its mountpoint"};
  }
  const auto [os_errno, mountpoint] = ReadFailed(word);
  return Failure(os_errno, StrCat(mountpoint, ": cannot be thawed: ", std::strerror(os_errno),
                                  "; run fsfreeze -u ", mountpoint));
}

}  // namespace volfs::cli
