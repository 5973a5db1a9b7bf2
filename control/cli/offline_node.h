#pragma once

#include <memory>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/io/node_directory.h"
#include "blockstore/node/node.h"
#include "control/text/json.h"

namespace volfs::cli {

// Unmounted nodes, for the commands that work on a node's directory itself.

// Returns the real path of a node's directory. Returns kNotFound, with the reason, if `given` is
// none: nothing is there, the directory is empty, or it is something else.
Result<std::string> NodeDirectoryOf(const std::string& given);

// Opens the node with its lock. Unlike a mount it makes nothing and does not advance the
// generation. kReadOnly writes nothing at all, and works on a disk that cannot be written. Returns
// kLocked, with the process that has it mounted, or kCorrupt if its catalog is damaged.
// Requires: the directory is not open in this process, because its locks are the process's.
Result<std::unique_ptr<Node>> OpenOffline(const std::string& real_path,
                                          NodeAccess access = NodeAccess::kReadWrite);

// Returns the node after a command has changed it, for programs.
JsonObject NodeObject(const NodeRecord& record, const std::string& path);

}  // namespace volfs::cli
