#pragma once

#include <memory>
#include <string>

#include "blockstore/io/node_directory.h"
#include "tests/sim/machine.h"

namespace volfs::sim {

// Returns the node directory on a disk of `machine`, which must outlive it. The VFS of vfs.h finds
// its catalog.
std::unique_ptr<NodeDirectory> OpenSimNode(Machine& machine, int disk);

}  // namespace volfs::sim
