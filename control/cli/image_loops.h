#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/cli/client.h"
#include "control/cli/host/loop.h"

namespace volfs::cli {

// Returns the name of the image below the mount that an absolute path means in any of the views:
// "db", "db@monday".
std::optional<std::string> ImageBelow(const std::string& mountpoint, std::string_view path);

// Returns the loop devices over an image, by number.
std::vector<LoopDevice> LoopsOf(const Client& client, const std::string& name);

// A loop device whose image was on a mount whose daemon is gone. A new mount in its place does not
// bring it back. The user must detach it and attach the image anew.
struct StaleLoop {
  LoopDevice device;
  std::string image;  // "db", "db@monday"
};

// Returns the stale loop devices of unmounted mounts and of those in `dead`, the mountpoints whose
// daemon is gone. Touches no mount.
std::vector<StaleLoop> StaleLoops(const std::vector<MountEntry>& mounts,
                                  const std::vector<std::string>& dead);

// Returns the commands that detach a stale loop device, the unmounting of its filesystems first.
std::vector<std::string> WayOut(const StaleLoop& loop, const std::vector<MountEntry>& mounts);

}  // namespace volfs::cli
