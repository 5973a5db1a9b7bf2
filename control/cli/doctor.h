#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace volfs::cli {

// What `volfs doctor` looks at. It changes nothing but for a nameless file on a node, which is gone
// when it is closed.

struct Finding {
  enum class Level { kOk, kNote, kWarning, kProblem };
  Level level = Level::kOk;
  std::string subject;  // "/dev/fuse"
  std::string says;
  std::string remedy;  // empty if there is nothing to do
};

// What a mount needs from this machine.
std::vector<Finding> ExamineSystem();

// Mounts: whether their daemons answer, the volumes in error, their nodes. Takes a few seconds at
// most, whatever does not answer.
std::vector<Finding> ExamineMounts(const std::vector<std::string>& mountpoints);

// Loop devices that nobody serves any more, with the way back; `of_mounts`: what ExamineMounts
// found.
std::vector<Finding> ExamineLoops(const std::vector<Finding>& of_mounts);

// Nodes that were mounted here before and do not answer now.
std::vector<Finding> ExamineKnownNodes();

// Whether fuse.conf's text lets users mount with allow_other.
bool AllowsOther(std::string_view fuse_conf);

}  // namespace volfs::cli
