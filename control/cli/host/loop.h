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

// Those that have a backing file, by number. `sys_block`: a test's own directory.
std::vector<LoopDevice> ReadLoopDevices(const std::string& sys_block = "/sys/block");

// 3 for "loop3", "/dev/loop3"; nothing for anything else, partitions included.
std::optional<int> LoopNumber(std::string_view name);

// Is `image` what the device is over? By device and inode number: a path may be an old name, or be
// another's by now. Nothing if the device may not be asked (not root), or the image does not answer
// (its daemon is gone).
std::optional<bool> IsOver(const LoopDevice& device, const std::string& image);

// Returns whether the backing file's filesystem (one without a disk, as FUSE) is dead: its daemon
// is gone, or it is mounted nowhere. False if the caller may not ask the device.
bool IsOrphaned(const LoopDevice& device, const std::vector<MountEntry>& mounts);

// Whether `path` is /dev/loopN or one of its partitions, /dev/loopNpM.
bool IsDeviceOf(std::string_view path, const LoopDevice& device);

// Who keeps a loop device from being given up: "mounted on /srv/db", "dm-0", "swap",
// "1234 dd (/dev/loop3)". Empty if nobody can be seen.
std::vector<std::string> LoopHolders(const LoopDevice& device,
                                     const std::vector<MountEntry>& mounts,
                                     const std::string& sys_block = "/sys/block");

// What is mounted from the device, its partitions, or what device mapper and the like have built on
// them: by device number, or, where that is the filesystem's own (btrfs), by what was mounted.
std::vector<MountEntry> MountsOn(const LoopDevice& device, const std::vector<MountEntry>& mounts,
                                 const std::string& sys_block = "/sys/block");

// Makes a loop device of an open image, with its partitions scanned. The file is kept by the kernel
// until the device is detached.
struct LoopOptions {
  std::string path;  // shown by losetup
  bool read_only = false;
};
Result<LoopDevice> ConfigureLoop(int image_fd, const LoopOptions& options);

// Gives the device up; returns when it is free. kBusy if somebody has it open: then nothing
// changed, as far as we could see it.
Status ClearLoop(const LoopDevice& device);

}  // namespace volfs::cli
