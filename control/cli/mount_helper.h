#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"
#include "control/cli/mount_arguments.h"

namespace volfs::cli {

// What mount(8) calls for a filesystem of type volfs: `mount.volfs DIR1:DIR2 MNT [-sfnv] [-o
// OPTS]`.

inline constexpr std::string_view kMountHelperName = "mount.volfs";

struct MountHelperCall {
  MountArguments arguments;
  bool fake = false;  // -f: do everything but the mount
};

// `words` without the program's name. kInvalid for what mount(8) does not say.
Result<MountHelperCall> ParseMountHelper(const std::vector<std::string>& words);

// The directories that `words` name: "DIR1:DIR2" is two, unless there is such a path.
std::vector<std::string> SplitNodeDirectories(const std::vector<std::string>& words);

}  // namespace volfs::cli
