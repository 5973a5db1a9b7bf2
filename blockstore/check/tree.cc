// The tree of layers of all nodes: how they lie over each other, their owners, and which are
// reached.
#include <algorithm>

#include "blockstore/base/str_cat.h"
#include "blockstore/check/pass.h"

namespace volfs {

CheckPass::LayerView* CheckPass::FindLayer(const Member* member, Id id) {
  if (member == nullptr) return nullptr;
  const auto found = layers_.find({member->place, id});
  return found == layers_.end() ? nullptr : &found->second;
}

const std::string& CheckPass::ParentNodeOf(const LayerView& layer) {
  return layer.record.parent_node.empty() ? layer.member->uuid() : layer.record.parent_node;
}

void CheckPass::LinkLayers() {
  for (Member& member : members_) {
    for (const LayerRecord& record : member.contents.layers) {
      LayerView& layer = layers_[{member.place, record.id}];
      layer.member = &member;
      layer.record = record;
      layer.name = LayerFileName(record.id);
    }
  }
  for (auto& [key, layer] : layers_) {
    if (!layer.flat())
      layer.parent = FindLayer(FindMember(ParentNodeOf(layer)), layer.record.parent);
  }
}

void CheckPass::AddReferences() {
  for (Member& member : members_) {
    for (const VolumeRecord& volume : member.contents.volumes) {
      if (LayerView* const head = FindLayer(&member, volume.head)) {
        head->references.push_back("volume " + volume.name);
        head->writers.push_back("volume " + volume.name);
      }
    }
    for (const SnapshotRecord& snapshot : member.contents.snapshots) {
      if (LayerView* const layer = FindLayer(&member, snapshot.layer)) {
        layer->references.push_back("snapshot " + SnapshotName(member, snapshot));
      }
    }
    for (const HoldRecord& hold : member.contents.holds) {
      if (LayerView* const layer = FindLayer(&member, hold.layer)) {
        layer->references.push_back("the hold for clone " + hold.clone_name);
      }
    }
  }
}

// From the references downwards.
void CheckPass::MarkReached() {
  for (auto& [key, start] : layers_) {
    if (start.references.empty()) continue;
    for (LayerView* layer = &start; layer != nullptr && !layer->reached; layer = layer->parent) {
      layer->reached = true;
    }
  }
  for (auto& [key, layer] : layers_) {
    if (!layer.reached || layer.parent == nullptr) continue;
    if (layer.parent->member == layer.member) {
      layer.parent->children.push_back(&layer);
    } else if (!IsBeingCancelled(layer)) {
      layer.parent->foreign_child = true;
    }
  }
}

// Each layer has one parent, so a walk downwards ends, or comes back to where it has been.
void CheckPass::CheckCycles() {
  std::map<const LayerView*, const LayerView*> walked_from;
  for (auto& [key, start] : layers_) {
    const LayerView* layer = &start;
    while (layer != nullptr && walked_from.emplace(layer, &start).second) layer = layer->parent;
    if (layer == nullptr || walked_from.at(layer) != &start) continue;
    cyclic_ = true;
    Damage(Finding::Kind::kParentCycle, *layer->member,
           StrCat("node ", layer->member->name(), ": ", layer->name,
                  " lies over itself, by way of its parents; restore the node's directory from a "
                  "backup"));
  }
}

}  // namespace volfs
