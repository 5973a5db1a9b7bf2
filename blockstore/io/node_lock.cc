#include "blockstore/io/node_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

constexpr off_t kToTheEnd = 0;  // the length that fcntl(2) takes for that
constexpr off_t kServed = 1;    // the byte of the mount of device 0:0

struct flock RangeOf(short type, off_t first, off_t length) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = first;
  range.l_len = length;
  return range;
}

bool SetLock(int fd, short type, off_t first, off_t length) {
  struct flock range = RangeOf(type, first, length);
  int result = 0;
  do {
    result = ::fcntl(fd, F_SETLK, &range);
  } while (result != 0 && errno == EINTR);
  return result == 0;
}

// Returns the first lock of another process that conflicts with a write lock from `first` on.
std::optional<struct flock> LockFrom(int fd, off_t first) {
  struct flock range = RangeOf(F_WRLCK, first, kToTheEnd);
  if (::fcntl(fd, F_GETLK, &range) != 0 || range.l_type == F_UNLCK) return std::nullopt;
  return range;
}

// Returns whether this mountinfo has a mount of volfs of device 0:`minor`; nothing if it cannot be
// read.
std::optional<bool> IsMounted(const std::string& mountinfo, off_t minor) {
  std::ifstream in(mountinfo);
  if (!in) return std::nullopt;
  const std::string device = StrCat(" 0:", minor, " ");
  for (std::string line; std::getline(in, line);) {
    if (line.find(device) != line.npos && line.find(" - fuse.volfs ") != line.npos) return true;
  }
  return false;
}

// Returns whether the process was killed or is ending, and the kernel has not removed its locks
// yet.
bool IsDying(pid_t pid) {
  constexpr unsigned kExiting = 4;  // PF_EXITING
  std::ifstream in(StrCat("/proc/", pid, "/stat"));
  std::string text;
  if (!std::getline(in, text)) return false;
  std::istringstream rest(text.substr(std::min(text.rfind(')') + 1, text.size())));
  char state = 0;
  unsigned flags = 0;
  int skipped = 0;
  rest >> state;
  for (int i = 0; i < 5; ++i) rest >> skipped;
  rest >> flags;
  if (state == 'Z' || state == 'X' || (flags & kExiting) != 0) return true;
  std::ifstream status(StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("SigPnd:") && !line.starts_with("ShdPnd:")) continue;
    const auto pending = std::strtoull(line.c_str() + std::strlen("SigPnd:"), nullptr, 16);
    if ((pending >> (SIGKILL - 1) & 1) != 0) return true;
  }
  return false;
}

struct Owner {
  enum class State { kAlive, kMountEnded, kKilled };
  pid_t pid = 0;  // 0: not known
  State state = State::kAlive;
};

// Returns the process that holds the lock, as the kernel tells. Nothing: the lock is free now.
std::optional<Owner> OwnerOf(int fd) {
  const std::optional<struct flock> any = LockFrom(fd, 0);
  if (!any) return std::nullopt;
  const std::optional<struct flock> served = LockFrom(fd, kServed);
  Owner owner{std::max(served ? served->l_pid : any->l_pid, 0)};
  if (owner.pid > 0 && IsDying(owner.pid)) {
    owner.state = Owner::State::kKilled;
  } else if (!served) {
    owner.state = Owner::State::kMountEnded;
  } else if (served->l_start >= kServed && served->l_len == 1) {
    const off_t minor = served->l_start - kServed;
    // The owner's own namespace knows for sure. An owner that cannot be asked may have it mounted.
    const bool gone = IsMounted(StrCat("/proc/", owner.pid, "/mountinfo"), minor) == false &&
                      IsMounted("/proc/self/mountinfo", minor) == false;
    if (gone) owner.state = Owner::State::kMountEnded;
  }
  return owner;
}

std::string NameOf(const Owner& owner) {
  return owner.pid > 0 ? StrCat("process ", owner.pid) : std::string("another process");
}

// A killed process ends at once, unless one of its calls does not return. A process that seems to
// serve its mount may have lost it just now, if another mount got the number of its device; it
// unlocks that byte within milliseconds.
Nanoseconds PatienceFor(const Owner& owner, const LockWait& wait) {
  constexpr Nanoseconds kForKilled = std::chrono::seconds(4);
  constexpr Nanoseconds kForAlive = std::chrono::milliseconds(300);
  switch (owner.state) {
    case Owner::State::kAlive:
      return std::min(wait.most, kForAlive);
    case Owner::State::kMountEnded:
      return wait.most;
    case Owner::State::kKilled:
      return std::min(wait.most, kForKilled);
  }
  return {};
}

Error InUse(const std::string& directory, const Owner& owner, const LockWait& wait) {
  const std::string by = StrCat("node directory ", directory, " is in use by ", NameOf(owner));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(wait.most).count();
  switch (owner.state) {
    case Owner::State::kAlive:
      return Error{Errc::kLocked, StrCat(by, "; unmount it there first")};
    case Owner::State::kMountEnded:
      return Error{
          Errc::kLocked,
          StrCat(by, ", whose mount has ended, but which has not after ", seconds,
                 " s; try again when it has (a file of the old mount may still be open, or "
                 "its disk may not answer)")};
    case Owner::State::kKilled:
      break;
  }
  return Error{Errc::kNodeDown,
               StrCat(by,
                      ", which was killed, but waits for a call to its disk: that does not answer; "
                      "try again when it does")};
}

// Opens and locks the file, and makes sure that it still has its name. Returns -1 with errno set if
// it cannot. A killed daemon may hold it for a moment longer than its other locks.
int OpenLocked(const std::string& file) {
  constexpr Nanoseconds kPatience = std::chrono::seconds(1);
  constexpr Nanoseconds kStep = std::chrono::milliseconds(20);
  const Nanoseconds deadline = MonotonicNow() + kPatience;
  for (;;) {
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -1;
    struct stat mine {};
    struct stat named {};
    const bool locked = ::flock(fd, LOCK_EX | LOCK_NB) == 0;
    if (locked && ::fstat(fd, &mine) == 0 && ::stat(file.c_str(), &named) == 0 &&
        mine.st_ino == named.st_ino) {
      return fd;
    }
    const int os_errno = locked ? 0 : errno;
    ::close(fd);
    errno = os_errno;
    if (locked) continue;
    if (os_errno != EWOULDBLOCK || MonotonicNow() >= deadline) return -1;
    SleepFor(kStep);
  }
}

// Returns "PID PATH" as the holder wrote it.
std::string HolderOf(const std::string& file) {
  std::ifstream in(file);
  std::string pid;
  std::string path;
  if (!(in >> pid) || !std::getline(in >> std::ws, path)) return "another process";
  return StrCat("process ", pid, " from ", path);
}

}  // namespace

Result<std::unique_ptr<TwinLock>> TwinLock::Take(const std::string& directory,
                                                 const std::string& uuid, const std::string& name,
                                                 const std::string& path) {
  if (directory.empty()) return std::unique_ptr<TwinLock>();
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  const std::string file = StrCat(directory, "/", uuid);
  const int fd = OpenLocked(file);
  if (fd < 0 && errno == EWOULDBLOCK) {
    return Error{
        Errc::kLocked,
        StrCat("node directory ", path, ": node ", name, " (UUID ", uuid,
               ") is mounted already, by ", HolderOf(file),
               "; if these are two copies of it, only one can be mounted: unmount that one "
               "first, or leave this one alone")};
  }
  if (fd < 0) {
    LogWarning(StrCat("copies of node ", name, " are not kept off this machine: ", file, ": ",
                      std::strerror(errno)));
    return std::unique_ptr<TwinLock>();
  }
  const std::string text = StrCat(::getpid(), " ", path, "\n");
  const bool told = ::ftruncate(fd, 0) == 0 &&
                    ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!told) LogWarning(StrCat(file, ": ", std::strerror(errno)));
  return std::unique_ptr<TwinLock>(new TwinLock(file, fd));
}

TwinLock::~TwinLock() {
  ::unlink(file_.c_str());  // while it is locked: another process may lock it next
  ::close(fd_);
}

Result<std::unique_ptr<NodeLock>> NodeLock::Take(const std::string& directory, NodeAccess access,
                                                 const LockWait& wait) {
  constexpr Nanoseconds kStep = std::chrono::milliseconds(20);
  constexpr Nanoseconds kQuiet = std::chrono::seconds(1);
  const bool reads = access == NodeAccess::kReadOnly;
  const std::string file = directory + "/lock";
  const int flags = reads ? O_RDONLY : O_RDWR | O_CREAT;
  Descriptor fd(::open(file.c_str(), flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600));
  if (!fd.ok() && reads && errno == ENOENT) {
    return std::unique_ptr<NodeLock>(new NodeLock(Descriptor()));
  }
  if (!fd.ok()) {
    return Error{errno == EROFS ? Errc::kReadOnly : Errc::kIo,
                 StrCat("cannot make the lock file ", file, ": ", std::strerror(errno),
                        errno == EROFS ? "; `volfs mount -o ro` reads from such a disk" : ""),
                 errno};
  }
  const Nanoseconds begin = MonotonicNow();
  for (bool told = false;;) {
    if (SetLock(fd.get(), reads ? F_RDLCK : F_WRLCK, 0, kToTheEnd)) {
      return std::unique_ptr<NodeLock>(new NodeLock(std::move(fd)));
    }
    if (errno != EAGAIN && errno != EACCES) {
      return Error{Errc::kIo, StrCat("cannot lock ", file, ": ", std::strerror(errno)), errno};
    }
    const std::optional<Owner> owner = OwnerOf(fd.get());
    const Nanoseconds waited = MonotonicNow() - begin;
    if (owner && waited >= PatienceFor(*owner, wait)) return InUse(directory, *owner, wait);
    if (owner && !told && waited >= kQuiet && wait.tell) {
      const bool killed = owner->state == Owner::State::kKilled;
      wait.tell(StrCat("waiting for ", NameOf(*owner),
                       killed ? ", which was killed" : ", whose mount has ended", ", to let go of ",
                       directory));
      told = true;
    }
    SleepFor(kStep);
  }
}

// The byte of the mount stays locked throughout: unlocked, it would say that the mount has ended.
void NodeLock::Serve(uint32_t minor) {
  const off_t byte = kServed + static_cast<off_t>(minor);
  if (byte > kServed) (void)SetLock(file_.get(), F_UNLCK, kServed, byte - kServed);
  (void)SetLock(file_.get(), F_UNLCK, byte + 1, kToTheEnd);
}

void NodeLock::StopServing() { (void)SetLock(file_.get(), F_UNLCK, kServed, kToTheEnd); }

}  // namespace volfs
