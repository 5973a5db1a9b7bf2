#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/cli/client.h"
#include "control/cli/host/loop.h"

namespace volfs::cli {

// The image below the mount that an absolute path is, by whichever view: "db", "db@monday".
std::optional<std::string> ImageBelow(const std::string& mountpoint, std::string_view path);

// The loop devices over an image, by number.
std::vector<LoopDevice> LoopsOf(const Client& client, const std::string& name);

// A loop device that nobody serves any more: its image was on a mount whose daemon is gone. A new
// mount in its place does not bring it back; it is to be detached, and the image attached anew.
struct StaleLoop {
  LoopDevice device;
  std::string image;  // "db", "db@monday"
};

// Those of mounts that were taken away, and those below `dead`, mountpoints whose daemon is gone.
// Touches no mount.
std::vector<StaleLoop> StaleLoops(const std::vector<MountEntry>& mounts,
                                  const std::vector<std::string>& dead);

// Returns the commands that give a stale loop device up, the unmounting of its filesystems first.
std::vector<std::string> WayOut(const StaleLoop& loop, const std::vector<MountEntry>& mounts);

}  // namespace volfs::cli
