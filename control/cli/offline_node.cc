#include "control/cli/offline_node.h"

#include <filesystem>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/node_lock.h"
#include "blockstore/node/open_directory.h"
#include "blockstore/node/opener.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"

namespace volfs::cli {

Result<std::string> NodeDirectoryOf(const std::string& given) {
  const Touching touching(StrCat("node directory ", given));
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(given, error);
  if (error) return Failure(error.value(), StrCat(given, ": ", error.message()));
  ASSIGN_OR_RETURN(const DirectoryKind kind, ClassifyDirectory(real.string()));
  switch (kind) {
    case DirectoryKind::kNode:
      return real.string();
    case DirectoryKind::kEmpty:
      return Error{Errc::kNotFound, StrCat(given, ": is empty; mount the node's disk there first")};
    case DirectoryKind::kUnfinished:
      return Error{
          Errc::kNotFound,
          StrCat(given, ": is a node whose making did not finish; there is nothing in it")};
    case DirectoryKind::kOther:
      break;
  }
  return Error{Errc::kNotFound, StrCat(given, ": is not a node")};
}

Result<std::unique_ptr<Node>> OpenOffline(const std::string& real_path, NodeAccess access) {
  Touching::Note(StrCat("node directory ", real_path));  // the calls that follow touch it, too
  LockWait wait;
  wait.tell = [](const std::string& text) { PrintNote(StrCat("volfs: ", text)); };
  ASSIGN_OR_RETURN(std::unique_ptr<NodeLock> lock, NodeLock::Take(real_path, access, wait));
  ASSIGN_OR_RETURN(std::unique_ptr<NodeDirectory> directory, OpenNodeDirectory(real_path, access));
  return Node::Open(std::move(directory), std::move(lock));
}

JsonObject NodeObject(const NodeRecord& record, const std::string& path) {
  std::string types;
  for (const VolumeType& type : record.types) types += (types.empty() ? "" : " ") + type.name;
  return {{"name", record.name},
          {"uuid", record.uuid},
          {"path", path},
          {"region", record.region},
          {"types", types}};
}

}  // namespace volfs::cli
