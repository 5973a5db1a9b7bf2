// Where a new volume or clone goes.
#include <algorithm>

#include "blockstore/base/str_cat.h"
#include "blockstore/store/clone_plan.h"
#include "blockstore/store/store.h"

namespace volfs {
namespace {

// What a request leaves free on a node, so that catalogs can always commit and deleting always
// works.
constexpr uint64_t kHeadroomBytes = uint64_t{16} << 20;

bool Fits(const VolumeType& type, uint64_t size_bytes) {
  return size_bytes >= type.least_bytes && size_bytes <= type.greatest_bytes;
}

Error SizeError(const std::string& name, uint64_t size_bytes, const VolumeType& type) {
  return Error{Errc::kRange,
               StrCat(name, ": ", size_bytes, " bytes are outside of what type ", type.name,
                      " allows (", type.least_bytes, " to ", type.greatest_bytes, ")")};
}

}  // namespace

Node* Store::FindNode(const std::string& name) const {
  for (const auto& node : nodes_) {
    if (node->name() == name) return node.get();
  }
  return nullptr;
}

Status Store::CheckNotFenced(Node& node) {
  RETURN_IF_ERROR(node.CheckAnswers());
  RETURN_IF_ERROR(node.CheckChanges());
  if (!node.catalog().fenced()) return OkStatus();
  return Error{node.catalog().lost() ? Errc::kIo : Errc::kReadOnly,
               StrCat("node ", node.name(), " is read-only until the next mount, since ",
                      node.catalog().fence_reason())};
}

Error Store::NoSuchNode(const std::string& name) const {
  for (const PeerRecord& peer : absent_) {
    if (peer.name != name) continue;
    return Error{Errc::kNodeDown,
                 StrCat("node ", name, " is not mounted; it was last at ", peer.path)};
  }
  return Error{Errc::kNoNode, StrCat("no node is named ", name, "; `volfs node ls` shows them")};
}

Status Store::CheckType(const std::string& type) const {
  if (type.empty()) return OkStatus();
  for (const auto& node : nodes_) {
    if (node->FindType(type) != nullptr) return OkStatus();
  }
  return Error{Errc::kInvalid,
               StrCat("no node offers the type ", type, "; control/types lists the types")};
}

Result<Node*> Store::PlaceNew(const CreateRequest& request, std::string& type) const {
  RETURN_IF_ERROR(CheckType(type));
  Node* node = nullptr;
  if (!request.node.empty()) {
    node = FindNode(request.node);
    if (node == nullptr) return NoSuchNode(request.node);
  }
  const auto offers = [&](const Node& candidate, const std::string& wanted) {
    return candidate.FindType(wanted) != nullptr && (node == nullptr || node == &candidate);
  };
  if (type.empty()) {
    // The default type: `standard` where it is offered, else the first that the node has.
    type = "standard";
    const bool known = std::any_of(nodes_.begin(), nodes_.end(),
                                   [&](const auto& n) { return offers(*n, "standard"); });
    const Node& where = node != nullptr ? *node : *nodes_.front();
    if (!known && where.record().types.empty()) {
      return Error{Errc::kInvalid, StrCat("node ", where.name(), " offers no type of volume")};
    }
    if (!known) type = where.record().types.front().name;
  }
  for (const auto& candidate : nodes_) {
    if (!offers(*candidate, type)) continue;
    const VolumeType& offered = *candidate->FindType(type);
    if (request.size_bytes && !Fits(offered, *request.size_bytes)) {
      return SizeError(request.name, *request.size_bytes, offered);
    }
    return candidate.get();
  }
  return Error{Errc::kNoNode, StrCat("node ", request.node, " does not offer the type ", type)};
}

namespace {

bool ShareRoom(Node& one, Node& other) {
  if (&one == &other) return true;
  const std::string filesystem = one.directory().FilesystemName();
  return !filesystem.empty() && filesystem == other.directory().FilesystemName();
}

}  // namespace

uint64_t Store::PromisedBytes(Node& node) const {
  MutexLock lock(mu_);
  uint64_t bytes = 0;
  for (const auto& [id, clone] : clones_) {
    const auto volume = by_id_.find(id);
    if (clone.job == nullptr || volume == by_id_.end()) continue;
    if (!ShareRoom(volume->second->node(), node)) continue;
    const CloneProgress progress = clone.job->progress();
    const uint64_t total = progress.total_known ? progress.total_bytes : clone.max_bytes;
    bytes += total - std::min(total, progress.copied_bytes);
  }
  return bytes;
}

Result<Node*> Store::PlaceClone(const ClonePlan& plan, const CloneRequest& request) const {
  const Node& from = *plan.source_node;
  std::vector<Node*> fitting;
  const VolumeType* refused = nullptr;
  for (const auto& node : nodes_) {
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
  if (!request.node.empty() && plan.named_node == nullptr) return NoSuchNode(request.node);
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
    const uint64_t promised = PromisedBytes(*node);
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
