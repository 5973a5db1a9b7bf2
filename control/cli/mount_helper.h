#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"
#include "control/cli/mount_arguments.h"

namespace volfs::cli {

// The program that mount(8) calls for a filesystem of type volfs or fuse.volfs: `mount.volfs
// DIR1:DIR2 MNT [-sfnv] [-o OPTS] [-t TYPE]`.

inline constexpr std::string_view kMountHelperName = "mount.volfs";

// Returns whether mount(8) runs a program of this name for a volfs.
bool IsMountHelperName(std::string_view program);

struct MountHelperCall {
  MountArguments arguments;
  bool fake = false;  // -f: do everything but the mount
};

// Parses `words`, the arguments without the program's name. Returns kInvalid for words that
// mount(8) does not pass.
Result<MountHelperCall> ParseMountHelper(const std::vector<std::string>& words);

// Returns the directories that `words` name: "DIR1:DIR2" is two, unless there is such a path.
std::vector<std::string> SplitNodeDirectories(const std::vector<std::string>& words);

// Returns kNodeDown, with the directory's name, if one of `paths` does not answer in time. A child
// process looks.
Status CheckNodeDirectoriesAnswer(const std::vector<std::string>& paths);

}  // namespace volfs::cli
