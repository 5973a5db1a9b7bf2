#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>

#include "blockstore/base/str_cat.h"
#include "blockstore/node/opener.h"
#include "control/cli/client.h"
#include "control/cli/commands/commands.h"
#include "control/cli/host/loop.h"
#include "control/cli/host/mountinfo.h"
#include "control/cli/host/state_directory.h"
#include "control/cli/offline_node.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"
#include "control/cli/target.h"
#include "control/cli/types_option.h"
#include "control/text/json.h"
#include "control/text/name.h"
#include "control/text/size.h"

namespace volfs::cli {
namespace {

struct NodeView {
  std::string name, state, region, types, size_bytes, free_bytes, uuid, path, filesystem;
};

Result<NodeView> ReadNode(const Client& client, const std::string& name) {
  NodeView node;
  node.name = name;
  const auto read = [&](std::string_view field, std::string& value) -> Status {
    ASSIGN_OR_RETURN(value, client.ReadControl(StrCat("nodes/", name, "/", field)));
    value.erase(std::min(value.find('\n'), value.size()));
    return OkStatus();
  };
  RETURN_IF_ERROR(read("state", node.state));
  RETURN_IF_ERROR(read("region", node.region));
  RETURN_IF_ERROR(read("types", node.types));
  RETURN_IF_ERROR(read("size_bytes", node.size_bytes));
  RETURN_IF_ERROR(read("free_bytes", node.free_bytes));
  RETURN_IF_ERROR(read("uuid", node.uuid));
  RETURN_IF_ERROR(read("path", node.path));
  (void)read("filesystem", node.filesystem);  // an older daemon does not tell it
  return node;
}

Result<std::vector<NodeView>> ReadNodes(const Client& client) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names,
                   ListDirectory(client.PathOf("control/nodes")));
  std::vector<NodeView> nodes;
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(const NodeView node, ReadNode(client, name));
    nodes.push_back(node);
  }
  return nodes;
}

std::string NodesJson(const std::vector<NodeView>& nodes) {
  std::vector<JsonObject> objects;
  objects.reserve(nodes.size());
  for (const NodeView& node : nodes) {
    objects.push_back({{"name", node.name},
                       {"uuid", node.uuid},
                       {"path", node.path},
                       {"region", node.region},
                       {"types", node.types},
                       {"state", node.state},
                       {"size_bytes", ParseNumber(node.size_bytes).value_or(0)},
                       {"free_bytes", ParseNumber(node.free_bytes).value_or(0)},
                       {"filesystem", node.filesystem}});
  }
  return JsonArray(objects);
}

Drawn NodesTable(const std::vector<NodeView>& nodes) {
  const auto size = [](const std::string& digits) {
    return FormatSize(ParseNumber(digits).value_or(0));
  };
  std::vector<Row> rows = {{"NAME", "STATE", "REGION", "TYPES", "SIZE", "FREE", "PATH"}};
  for (const NodeView& node : nodes) {
    rows.push_back({node.name, node.state, node.region, node.types, size(node.size_bytes),
                    size(node.free_bytes), node.path});
  }
  return Table(rows, 1, SurfaceOf(STDOUT_FILENO));
}

// On stderr, so that the table stays one.
void TellOfSharedRoom(const std::vector<NodeView>& nodes) {
  std::map<std::string, std::vector<std::string>> names;
  for (const NodeView& node : nodes) {
    if (!node.filesystem.empty()) names[node.filesystem].push_back(node.name);
  }
  for (const auto& [filesystem, together] : names) {
    if (together.size() < 2) continue;
    std::string list;
    for (const std::string& name : together) list += (list.empty() ? "" : ", ") + name;
    PrintNote(StrCat("volfs node ls: on one filesystem, whose room they share: ", list));
  }
}

// A node must not lie on the mount that it would serve, nor on a loop device over an image of it.
Status CheckNotOnVolfs(const std::string& directory, const std::string& real) {
  ASSIGN_OR_RETURN(const std::vector<MountEntry> mounts, ReadMountInfo());
  if (VolfsMountOf(mounts, real)) {
    return UsageFailure(
        StrCat(directory, ": is on a mounted volfs; a node needs a disk of its own"));
  }
  const MountEntry* under = nullptr;
  for (const MountEntry& mount : mounts) {
    if (!IsAtOrBelow(real, mount.mountpoint)) continue;
    if (under == nullptr || mount.mountpoint.size() >= under->mountpoint.size()) under = &mount;
  }
  for (const LoopDevice& device : ReadLoopDevices()) {
    if (under == nullptr || !IsDeviceOf(under->source, device)) continue;
    if (!VolfsMountOf(mounts, device.backing_file)) continue;
    return UsageFailure(StrCat(directory, ": is on ", device.path(), ", an image of a volfs (",
                               device.backing_file, "); a node needs a disk of its own"));
  }
  return OkStatus();
}

// Never makes an existing directory into something else.
Status CheckFresh(const std::string& directory, const std::string& real) {
  ASSIGN_OR_RETURN(const DirectoryKind kind, ClassifyDirectory(real));
  if (kind == DirectoryKind::kNode) return Failure(EEXIST, directory + ": is a node already");
  if (kind == DirectoryKind::kOther) {
    return UsageFailure(directory + ": is not empty; a new node takes an empty directory");
  }
  for (const auto& [uuid, path] : ReadNodeRegistry(NodeRegistryFile())) {
    if (path != real || kind != DirectoryKind::kEmpty) continue;
    return Failure(EEXIST, StrCat(directory, ": is empty, but was the node ", uuid, " here; mount ",
                                  "its disk. If that node is lost: volfs node forget ", uuid));
  }
  return OkStatus();
}

}  // namespace

Status ListNodes(const Common& common) {
  Targets targets(common.mount);
  ASSIGN_OR_RETURN(const Client client, targets.Mount());
  ASSIGN_OR_RETURN(const std::vector<NodeView> nodes, ReadNodes(client));
  if (common.json) {
    Print(NodesJson(nodes));
    return OkStatus();
  }
  Print(NodesTable(nodes));
  RETURN_IF_ERROR(FlushOutput());
  TellOfSharedRoom(nodes);
  return OkStatus();
}

Status InitNodeDirectory(const Common& common, const NodeInitOptions& options) {
  NodeRecord record;
  record.name = options.name;
  record.region = options.region;
  if (!options.name.empty()) RETURN_IF_ERROR(CheckName(options.name, "node"));
  if (!options.region.empty()) RETURN_IF_ERROR(CheckName(options.region, "region"));
  ASSIGN_OR_RETURN(record.types, ParseTypes(options.types));

  const Touching touching(StrCat("node directory ", options.directory));
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(options.directory, error);
  if (error) {
    return Failure(
        error.value(),
        StrCat(options.directory, ": ", error.message(),
               error.value() == ENOENT ? "; make it with mkdir, or mount its disk" : ""));
  }
  RETURN_IF_ERROR(CheckNotOnVolfs(options.directory, real.string()));
  RETURN_IF_ERROR(CheckFresh(options.directory, real.string()));
  const Waiting waiting(Waiting::For::kSync);
  RETURN_IF_ERROR(InitNode(real.string(), std::move(record)));
  if (!common.json) return OkStatus();
  ASSIGN_OR_RETURN(const std::unique_ptr<Node> node, OpenOffline(real.string()));
  PrintDone(common, NodeObject(node->record(), real.string()));
  return OkStatus();
}

}  // namespace volfs::cli
