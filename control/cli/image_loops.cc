#include "control/cli/image_loops.h"

#include <algorithm>

#include "control/cli/host/mountinfo.h"
#include "control/cli/target.h"

namespace volfs::cli {

std::optional<std::string> ImageBelow(const std::string& mountpoint, std::string_view path) {
  if (!IsAtOrBelow(path, mountpoint)) return std::nullopt;
  return ImageName(path.substr(mountpoint.size()));
}

namespace {

// Of a mount that is gone the kernel tells paths from the mount's own root.
std::optional<std::string> ImageOfGoneMount(const LoopDevice& device,
                                            const std::vector<MountEntry>& mounts) {
  std::optional<std::string> image = ImageName(device.backing_file);
  if (!image || !IsOrphaned(device, mounts)) return std::nullopt;
  return image;
}

}  // namespace

std::vector<StaleLoop> StaleLoops(const std::vector<MountEntry>& mounts,
                                  const std::vector<std::string>& dead) {
  std::vector<StaleLoop> stale;
  for (const LoopDevice& device : ReadLoopDevices()) {
    std::optional<std::string> image;
    for (const std::string& mountpoint : dead) {
      if (!image) image = ImageBelow(mountpoint, device.backing_file);
    }
    if (!image) image = ImageOfGoneMount(device, mounts);
    if (image) stale.push_back({device, *image});
  }
  return stale;
}

std::vector<std::string> WayOut(const StaleLoop& loop, const std::vector<MountEntry>& mounts) {
  std::vector<std::string> commands;
  for (const MountEntry& mount : MountsOn(loop.device, mounts)) {
    commands.push_back("umount " + mount.mountpoint);
  }
  std::reverse(commands.begin(), commands.end());  // the latest mount is on top
  commands.push_back("volfs detach " + loop.device.path());
  return commands;
}

std::vector<LoopDevice> LoopsOf(const Client& client, const std::string& name) {
  std::vector<LoopDevice> found;
  for (const LoopDevice& device : ReadLoopDevices()) {
    const std::optional<bool> over = IsOver(device, client.ImagePath(name));
    const bool named = ImageBelow(client.mountpoint(), device.backing_file) == name;
    if (over.value_or(named)) found.push_back(device);
  }
  return found;
}

}  // namespace volfs::cli
