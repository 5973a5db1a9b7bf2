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

// One mount: whether its daemon answers, its nodes, and the volumes in error.
std::vector<Finding> ExamineMount(const std::string& mountpoint);

// Whether fuse.conf's text lets users mount with allow_other.
bool AllowsOther(std::string_view fuse_conf);

}  // namespace volfs::cli
