#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "control/cli/client.h"
#include "control/cli/loop.h"

namespace volfs::cli {

// The image below the mount that an absolute path is, by whichever view: "db", "db@monday".
std::optional<std::string> ImageBelow(const std::string& mountpoint, std::string_view path);

// The loop devices over an image, by number.
std::vector<LoopDevice> LoopsOf(const Client& client, const std::string& name);

}  // namespace volfs::cli
