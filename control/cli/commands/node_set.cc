#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "blockstore/base/str_cat.h"
#include "control/cli/commands/commands.h"
#include "control/cli/offline_node.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/supervisor.h"
#include "control/cli/types_option.h"
#include "control/text/name.h"

namespace volfs::cli {
namespace {

Status SetName(const std::string& value, NodeRecord& record) {
  RETURN_IF_ERROR(CheckName(value, "node"));
  record.name = value;
  return OkStatus();
}

Status SetRegion(const std::string& value, NodeRecord& record) {
  RETURN_IF_ERROR(CheckName(value, "region"));
  record.region = value;
  return OkStatus();
}

// Volumes of a type that goes keep it and keep working; there are no new ones (trap T16).
Status SetTypes(const std::string& value, NodeRecord& record) {
  ASSIGN_OR_RETURN(record.types, ParseTypes(value));
  return OkStatus();
}

struct NodeKey {
  std::string_view name;
  Status (*set)(const std::string& value, NodeRecord& record);
};
constexpr std::array<NodeKey, 3> kNodeKeys = {
    {{"name", SetName}, {"region", SetRegion}, {"types", SetTypes}}};

Status Assign(const std::string& assignment, NodeRecord& record) {
  const size_t equals = assignment.find('=');
  const std::string key = assignment.substr(0, equals);
  const auto* const known = std::find_if(kNodeKeys.begin(), kNodeKeys.end(),
                                         [&](const NodeKey& one) { return one.name == key; });
  if (equals == std::string::npos || known == kNodeKeys.end()) {
    return UsageFailure(
        StrCat(Printable(assignment),
               ": name each change as KEY=VALUE; the keys are name, region, types"));
  }
  const std::string value = assignment.substr(equals + 1);
  if (value.empty()) return UsageFailure(StrCat(key, "=: a value is missing"));
  return known->set(value, record);
}

// All of them; `record` is only good if all could be read.
Status AssignAll(const std::vector<std::string>& assignments, NodeRecord& record) {
  std::set<std::string> keys;
  for (const std::string& assignment : assignments) {
    RETURN_IF_ERROR(Assign(assignment, record));
    const std::string key = assignment.substr(0, assignment.find('='));
    if (!keys.insert(key).second) return UsageFailure(StrCat(key, ": is given twice"));
  }
  return OkStatus();
}

// Nodes of one name cannot be mounted together.
Status CheckNameAmongPeers(const std::string& name, const std::vector<PeerRecord>& peers) {
  for (const PeerRecord& peer : peers) {
    if (peer.name != name) continue;
    return Error{Errc::kExists,
                 StrCat(name, ": is the name of a node that this one was mounted with",
                        " (last at ", peer.path, "); choose another")};
  }
  return OkStatus();
}

}  // namespace

std::vector<std::string> NodeSettings() {
  std::vector<std::string> settings;
  settings.reserve(kNodeKeys.size());
  for (const NodeKey& key : kNodeKeys) settings.push_back(StrCat(key.name, "="));
  return settings;
}

Status SetNode(const Common& common, const NodeSetOptions& options) {
  if (options.assignments.empty()) {
    return UsageFailure("name each change as KEY=VALUE; the keys are name, region, types");
  }
  NodeRecord scratch;  // a malformed value is reported before the node is touched
  RETURN_IF_ERROR(AssignAll(options.assignments, scratch));
  ASSIGN_OR_RETURN(const std::string path, NodeDirectoryOf(options.directory));
  ASSIGN_OR_RETURN(const std::unique_ptr<Node> node, OpenOffline(path));
  NodeRecord record = node->record();
  RETURN_IF_ERROR(AssignAll(options.assignments, record));
  if (record.name != node->name()) {
    RETURN_IF_ERROR(CheckNameAmongPeers(record.name, node->contents().peers));
  }
  const Waiting waiting(Waiting::For::kSync);
  RETURN_IF_ERROR(node->catalog().Commit({PutNode{record}}));
  PrintDone(common, NodeObject(record, path));
  return OkStatus();
}

}  // namespace volfs::cli
