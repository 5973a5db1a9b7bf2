#include <fcntl.h>
#include <linux/loop.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/host/loop.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/supervisor.h"

namespace volfs::cli {
namespace {

constexpr int kLoopMajor = 7;

void SleepMs(int milliseconds) { ::poll(nullptr, 0, milliseconds); }

// Opens /dev/loopN. Makes the device node where no other program does (a container).
Descriptor OpenLoop(const std::string& path, int number, int flags) {
  Descriptor fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (fd.ok() || errno != ENOENT) return fd;
  const dev_t device = makedev(kLoopMajor, static_cast<unsigned>(number));
  if (::mknod(path.c_str(), S_IFBLK | 0660, device) != 0 && errno != EEXIST) {
    errno = ENOENT;
    return fd;
  }
  return Descriptor(::open(path.c_str(), flags | O_CLOEXEC));
}

std::optional<loop_info64> StatusOf(const LoopDevice& device) {
  const Touching touching(device.path());
  const Descriptor fd(OpenLoop(device.path(), device.number, O_RDONLY | O_NONBLOCK));
  loop_info64 info{};
  if (!fd.ok() || ::ioctl(fd.get(), LOOP_GET_STATUS64, &info) != 0) return std::nullopt;
  return info;
}

}  // namespace

std::optional<bool> IsOver(const LoopDevice& device, const std::string& image) {
  const std::optional<loop_info64> info = StatusOf(device);
  if (!info) return std::nullopt;
  struct stat file {};
  if (::stat(image.c_str(), &file) != 0) {
    if (errno == ENOENT) return false;
    return std::nullopt;
  }
  return info->lo_device == file.st_dev && info->lo_inode == file.st_ino;
}

bool IsOrphaned(const LoopDevice& device, const std::vector<MountEntry>& mounts) {
  errno = 0;
  const std::optional<loop_info64> info = StatusOf(device);
  if (!info) return errno == ENOTCONN || errno == ECONNABORTED;  // of the file, asked by the driver
  if (major(info->lo_device) != 0) return false;
  const std::string filesystem = StrCat("0:", minor(info->lo_device));
  return std::none_of(mounts.begin(), mounts.end(),
                      [&](const MountEntry& mount) { return mount.device == filesystem; });
}

namespace {

Result<int> FreeLoop() {
  constexpr const char* kControl = "/dev/loop-control";
  const Descriptor control(::open(kControl, O_RDWR | O_CLOEXEC));
  if (!control.ok()) {
    const int os_errno = errno;
    return Failure(os_errno, StrCat(kControl, ": ", std::strerror(os_errno),
                                    os_errno == EACCES ? "; run as root" : "; `modprobe loop`?"));
  }
  const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
  if (number < 0) return SystemFailure("no free loop device");
  return number;
}

// Buffered, not direct I/O: direct I/O wants requests aligned to the backing file's blocks and is
// refused for images of odd sizes, and it saves only the second copy in the page cache. Nothing is
// less safe: the mount has no write-back cache, so the daemon has a write when the loop device has
// done it, and a flush of the device is an fsync of the image.
loop_config Config(int image_fd, const LoopOptions& options) {
  loop_config config{};
  config.fd = static_cast<uint32_t>(image_fd);
  config.info.lo_flags = LO_FLAGS_PARTSCAN;
  if (options.read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
  const size_t length = std::min(options.path.size(), size_t{LO_NAME_SIZE - 1});
  std::memcpy(config.info.lo_file_name, options.path.data(), length);
  return config;
}

bool IsAttached(const LoopDevice& device) {
  const auto file = ReadValue(StrCat("/sys/block/loop", device.number, "/loop/backing_file"));
  return file.has_value() && *file != "";
}

}  // namespace

Result<LoopDevice> ConfigureLoop(int image_fd, const LoopOptions& options) {
  constexpr int kAttempts = 32;  // another process may take the free one first
  const loop_config config = Config(image_fd, options);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    ASSIGN_OR_RETURN(const int number, FreeLoop());
    const LoopDevice device{number, options.path, options.read_only};
    const Descriptor loop = OpenLoop(device.path(), number, options.read_only ? O_RDONLY : O_RDWR);
    if (!loop.ok()) return SystemFailure(device.path());
    if (::ioctl(loop.get(), LOOP_CONFIGURE, &config) == 0) return device;
    if (errno != EBUSY) return SystemFailure(StrCat(device.path(), ": attaching ", options.path));
    SleepMs(10);
  }
  return Failure(EBUSY, "every free loop device was taken by another process first; try again");
}

Status ResizeLoop(const LoopDevice& device, const std::string& image) {
  struct statx info {};  // the kernel takes the size that it knows, so it is told first
  (void)::statx(AT_FDCWD, image.c_str(), AT_STATX_FORCE_SYNC, STATX_SIZE, &info);
  const Descriptor loop = OpenLoop(device.path(), device.number, O_RDONLY | O_NONBLOCK);
  if (!loop.ok() || ::ioctl(loop.get(), LOOP_SET_CAPACITY, 0) != 0) {
    return SystemFailure(device.path());
  }
  return OkStatus();
}

Status ClearLoop(const LoopDevice& device) {
  constexpr int kPatienceMs = 5000;
  constexpr int kStepMs = 20;
  // O_EXCL is refused while the device or a partition of it is mounted, also where we cannot see
  // it: LOOP_CLR_FD would succeed there, and only take effect when the last user is gone.
  Descriptor loop = OpenLoop(device.path(), device.number, O_RDONLY | O_EXCL);
  for (int waited = 0; !loop.ok() && errno == EBUSY && waited < kPatienceMs / 5;
       waited += kStepMs) {
    SleepMs(kStepMs);
    loop = OpenLoop(device.path(), device.number, O_RDONLY | O_EXCL);
  }
  if (!loop.ok()) return SystemFailure(device.path());
  if (::ioctl(loop.get(), LOOP_CLR_FD) != 0 && errno != ENXIO) return SystemFailure(device.path());
  loop = Descriptor();
  for (int waited = 0; waited < kPatienceMs; waited += kStepMs) {
    if (!IsAttached(device)) return OkStatus();
    SleepMs(kStepMs);
  }
  return Failure(EBUSY, StrCat(device.path(), ": is given up as soon as its last user closes it"));
}

}  // namespace volfs::cli
