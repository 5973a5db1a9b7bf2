#include "control/cli/mounted_filesystems.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "blockstore/base/str_cat.h"
#include "control/cli/image_loops.h"
#include "control/cli/process/failure.h"

namespace volfs::cli {
namespace {

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

// The first of its mountpoints that no other mount hides.
Result<MountedFilesystems::Filesystem> MountedFilesystems::OpenVisible(
    const FilesystemMounts& mounts) {
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

Result<std::unique_ptr<MountedFilesystems>> MountedFilesystems::Open(
    const std::vector<FilesystemMounts>& filesystems, const std::string& image) {
  auto opened = std::make_unique<MountedFilesystems>();
  for (const FilesystemMounts& mounts : filesystems) {
    ASSIGN_OR_RETURN(Filesystem one, OpenVisible(mounts));
    opened->filesystems_.push_back(std::move(one));
  }
  opened->image_ = Descriptor(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  return opened;
}

void MountedFilesystems::Prepare() {
  for (const Filesystem& one : filesystems_) ::syncfs(one.fd.get());
  if (image_.ok()) ::fsync(image_.get());
}

Status MountedFilesystems::Freeze() {
  for (const Filesystem& one : filesystems_) {
    if (::ioctl(one.fd.get(), FIFREEZE, 0) != 0) {
      const int os_errno = errno;
      (void)Thaw();
      return FreezeFailure(os_errno, one.mountpoint);
    }
    ++frozen_;
  }
  return OkStatus();
}

// Thaws in the opposite order. A user may have thawed one by hand (EINVAL).
Status MountedFilesystems::Thaw() {
  Status status = OkStatus();
  for (; frozen_ > 0; --frozen_) {
    const Filesystem& one = filesystems_[frozen_ - 1];
    if (::ioctl(one.fd.get(), FITHAW, 0) == 0 || errno == EINVAL) continue;
    const int os_errno = errno;
    status =
        Failure(os_errno, StrCat(one.mountpoint, ": cannot be thawed: ", std::strerror(os_errno),
                                 "; run fsfreeze -u ", one.mountpoint));
  }
  return status;
}

}  // namespace volfs::cli
