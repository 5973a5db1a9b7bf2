#pragma once

#include <functional>
#include <string>
#include <vector>

#include "control/cli/host/image_contents.h"

namespace volfs::cli {

// Returns the mountpoint of a device ("/dev/loop0p1"), "" if it is not mounted.
using MountpointOf = std::function<std::string(const std::string& device)>;

// Returns the commands that make the contents of `device` as large as the device, in their order:
// a partition table first, then its last known partition, then the contents of that partition.
// Empty if nothing is known of the contents. The user must choose DIR, NAME and N. Pure.
std::vector<std::string> GrowthCommands(const std::vector<Contents>& contents,
                                        const std::string& device,
                                        const MountpointOf& mountpoint_of);

}  // namespace volfs::cli
