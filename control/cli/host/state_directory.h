#pragma once

#include <string>

namespace volfs::cli {

// Where what volfs keeps between mounts besides the nodes belongs: /var/lib/volfs for root, else
// below $XDG_STATE_HOME or ~/.local/state; empty if there is no such place.
std::string StateDirectory();

// This machine's list of nodes (NodeOpenOptions::registry); empty if there is no place for it.
std::string NodeRegistryFile();

// Where the daemons of this machine hold the TwinLock of each node (NodeOpenOptions::locks):
// /run/volfs/nodes for root, else below $XDG_RUNTIME_DIR; empty if there is no such place.
std::string NodeLockDirectory();

}  // namespace volfs::cli
