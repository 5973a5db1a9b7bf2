#include "blockstore/catalog/row_relations.h"

#include <algorithm>
#include <unordered_map>

#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

class RowRelations {
 public:
  explicit RowRelations(const std::vector<NodeRows>& nodes) : nodes_(nodes) {}
  Contradictions Find();

 private:
  struct LayerFacts {
    const NodeRows* node = nullptr;
    const LayerRecord* row = nullptr;
    LayerFacts* parent = nullptr;  // if it is there, where the row says
    const VolumeRecord* head_of = nullptr;
    bool point = false;  // a snapshot's or hold's
    bool reached = false;
    enum class Walk : uint8_t { kNot, kOnTheWay, kDone } walk = Walk::kNot;
    std::string why;  // empty, or the problem; once walked also of a layer under it
  };
  using Layers = std::unordered_map<Id, LayerFacts>;

  void AddLayers();
  void Link(LayerFacts& layer);
  void AddReferences();
  void MarkReached();
  void CheckLayer(LayerFacts& layer);
  void CheckFlat(LayerFacts& layer);
  // Returns the copy job of the volume whose head `layer` is; null if there is none.
  [[nodiscard]] const CloneRecord* JobOf(const LayerFacts& layer) const;
  [[nodiscard]] bool IsBeingCancelled(const LayerFacts& layer) const;
  void CheckHeads();
  void CheckDependence(LayerFacts& layer);
  // Returns the problem of the layer or of one under it; walks down once.
  const std::string& WhyOf(LayerFacts& layer);
  void CheckVolumes(const NodeRows& node);
  void CheckSnapshots(const NodeRows& node);
  bool ReadsItsSource(const CloneRecord& clone, const VolumeRecord& volume);
  void CheckClones(const NodeRows& node);
  void CheckCopying(const NodeRows& node, const CloneRecord& clone, const VolumeRecord& volume);
  void CheckHoldOf(const NodeRows& node, const CloneRecord& clone);
  void CheckHolds(const NodeRows& node);

  void Doubt(const NodeRows& node, const std::string& why) {
    found_.nodes.emplace(node.rows->node.uuid, why);
  }
  void Doubt(LayerFacts& layer, std::string why) {
    Doubt(*layer.node, why);
    if (layer.why.empty()) layer.why = std::move(why);
  }
  void Refuse(const NodeRows& node, const VolumeRecord& volume, const std::string& why) {
    Doubt(node, StrCat("volume ", volume.name, ": ", why));
    found_.volumes.emplace(volume.id, why);
  }
  void Refuse(const NodeRows& node, const SnapshotRecord& snapshot, const std::string& why) {
    Doubt(node, StrCat("snapshot ", snapshot.name, ": ", why));
    found_.snapshots.emplace(snapshot.id, why);
  }
  [[nodiscard]] const NodeRows* FindNode(const std::string& uuid) const;
  LayerFacts* FindLayer(Id id) {
    const auto found = layers_.find(id);
    return found == layers_.end() ? nullptr : &found->second;
  }
  // Null: it is not there, or on another node.
  LayerFacts* FindLayer(const NodeRows& node, Id id) {
    LayerFacts* const layer = FindLayer(id);
    return layer != nullptr && layer->node == &node ? layer : nullptr;
  }
  static std::string NameOf(const LayerFacts& layer) { return LayerFileName(layer.row->id); }

  const std::vector<NodeRows>& nodes_;
  Layers layers_;
  // By node and id of the volume.
  using Key = std::pair<const NodeRows*, Id>;
  std::map<Key, const VolumeRecord*> volumes_;  // with a head
  std::map<Key, const CloneRecord*> clones_;
  std::map<Key, const HoldRecord*> holds_;
  Contradictions found_;
};

const NodeRows* RowRelations::FindNode(const std::string& uuid) const {
  for (const NodeRows& node : nodes_) {
    if (node.rows->node.uuid == uuid) return &node;
  }
  return nullptr;
}

Contradictions RowRelations::Find() {
  AddLayers();
  for (auto& [id, layer] : layers_) Link(layer);
  AddReferences();
  MarkReached();
  for (auto& [id, layer] : layers_) CheckLayer(layer);
  CheckHeads();
  for (auto& [id, layer] : layers_) {
    if (!WhyOf(layer).empty()) found_.layers.insert(id);
  }
  for (const NodeRows& node : nodes_) {
    CheckVolumes(node);
    CheckSnapshots(node);
    CheckClones(node);
    CheckHolds(node);
  }
  return std::move(found_);
}

// --- layers --------------------------------------------------------------------------------------

void RowRelations::AddLayers() {
  size_t count = 0;
  for (const NodeRows& node : nodes_) count += node.rows->layers.size();
  layers_.reserve(count);
  for (const NodeRows& node : nodes_) {
    for (const LayerRecord& row : node.rows->layers) {
      layers_.try_emplace(row.id, LayerFacts{.node = &node, .row = &row, .why = {}});
    }
    for (const CloneRecord& clone : node.rows->clones) clones_[{&node, clone.clone}] = &clone;
    for (const HoldRecord& hold : node.rows->holds) holds_[{&node, hold.clone}] = &hold;
  }
  for (const NodeRows& node : nodes_) {
    for (const Id layer : node.with_presence) {
      if (FindLayer(node, layer) != nullptr) continue;
      Doubt(node, StrCat("presence tells of ", LayerFileName(layer), ", which has no row"));
    }
  }
}

void RowRelations::Link(LayerFacts& layer) {
  const LayerRecord& row = *layer.row;
  if (row.parent == kNoId) return;
  const std::string under = LayerFileName(row.parent);
  LayerFacts* const parent = FindLayer(row.parent);
  const bool local = row.parent_node.empty();
  if (row.parent_node == layer.node->rows->node.uuid) {
    return Doubt(layer, StrCat(NameOf(layer), " names its own node as another one"));
  }
  const NodeRows* const on = local ? layer.node : FindNode(row.parent_node);
  if (parent != nullptr && parent->node == on) {
    layer.parent = parent;
  } else if (parent != nullptr || local) {
    Doubt(layer, StrCat(NameOf(layer), " lies over ", under, ", which is not in the catalog of ",
                        local ? "its node" : "the node that it names"));
  }
  // Of another node, and not there: the clone's job and hold tell of it (Recovery::KeepClone).
}

void RowRelations::AddReferences() {
  for (const NodeRows& node : nodes_) {
    for (const VolumeRecord& volume : node.rows->volumes) {
      if (volume.head == kNoId) continue;
      volumes_[{&node, volume.id}] = &volume;
      LayerFacts* const head = FindLayer(node, volume.head);
      if (head == nullptr) continue;
      if (head->head_of != nullptr) {
        Doubt(*head, StrCat("the volumes ", head->head_of->name, " and ", volume.name,
                            " have one layer, ", NameOf(*head)));
      }
      head->head_of = &volume;
    }
    for (const SnapshotRecord& snapshot : node.rows->snapshots) {
      if (LayerFacts* const layer = FindLayer(node, snapshot.layer)) layer->point = true;
    }
    for (const HoldRecord& hold : node.rows->holds) {
      if (LayerFacts* const layer = FindLayer(node, hold.layer)) layer->point = true;
    }
  }
}

void RowRelations::MarkReached() {
  for (auto& [id, start] : layers_) {
    if (start.head_of == nullptr && !start.point) continue;
    for (LayerFacts* layer = &start; layer != nullptr && !layer->reached; layer = layer->parent) {
      layer->reached = true;
    }
  }
}

void RowRelations::CheckLayer(LayerFacts& layer) {
  const LayerRecord& row = *layer.row;
  if (row.parent == kNoId) return CheckFlat(layer);
  if (layer.node->here_without_file.contains(row.id)) {
    Doubt(layer, StrCat(NameOf(layer), " has blocks of its own, but no file"));
  }
  if (!layer.reached) return;  // not read by any: left by a crash
  const uint64_t least = layer.parent == nullptr
                             ? row.size_bytes
                             : std::min(row.size_bytes, layer.parent->row->size_bytes);
  if (row.parent_bytes > least) {
    Doubt(layer, StrCat(NameOf(layer), " shows ", row.parent_bytes, " bytes of ",
                        LayerFileName(row.parent), " where there are ", least));
  }
  CheckDependence(layer);
}

void RowRelations::CheckFlat(LayerFacts& layer) {
  const LayerRecord& row = *layer.row;
  if (row.parent_bytes != 0 || !row.parent_node.empty()) {
    Doubt(layer, StrCat(NameOf(layer), " lies over nothing, but shows something of that"));
  } else if (layer.node->with_presence.contains(row.id)) {
    Doubt(layer, StrCat(NameOf(layer), " lies over nothing, but has a presence"));
  } else if (!row.has_file && row.size_bytes != 0) {
    Doubt(layer, StrCat(NameOf(layer), " lies over nothing, but has no file"));
  }
}

const CloneRecord* RowRelations::JobOf(const LayerFacts& layer) const {
  if (layer.head_of == nullptr) return nullptr;
  const auto job = clones_.find({layer.node, layer.head_of->id});
  return job == clones_.end() ? nullptr : job->second;
}

void RowRelations::CheckDependence(LayerFacts& layer) {
  if (layer.row->parent_node.empty()) return;
  const CloneRecord* const job = JobOf(layer);
  if (job != nullptr && job->state != CloneState::kReleasing) return;
  Doubt(layer, StrCat(NameOf(layer), " depends on another node, but no copy job makes it whole"));
}

// The hold of a clone that is being cancelled is released before the clone is forgotten. Where its
// own node was away meanwhile, the source writes to that layer again.
bool RowRelations::IsBeingCancelled(const LayerFacts& layer) const {
  const CloneRecord* const job = JobOf(layer);
  return job != nullptr && job->state == CloneState::kDeleting && !layer.row->parent_node.empty();
}

// A layer that is written may have no other reader.
void RowRelations::CheckHeads() {
  for (auto& [id, layer] : layers_) {
    LayerFacts* const parent = layer.reached ? layer.parent : nullptr;
    if (parent != nullptr && parent->head_of != nullptr && !IsBeingCancelled(layer)) {
      Doubt(*parent, StrCat("volume ", parent->head_of->name, " writes to ", NameOf(*parent),
                            ", over which ", NameOf(layer), " lies"));
    }
    if (layer.head_of != nullptr && layer.point) {
      Doubt(layer, StrCat("volume ", layer.head_of->name, " writes to ", NameOf(layer),
                          ", which a snapshot or hold reads"));
    }
  }
}

const std::string& RowRelations::WhyOf(LayerFacts& top) {
  std::vector<LayerFacts*> way;
  LayerFacts* layer = &top;
  for (; layer != nullptr && layer->walk == LayerFacts::Walk::kNot; layer = layer->parent) {
    layer->walk = LayerFacts::Walk::kOnTheWay;
    way.push_back(layer);
  }
  if (layer != nullptr && layer->walk == LayerFacts::Walk::kOnTheWay) {
    Doubt(*layer, StrCat(NameOf(*layer), " lies over itself"));
  }
  std::string below = layer == nullptr ? "" : layer->why;
  for (; !way.empty(); way.pop_back()) {
    if (way.back()->why.empty()) way.back()->why = below;
    below = way.back()->why;
    way.back()->walk = LayerFacts::Walk::kDone;
  }
  return top.why;
}

// --- volumes, snapshots --------------------------------------------------------------------------

void RowRelations::CheckVolumes(const NodeRows& node) {
  for (const VolumeRecord& volume : node.rows->volumes) {
    if (volume.head == kNoId) continue;
    const LayerFacts* const head = FindLayer(node, volume.head);
    if (head == nullptr) {
      Refuse(node, volume, StrCat("its layer, ", LayerFileName(volume.head), ", has no row"));
    } else if (!head->why.empty()) {
      Refuse(node, volume, head->why);
    } else if (head->row->size_bytes != volume.size_bytes) {
      Refuse(node, volume,
             StrCat("it has ", volume.size_bytes, " bytes, and its layer ", head->row->size_bytes));
    }
  }
}

void RowRelations::CheckSnapshots(const NodeRows& node) {
  std::set<Id> of_node;
  for (const VolumeRecord& volume : node.rows->volumes) of_node.insert(volume.id);
  for (const SnapshotRecord& snapshot : node.rows->snapshots) {
    const LayerFacts* const layer = FindLayer(node, snapshot.layer);
    if (!of_node.contains(snapshot.volume)) {
      Refuse(node, snapshot, "it is of no volume of its node");
    } else if (layer == nullptr) {
      Refuse(node, snapshot, StrCat("its layer, ", LayerFileName(snapshot.layer), ", has no row"));
    } else if (!layer->why.empty()) {
      Refuse(node, snapshot, layer->why);
    } else if (layer->row->size_bytes != snapshot.size_bytes) {
      Refuse(
          node, snapshot,
          StrCat("it has ", snapshot.size_bytes, " bytes, and its layer ", layer->row->size_bytes));
    }
  }
}

// --- clones, holds -------------------------------------------------------------------------------

// A clone that became whole just before its deletion began has no layer under it any more.
bool RowRelations::ReadsItsSource(const CloneRecord& clone, const VolumeRecord& volume) {
  return clone.state == CloneState::kCopying ||
         (clone.state == CloneState::kDeleting && FindLayer(volume.head)->row->parent != kNoId);
}

void RowRelations::CheckClones(const NodeRows& node) {
  for (const CloneRecord& clone : node.rows->clones) {
    const auto found = volumes_.find({&node, clone.clone});
    const VolumeRecord* const volume = found == volumes_.end() ? nullptr : found->second;
    const bool here = volume != nullptr && FindLayer(node, volume->head) != nullptr;
    if (clone.state == CloneState::kCopying && volume == nullptr) {
      Doubt(node, StrCat("there is a copy job for ", clone.name, ", but no such volume"));
    } else if (volume != nullptr && clone.state == CloneState::kIntent) {
      Refuse(node, *volume, "its copy job says that it was not made yet");
    } else if (here && ReadsItsSource(clone, *volume)) {
      CheckCopying(node, clone, *volume);
    }
  }
}

void RowRelations::CheckCopying(const NodeRows& node, const CloneRecord& clone,
                                const VolumeRecord& volume) {
  const LayerRecord& head = *FindLayer(volume.head)->row;
  const bool same_node = clone.source_node == node.rows->node.uuid;
  if (head.parent != clone.source_layer || head.parent_bytes != clone.source_bytes ||
      head.parent_node != (same_node ? "" : clone.source_node)) {
    return Refuse(node, volume,
                  StrCat("its copy job copies ", clone.source_bytes, " bytes of ",
                         LayerFileName(clone.source_layer), ", but it does not lie over that"));
  }
  const uint32_t block_size = node.rows->node.block_size;
  const uint64_t blocks = BlocksFor(clone.source_bytes, block_size);
  const uint64_t most = blocks * block_size;
  const bool total_fits =
      !clone.total_known || (clone.total_bytes <= most && clone.copied_bytes <= clone.total_bytes);
  if (clone.cursor_block > blocks || clone.copied_bytes > most || !total_fits) {
    return Refuse(node, volume, "its copy job's figures are impossible");
  }
  CheckHoldOf(node, clone);
}

// That there is none is no contradiction: the source's node may have forgotten this one.
void RowRelations::CheckHoldOf(const NodeRows& node, const CloneRecord& clone) {
  const NodeRows* const source = FindNode(clone.source_node);
  const auto found = holds_.find({source, clone.clone});
  if (found == holds_.end()) return;
  const HoldRecord& hold = *found->second;
  if (hold.layer == clone.source_layer && hold.clone_node == node.rows->node.uuid) return;
  Doubt(*source,
        StrCat("the hold for clone ", hold.clone_name, " is not the one that its job needs"));
  Refuse(node, *volumes_.at({&node, clone.clone}),
         StrCat("its source's node holds ", LayerFileName(hold.layer), " for it, and not ",
                LayerFileName(clone.source_layer)));
}

void RowRelations::CheckHolds(const NodeRows& node) {
  for (const HoldRecord& hold : node.rows->holds) {
    if (FindLayer(node, hold.layer) != nullptr) continue;
    Doubt(node, StrCat("the hold for clone ", hold.clone_name, " is on ", LayerFileName(hold.layer),
                       ", which has no row"));
  }
}

}  // namespace

Contradictions FindContradictions(const std::vector<NodeRows>& nodes) {
  return RowRelations(nodes).Find();
}

}  // namespace volfs
