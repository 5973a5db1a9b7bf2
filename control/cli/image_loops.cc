#include "control/cli/image_loops.h"

#include "control/cli/mountinfo.h"
#include "control/cli/target.h"

namespace volfs::cli {

std::optional<std::string> ImageBelow(const std::string& mountpoint, std::string_view path) {
  if (!IsAtOrBelow(path, mountpoint)) return std::nullopt;
  return ImageName(path.substr(mountpoint.size()));
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
