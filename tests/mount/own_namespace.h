#pragma once

#include <string>
#include <utility>
#include <vector>

namespace volfs {

// Returns the command line that runs a bash script in a mount namespace of its own, in the folder
// `own`. The namespace forgets the mounts of other tests first: a mount that its test unmounts
// meanwhile would stay mounted here, and would keep its daemon or its loop device. `more` are
// further options of unshare(1).
inline std::vector<std::string> InOwnNamespace(const std::string& own, const std::string& script,
                                               std::vector<std::string> more = {}) {
  const std::string forget_others =
      "cd \"$1\" && " VOLFS_SOURCE_DIR "/scripts/forget_mounts \"$1\"\n";
  std::vector<std::string> command = {"unshare", "--mount", "--propagation", "private"};
  command.insert(command.end(), more.begin(), more.end());
  command.insert(command.end(), {"bash", "-c", forget_others + script, "bash", own});
  return command;
}

}  // namespace volfs
