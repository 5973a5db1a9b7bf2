#include "control/cli/offline_node.h"

#include <filesystem>

#include "blockstore/base/log.h"
#include "blockstore/io/node_lock.h"
#include "blockstore/node/opener.h"
#include "blockstore/node/read_only_node.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"

namespace volfs::cli {

Result<std::string> NodeDirectoryOf(const std::string& given) {
  const Touching touching(Text("node directory ", given));
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

Result<std::unique_ptr<Node>> OpenOffline(const std::string& real_path, NodeAccess access) {
  Touching::Note(Text("node directory ", real_path));  // what follows is about it, too
  LockWait wait;
  wait.tell = [](const std::string& text) { PrintNote(Text("volfs: ", text)); };
  VOLFS_ASSIGN(std::unique_ptr<NodeLock> lock, NodeLock::Take(real_path, access, wait));
  VOLFS_ASSIGN(std::unique_ptr<NodeDirectory> directory, OpenNodeDirectory(real_path, access));
  return Node::Open(std::move(directory), std::move(lock));
}

}  // namespace volfs::cli
