#include "blockstore/node/open_directory.h"

#include <utility>

#include "blockstore/io/posix_node.h"
#include "blockstore/node/read_only_node.h"

namespace volfs {

Result<std::unique_ptr<NodeDirectory>> OpenNodeDirectory(const std::string& path,
                                                         NodeAccess access) {
  ASSIGN_OR_RETURN(std::unique_ptr<NodeDirectory> node, OpenPosixNode(path, access));
  if (access == NodeAccess::kReadOnly) return MakeReadOnly(std::move(node));
  return node;
}

}  // namespace volfs
