#pragma once

#include <functional>
#include <string>
#include <vector>

#include "control/cli/commands/commands.h"
#include "control/cli/mount_arguments.h"

namespace volfs::cli {

// The footer of commands that copy.
inline constexpr const char* kSameUuids =
    "The contents of a copy have the UUIDs of its source. Beside its source an XFS is mounted\n"
    "with -o nouuid; a btrfs gets UUIDs of its own by btrfstune -u, and LVM by vgimportclone,\n"
    "before they are used. The command prints the remedy for the contents that it finds.";

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
  PruneOptions prune;
  StatusOptions status;
  NodeInitOptions node;
  NodeSetOptions node_set;
  NodeForgetOptions node_forget;
  CheckStoreOptions check;
  ListOptions list;
  bool flag = false;  // attach --ro, umount --force

  std::string name = "volfs";  // of the command, for messages
  std::function<int()> run;
};

}  // namespace volfs::cli
