#pragma once

#include <memory>
#include <string>

#include "blockstore/io/node_directory.h"
#include "tests/sim/machine.h"

namespace volfs::sim {

// The node directory that lies on a disk of `machine`, which must outlive it. Its catalog is found
// by the VFS of vfs.h.
std::unique_ptr<NodeDirectory> OpenSimNode(Machine& machine, int disk);

}  // namespace volfs::sim
