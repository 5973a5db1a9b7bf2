#pragma once

#include <memory>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/io/node_directory.h"

namespace volfs {

// Opens the node directory `path` with the class that fits the path and the access. The one place
// that chooses it. With kReadOnly the node is never changed (read_only_node.h). Fails as
// OpenPosixNode does.
Result<std::unique_ptr<NodeDirectory>> OpenNodeDirectory(
    const std::string& path, NodeAccess access = NodeAccess::kReadWrite);

}  // namespace volfs
