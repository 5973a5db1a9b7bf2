#pragma once

#include <string>
#include <vector>

#include "blockstore/base/error.h"

namespace volfs {

// The state of MOUNTPOINT before the mount.
enum class MountpointState {
  kFree,       // an empty directory
  kDead,       // a mount whose daemon is gone (ENOTCONN): to be taken away once the nodes are ours
  kLiveVolfs,  // volfs serves it already
};

struct Mountpoint {
  std::string path;  // absolute, without symbolic links
  MountpointState state;
};

// Looks at MOUNTPOINT and the node directories without changing anything (contract.md, "Which
// nodes"). Refused, with the remedy: a mountpoint that is not an empty directory or is a node, lies
// in a node or over one; a node on that mount, or on a loop device over one of its images.
// kNotFound: no mountpoint; kNodeDown: no such node directory; kInvalid.
Result<Mountpoint> CheckMountpoint(const std::string& mountpoint,
                                   const std::vector<std::string>& nodes);

// Takes a mount away, even if it is in use.
Status UnmountLazily(const std::string& mountpoint);

// Unmounts a mount that is not in use; kBusy if it is.
Status UnmountUnused(const std::string& mountpoint);

}  // namespace volfs
