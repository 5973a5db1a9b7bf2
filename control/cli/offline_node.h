#pragma once

#include <memory>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/io/node_directory.h"
#include "blockstore/node/node.h"

namespace volfs::cli {

// Nodes that nobody has mounted, for the commands that work on a node's directory itself.

// The real path of a node's directory. kNotFound, with the reason, if `given` is none: nothing is
// there, it is empty, or something else.
Result<std::string> NodeDirectoryOf(const std::string& given);

// Opens the node with its lock. Unlike a mount it grows no generation and makes nothing; kReadOnly
// writes nothing at all, and works on a disk that cannot be written. kLocked names the process that
// has it mounted; kCorrupt if its catalog is damaged.
// A directory must not be open twice in one process: its locks are the process's.
Result<std::unique_ptr<Node>> OpenOffline(const std::string& real_path,
                                          NodeAccess access = NodeAccess::kReadWrite);

}  // namespace volfs::cli
