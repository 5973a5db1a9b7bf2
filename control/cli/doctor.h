#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace volfs::cli {

// The examinations of `volfs doctor`. They change nothing; on a node they make one nameless file,
// which vanishes when it is closed.

struct Finding {
  enum class Level { kOk, kNote, kWarning, kProblem };
  Level level = Level::kOk;
  std::string subject;  // "/dev/fuse"
  std::string says;
  std::string remedy;  // empty if there is nothing to do
};

// Examines whether this machine can mount.
std::vector<Finding> ExamineSystem();

// Examines mounts: whether their daemons answer, the volumes in error, their nodes. Takes a few
// seconds at most, even if a mount or node does not answer.
std::vector<Finding> ExamineMounts(const std::vector<std::string>& mountpoints);

// Finds loop devices whose daemon is gone, and says how to get rid of them. `of_mounts` are the
// findings of ExamineMounts.
std::vector<Finding> ExamineLoops(const std::vector<Finding>& of_mounts);

// Finds nodes that were mounted here before and do not answer now.
std::vector<Finding> ExamineKnownNodes();

// Returns whether fuse.conf's text lets users mount with allow_other.
bool AllowsOther(std::string_view fuse_conf);

}  // namespace volfs::cli
