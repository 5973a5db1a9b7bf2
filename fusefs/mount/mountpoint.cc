#include "fusefs/mount/mountpoint.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "blockstore/base/str_cat.h"
#include "blockstore/node/opener.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/process/supervisor.h"

namespace volfs {
namespace {

namespace stdfs = std::filesystem;
using cli::IsAtOrBelow;
using cli::MountEntry;

constexpr const char* kForgot = "did you forget the mountpoint?";

Error Refuse(Errc code, const std::string& path, const std::string& why) {
  return Error{code, StrCat("mountpoint ", path, ": ", why)};
}

// A dead mount answers no question, so only the path that leads to it is resolved.
Result<std::string> Resolve(const std::string& path) {
  std::error_code error;
  stdfs::path absolute = stdfs::absolute(path, error).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();  // it ended in "/"
  const stdfs::path whole = stdfs::canonical(absolute, error);
  if (!error) return whole.string();
  const stdfs::path parent = stdfs::canonical(absolute.parent_path(), error);
  if (error) return Refuse(Errc::kNotFound, path, "no such directory");
  return (parent / absolute.filename()).string();
}

// The uppermost mount on exactly `path`.
std::optional<MountEntry> MountOn(const std::vector<MountEntry>& mounts, const std::string& path) {
  std::optional<MountEntry> found;
  for (const MountEntry& mount : mounts) {
    if (mount.mountpoint == path) found = mount;
  }
  return found;
}

Status CheckEmpty(const std::string& path) {
  ASSIGN_OR_RETURN(const DirectoryKind kind, ClassifyDirectory(path));
  switch (kind) {
    case DirectoryKind::kEmpty:
      return OkStatus();
    case DirectoryKind::kNode:
      return Refuse(Errc::kInvalid, path, StrCat("it is a node; ", kForgot));
    default:
      return Refuse(Errc::kInvalid, path, StrCat("it is not empty; ", kForgot));
  }
}

// The kernel may still know the attributes of a dead mount's root, so stat(2) proves nothing.
bool IsDead(const std::string& path) {
  const int directory = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return errno == ENOTCONN;
  ::close(directory);
  return false;
}

Result<MountpointState> StateOf(const std::string& path, const std::vector<MountEntry>& mounts) {
  const std::optional<MountEntry> mount = MountOn(mounts, path);
  const bool fuse = mount && mount->type.starts_with("fuse");
  if (fuse && IsDead(path)) return MountpointState::kDead;
  if (fuse && mount->type == cli::kVolfsType) return MountpointState::kLiveVolfs;
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) {
    const Errc code = errno == ENOENT ? Errc::kNotFound : Errc::kIo;
    return Refuse(code, path, std::strerror(errno));
  }
  if (!S_ISDIR(st.st_mode)) {
    return Refuse(Errc::kInvalid, path, StrCat("it is not a directory; ", kForgot));
  }
  RETURN_IF_ERROR(CheckEmpty(path));
  return MountpointState::kFree;
}

// "/dev/loop3", "/dev/loop3p1" -> the file behind it; empty if it is no loop device.
std::string BackingFileOf(const std::string& source) {
  if (!source.starts_with("/dev/loop")) return {};
  const stdfs::path device = stdfs::path("/sys/class/block") / source.substr(5);
  std::error_code error;
  stdfs::path real = stdfs::canonical(device, error);
  if (error) return {};
  if (stdfs::exists(real / "partition", error)) real = real.parent_path();
  std::ifstream in(real / "loop" / "backing_file");
  std::string file;
  std::getline(in, file);
  return file;
}

std::optional<MountEntry> MountOfDevice(const std::vector<MountEntry>& mounts, dev_t device) {
  const std::string wanted = StrCat(major(device), ":", minor(device));
  for (const MountEntry& mount : mounts) {
    if (mount.device == wanted) return mount;
  }
  return std::nullopt;
}

Status CheckNode(const std::string& given, const std::string& mountpoint,
                 const std::vector<MountEntry>& mounts) {
  std::error_code error;
  const std::string node = stdfs::canonical(given, error).string();
  if (error && error.value() != ENOTCONN) {
    return Error{Errc::kNodeDown, StrCat("node directory ", given, ": ", error.message())};
  }
  if (error || (node != mountpoint && IsAtOrBelow(node, mountpoint))) {
    return Error{Errc::kInvalid, StrCat("node directory ", given, " lies on the mountpoint ",
                                        mountpoint, "; use a directory elsewhere")};
  }
  if (node == mountpoint) {
    return Refuse(Errc::kInvalid, mountpoint, StrCat("it is a node of this mount; ", kForgot));
  }
  if (IsAtOrBelow(mountpoint, node)) {
    return Refuse(Errc::kInvalid, mountpoint,
                  StrCat("it lies in the node directory ", node, "; use one elsewhere"));
  }
  struct stat st {};
  if (::stat(node.c_str(), &st) != 0) return OkStatus();  // opening it will tell why
  const std::optional<MountEntry> mount = MountOfDevice(mounts, st.st_dev);
  const std::string backing = mount ? BackingFileOf(mount->source) : std::string();
  if (!backing.empty() && IsAtOrBelow(backing, mountpoint)) {
    return Error{Errc::kInvalid,
                 StrCat("node directory ", node, " is on the loop device ", mount->source, " over ",
                        backing, ", an image of this mount; use a directory elsewhere")};
  }
  return OkStatus();
}

// For those who may not call umount(2). Returns whether fusermount3 was content.
bool RunFusermount(const char* how, const std::string& mountpoint) {
  std::string arguments[] = {"fusermount3", how, "--", mountpoint};
  char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(),
                  arguments[3].data(), nullptr};
  pid_t child = 0;
  if (posix_spawnp(&child, argv[0], nullptr, nullptr, argv, environ) != 0) return false;
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

Status Unmount(const std::string& mountpoint, int flags, const char* fusermount_how) {
  if (::umount2(mountpoint.c_str(), flags | UMOUNT_NOFOLLOW) == 0) return OkStatus();
  const int why = errno;
  if (why == EPERM && RunFusermount(fusermount_how, mountpoint)) return OkStatus();
  const Errc code = why == EBUSY || why == EPERM ? Errc::kBusy : Errc::kIo;
  return Error{code, StrCat("cannot unmount ", mountpoint, ": ", std::strerror(why)), why};
}

}  // namespace

Result<Mountpoint> CheckMountpoint(const std::string& mountpoint,
                                   const std::vector<std::string>& nodes) {
  ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, cli::ReadMountInfo());
  cli::Touching::Note(StrCat("mountpoint ", mountpoint));
  ASSIGN_OR_RETURN(const std::string path, Resolve(mountpoint));
  for (const std::string& node : nodes) {
    cli::Touching::Note(StrCat("node directory ", node));
    RETURN_IF_ERROR(CheckNode(node, path, mounts));
  }
  cli::Touching::Note(StrCat("mountpoint ", mountpoint));
  ASSIGN_OR_RETURN(const MountpointState state, StateOf(path, mounts));
  return Mountpoint{path, state};
}

Status UnmountLazily(const std::string& mountpoint) {
  return Unmount(mountpoint, MNT_DETACH, "-uz");
}

Status UnmountUnused(const std::string& mountpoint) { return Unmount(mountpoint, 0, "-uq"); }

}  // namespace volfs
