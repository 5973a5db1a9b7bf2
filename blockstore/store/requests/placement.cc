#include "blockstore/store/requests/placement.h"

#include <algorithm>

#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

// The room that a request leaves free on a node, so that catalogs can always commit, and deleting
// always works.
constexpr uint64_t kHeadroomBytes = uint64_t{16} << 20;

bool Fits(const VolumeType& type, uint64_t size_bytes) {
  return size_bytes >= type.least_bytes && size_bytes <= type.greatest_bytes;
}

Error SizeError(const std::string& name, uint64_t size_bytes, const VolumeType& type) {
  return Error{Errc::kRange,
               StrCat(name, ": ", size_bytes, " bytes are outside of the limits of type ",
                      type.name, " (", type.least_bytes, " to ", type.greatest_bytes, ")")};
}

bool ShareRoom(Node& one, Node& other) {
  if (&one == &other) return true;
  const std::string filesystem = one.directory().FilesystemName();
  return !filesystem.empty() && filesystem == other.directory().FilesystemName();
}

Error NoSuchNode(const StoreParts& parts, const std::string& name) {
  for (const PeerRecord& peer : parts.absent) {
    if (peer.name != name) continue;
    return Error{Errc::kNodeDown,
                 StrCat("node ", name, " is not mounted; it was last at ", peer.path)};
  }
  return Error{Errc::kNoNode, StrCat("no node is named ", name, "; `volfs node ls` shows them")};
}

// Returns the bytes that running clones have still to copy to the node's filesystem, also by way of
// other nodes on it.
uint64_t PromisedBytes(const StoreParts& parts, Node& node) {
  MutexLock lock(parts.tables.mu);
  uint64_t bytes = 0;
  for (const auto& [id, clone] : parts.tables.clones.entries()) {
    const std::shared_ptr<Volume> volume = parts.tables.names.Find(id);
    if (clone.job == nullptr || volume == nullptr) continue;
    if (!ShareRoom(volume->node(), node)) continue;
    const CloneProgress progress = clone.job->progress();
    const uint64_t total = progress.total_known ? progress.total_bytes : clone.max_bytes;
    bytes += total - std::min(total, progress.copied_bytes);
  }
  return bytes;
}

}  // namespace

Node* FindNode(const StoreParts& parts, const std::string& name) {
  for (const auto& node : parts.nodes) {
    if (node->name() == name) return node.get();
  }
  return nullptr;
}

Status CheckType(const StoreParts& parts, const std::string& type) {
  if (type.empty()) return OkStatus();
  for (const auto& node : parts.nodes) {
    if (node->FindType(type) != nullptr) return OkStatus();
  }
  return Error{Errc::kInvalid,
               StrCat("no node offers the type ", type, "; control/types lists the types")};
}

Result<Node*> PlaceNew(const StoreParts& parts, const CreateRequest& request, std::string& type) {
  RETURN_IF_ERROR(CheckType(parts, type));
  Node* node = nullptr;
  if (!request.node.empty()) {
    node = FindNode(parts, request.node);
    if (node == nullptr) return NoSuchNode(parts, request.node);
  }
  const auto offers = [&](const Node& candidate, const std::string& wanted) {
    return candidate.FindType(wanted) != nullptr && (node == nullptr || node == &candidate);
  };
  if (type.empty()) {
    // The default type: `standard` where it is offered, else the first that the node has.
    type = "standard";
    const bool known = std::any_of(parts.nodes.begin(), parts.nodes.end(),
                                   [&](const auto& n) { return offers(*n, "standard"); });
    const Node& where = node != nullptr ? *node : *parts.nodes.front();
    if (!known && where.record().types.empty()) {
      return Error{Errc::kInvalid, StrCat("node ", where.name(), " offers no type of volume")};
    }
    if (!known) type = where.record().types.front().name;
  }
  for (const auto& candidate : parts.nodes) {
    if (!offers(*candidate, type)) continue;
    const VolumeType& offered = *candidate->FindType(type);
    if (request.size_bytes && !Fits(offered, *request.size_bytes)) {
      return SizeError(request.name, *request.size_bytes, offered);
    }
    return candidate.get();
  }
  return Error{Errc::kNoNode, StrCat("node ", request.node, " does not offer the type ", type)};
}

Result<Node*> PlaceClone(const StoreParts& parts, const ClonePlan& plan,
                         const CloneRequest& request) {
  const Node& from = *plan.source_node;
  std::vector<Node*> fitting;
  const VolumeType* refused = nullptr;
  for (const auto& node : parts.nodes) {
    const bool named = !request.node.empty() || request.linked;
    if (named ? node.get() != plan.named_node : node.get() == &from) continue;
    if (!named && node->record().region != from.record().region) continue;
    const VolumeType* const type = node->FindType(plan.type);
    if (type == nullptr || node->catalog().fenced()) continue;
    if (!named && !node->CheckAnswers().ok()) continue;
    if (Fits(*type, plan.size_bytes)) {
      fitting.push_back(node.get());
    } else {
      refused = type;
    }
  }
  if (fitting.empty() && refused != nullptr) {
    return SizeError(plan.name, plan.size_bytes, *refused);
  }
  if (!request.node.empty() && plan.named_node == nullptr) return NoSuchNode(parts, request.node);
  if (plan.named_node != nullptr && plan.named_node->record().region != from.record().region) {
    return Error{Errc::kWrongRegion,
                 StrCat("node ", request.node, " is in region ", plan.named_node->record().region,
                        ", ", plan.source_words, " in ", from.record().region,
                        "; a clone stays in its source's region")};
  }
  if (fitting.empty()) {
    return Error{Errc::kNoNode, StrCat("no other node of region ", from.record().region,
                                       " offers the type ", plan.type, "; mount one, or say node=",
                                       from.name(), " for a copy on the source's own node")};
  }
  Node* best = nullptr;
  uint64_t most = 0;
  for (Node* const node : fitting) {
    const Result<SpaceInfo> space = node->Space();
    if (!space.ok()) continue;
    const uint64_t promised = PromisedBytes(parts, *node);
    const uint64_t free = space.value().free_bytes - std::min(space.value().free_bytes, promised);
    if (best == nullptr || free > most) {
      best = node;
      most = free;
    }
  }
  if (best == nullptr) return Error{Errc::kIo, "no node's directory can tell its free space"};
  const uint64_t need = request.linked ? 0 : plan.data_bytes;
  if (most < kHeadroomBytes || most - kHeadroomBytes < need) {
    return Error{Errc::kNoSpace,
                 StrCat("no space: node ", best->name(), " has ", most,
                        " bytes free that no other clone is going to take; ", plan.source_words,
                        " takes up to ", need, ", and ", kHeadroomBytes,
                        " are kept for the node's own needs; delete volumes or snapshots there, or "
                        "name another node")};
  }
  return best;
}

}  // namespace volfs
