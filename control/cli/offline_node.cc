#include "control/cli/offline_node.h"

#include <filesystem>

#include "blockstore/log.h"
#include "blockstore/node_lock.h"
#include "blockstore/node_opener.h"
#include "blockstore/posix_node.h"
#include "control/cli/failure.h"

namespace volfs::cli {

Result<std::string> NodeDirectoryOf(const std::string& given) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(given, error);
  if (error) return Failure(error.value(), Text(given, ": ", error.message()));
  VOLFS_ASSIGN(const DirectoryKind kind, ClassifyDirectory(real.string()));
  switch (kind) {
    case DirectoryKind::kNode:
      return real.string();
    case DirectoryKind::kEmpty:
      return Error{Errc::kNotFound, Text(given, ": is empty; mount the node's disk there first")};
    case DirectoryKind::kUnfinished:
      return Error{Errc::kNotFound,
                   Text(given, ": is a node whose making did not finish; there is nothing in it")};
    case DirectoryKind::kOther:
      break;
  }
  return Error{Errc::kNotFound, Text(given, ": is not a node")};
}

Result<std::unique_ptr<Node>> OpenOffline(const std::string& real_path) {
  VOLFS_ASSIGN(std::unique_ptr<NodeLock> lock, NodeLock::Take(real_path));
  VOLFS_ASSIGN(std::unique_ptr<NodeDirectory> directory, OpenPosixNode(real_path));
  return Node::Open(std::move(directory), std::move(lock));
}

}  // namespace volfs::cli
