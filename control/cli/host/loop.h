#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"
#include "control/cli/host/mountinfo.h"

namespace volfs::cli {

// Loop devices, as the kernel tells of them in /sys/block.

struct LoopDevice {
  int number = 0;
  std::string backing_file;  // its path now, after renames; without " (deleted)"
  bool read_only = false;

  [[nodiscard]] std::string path() const;  // "/dev/loop3"
};

// Returns the loop devices that have a backing file, by number. `sys_block` lets a test use its own
// directory.
std::vector<LoopDevice> ReadLoopDevices(const std::string& sys_block = "/sys/block");

// Returns 3 for "loop3" and "/dev/loop3"; nothing for any other name, partitions included.
std::optional<int> LoopNumber(std::string_view name);

// Returns whether the device is over `image`, by device and inode number: a path may be an old
// name, or another file's by now. Returns nothing if the caller may not ask the device (not root),
// or if the image does not answer (its daemon is gone).
std::optional<bool> IsOver(const LoopDevice& device, const std::string& image);

// Returns whether the filesystem of the backing file (one without a disk, as FUSE) is dead: its
// daemon is gone, or it is mounted nowhere. Returns false if the caller may not ask the device.
bool IsOrphaned(const LoopDevice& device, const std::vector<MountEntry>& mounts);

// Returns whether `path` is /dev/loopN or one of its partitions, /dev/loopNpM.
bool IsDeviceOf(std::string_view path, const LoopDevice& device);

// Returns the users that keep a loop device busy: "mounted on /srv/db", "dm-0", "swap", "1234 dd
// (/dev/loop3)". Empty if none can be seen.
std::vector<std::string> LoopHolders(const LoopDevice& device,
                                     const std::vector<MountEntry>& mounts,
                                     const std::string& sys_block = "/sys/block");

// Returns the mounts from the device, from its partitions, and from devices that device mapper and
// the like have built on them. They are matched by device number or, where the filesystem has its
// own number (btrfs), by their source.
std::vector<MountEntry> MountsOn(const LoopDevice& device, const std::vector<MountEntry>& mounts,
                                 const std::string& sys_block = "/sys/block");

// Makes a loop device of an open image, with its partitions scanned. The kernel keeps the file
// until the device is detached.
struct LoopOptions {
  std::string path;  // as losetup shows it
  bool read_only = false;
};
Result<LoopDevice> ConfigureLoop(int image_fd, const LoopOptions& options);

// Makes the device as large as its image is now. Partitions and filesystems on it stay as they are.
Status ResizeLoop(const LoopDevice& device, const std::string& image);

// Detaches the device; returns when it is free. Returns kBusy if a process has it open; as far as
// can be seen, nothing has changed then.
Status ClearLoop(const LoopDevice& device);

}  // namespace volfs::cli
