#pragma once

#include <string>

namespace volfs::cli {

// Returns the directory for the state that volfs keeps between mounts outside the nodes:
// /var/lib/volfs for root, else below $XDG_STATE_HOME or ~/.local/state. Empty if there is no such
// place.
std::string StateDirectory();

// Returns the file of this machine's list of nodes (NodeOpenOptions::registry); empty if there is
// no place for it.
std::string NodeRegistryFile();

// Returns the directory where the daemons of this machine hold the TwinLock of each node
// (NodeOpenOptions::locks): /run/volfs/nodes for root, else below $XDG_RUNTIME_DIR. Empty if there
// is no such place.
std::string NodeLockDirectory();

}  // namespace volfs::cli
