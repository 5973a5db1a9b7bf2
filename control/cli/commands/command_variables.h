#pragma once

#include <functional>
#include <string>
#include <vector>

#include "control/cli/commands/commands.h"
#include "control/cli/mount_arguments.h"

namespace volfs::cli {

// The variables that the options are read into, and the action to run then. CLI11 keeps pointers
// into it.
struct CommandVariables {
  Common common;
  MountArguments mount;
  std::vector<std::string> mount_paths;  // NODE_DIR... MOUNTPOINT
  std::string first;                     // the words of commands that take one or two
  std::string second;
  std::vector<std::string> names;
  CreateOptions create;
  CloneOptions clone;
  SnapshotOptions snapshot;
  StatusOptions status;
  NodeInitOptions node;
  NodeSetOptions node_set;
  NodeForgetOptions node_forget;
  CheckStoreOptions check;
  bool flag = false;  // ls -l, attach --ro

  std::string name = "volfs";  // of the command, for messages
  std::function<int()> run;
};

}  // namespace volfs::cli
