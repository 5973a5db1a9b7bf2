// Unreachable space, computed from scratch: layers, blocks, and bytes without a presence. The store
// itself frees it in another way (reclaim.cc), so each way checks the other.
#include <algorithm>
#include <memory>

#include "blockstore/base/str_cat.h"
#include "blockstore/check/pass.h"

namespace volfs {

Result<BlockSet> CheckPass::DataOf(NodeFile& file, const LayerView& layer) {
  const uint32_t bs = layer.member->block_size();
  BlockSet blocks;
  for (uint64_t at = 0; at < layer.record.size_bytes;) {
    ASSIGN_OR_RETURN(const std::optional<ByteRange> data, file.NextData(at));
    if (!data || data->offset_bytes >= layer.record.size_bytes) break;
    const uint64_t first = data->offset_bytes / bs;
    const uint64_t end = std::min(BlocksFor(data->end(), bs), layer.blocks());
    blocks.Append({first, end - first});
    at = data->end();
  }
  return blocks;
}

CheckPass::Repair CheckPass::PunchBlocks(const LayerView& layer, BlockSet blocks,
                                         CatalogChange first) {
  return [&node = *layer.member->node, name = layer.name, bs = layer.member->block_size(),
          blocks = std::move(blocks), change = std::move(first)]() -> Status {
    // Map before freeing.
    if (!change.empty()) RETURN_IF_ERROR(node.catalog().Commit(change, Room::kFree));
    ASSIGN_OR_RETURN(const auto file, node.directory().Open(name, OpenMode::kReadWrite));
    for (const BlockRange& range : blocks.ranges()) {
      RETURN_IF_ERROR(file->Punch({range.first * bs, range.count * bs}));
    }
    return OkStatus();
  };
}

// Garbage can never be seen, as the first write of a block covers all of it. In a head it is left
// by a crash during writes, in a frozen layer by a crash between the commit that freed blocks and
// the punch.
void CheckPass::CheckGarbage(const LayerView& layer, const BlockSet& data) {
  BlockSet garbage = data.Without(layer.here);
  if (garbage.empty()) return;
  const Member& member = *layer.member;
  const bool mount_punches = !member.clean && !layer.writers.empty();
  std::string text =
      StrCat("node ", member.name(), ": ", layer.name, " has data in ", garbage.count(),
             " blocks that are not its own; no reader can see it, and ");
  text += mount_punches ? "the next mount removes it" : "a repair removes it";
  Tidy(Finding::Kind::kGarbage, member, std::move(text),
       PunchBlocks(layer, std::move(garbage), {}));
}

Status CheckPass::CheckSpace() {
  CheckUnreachedLayers();
  return CheckUnreachedBlocks();
}

void CheckPass::CheckUnreachedLayers() {
  // Children before their parents: a record must never name a parent that is gone.
  std::map<const LayerView*, int> children;
  std::vector<LayerView*> ready;
  for (auto& [key, layer] : layers_) {
    if (!layer.reached && layer.parent != nullptr) ++children[layer.parent];
  }
  for (auto& [key, layer] : layers_) {
    if (!layer.reached && !children.contains(&layer)) ready.push_back(&layer);
  }
  for (size_t i = 0; i < ready.size(); ++i) {
    LayerView& layer = *ready[i];
    Member& member = *layer.member;
    Repair remove = [&node = *member.node, id = layer.record.id, name = layer.name,
                     exists = layer.record.has_file]() -> Status {
      RETURN_IF_ERROR(node.catalog().Commit({DeleteLayer{id}}, Room::kFree));
      if (!exists) return OkStatus();
      const Status removed = node.directory().Remove(name);
      return removed.ok() || removed.error().code == Errc::kNotFound ? OkStatus() : removed;
    };
    // The needs of an absent node are not known.
    if (!absent_.empty()) remove = {};
    Tidy(Finding::Kind::kUnreachedLayer, member,
         StrCat("node ", member.name(), ": nothing reaches ", layer.name,
                "; the next mount removes it"),
         std::move(remove));
    if (layer.parent == nullptr || layer.parent->reached) continue;
    if (--children[layer.parent] == 0) ready.push_back(layer.parent);
  }
}

// A block of a layer without a reference is needed only by children that do not cover it:
//   hidden(L) = intersection over the children C of
//               [present-or-zero(C)  united with  (C has a reference ? nothing : hidden(C))]
Status CheckPass::CheckUnreachedBlocks() {
  if (cyclic_) return OkStatus();
  std::map<const LayerView*, size_t> left;  // children that have no `hidden` yet
  std::vector<LayerView*> ready;
  for (auto& [key, layer] : layers_) {
    if (!layer.reached) continue;
    left[&layer] = layer.children.size();
    if (layer.children.empty()) ready.push_back(&layer);
  }
  std::map<const LayerView*, BlockSet> hidden;  // of unreferenced layers
  for (size_t i = 0; i < ready.size(); ++i) {
    LayerView& layer = *ready[i];
    if (layer.parent != nullptr && layer.parent->member == layer.member &&
        --left[layer.parent] == 0) {
      ready.push_back(layer.parent);
    }
    if (!layer.unreferenced()) continue;
    BlockSet all;
    all.Append({0, layer.blocks()});
    for (const LayerView* child : layer.children) {
      const auto below = hidden.find(child);
      all = all.Intersection(below == hidden.end() ? child->covered
                                                   : child->covered.Union(below->second));
    }
    BlockSet own = layer.here;
    if (layer.flat()) {
      if (!layer.record.has_file) continue;
      const auto file = layer.member->directory().Open(layer.name, OpenMode::kReadOnly);
      if (!file.ok()) continue;  // CheckFile tells
      ASSIGN_OR_RETURN(own, DataOf(*file.value(), layer));
    }
    BlockSet free = own.Intersection(all);
    hidden[&layer] = std::move(all);
    if (free.empty()) continue;
    CatalogChange change;
    if (!layer.flat()) {
      PresenceRuns runs;
      for (const BlockRange& range : free.ranges()) runs.Set(range, BlockState::kAbsent);
      change.emplace_back(SetPresence{layer.record.id, runs});
    }
    std::string text = StrCat("node ", layer.member->name(), ": nothing reaches ", free.count(),
                              " blocks of ", layer.name, "; the next mount frees them");
    Repair punch = PunchBlocks(layer, std::move(free), std::move(change));
    if (!absent_.empty()) punch = {};
    Tidy(Finding::Kind::kUnreachedBlocks, *layer.member, std::move(text), std::move(punch));
  }
  return OkStatus();
}

}  // namespace volfs
