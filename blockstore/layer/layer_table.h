#pragma once

#include <array>
#include <atomic>
#include <cassert>
#include <deque>
#include <memory>
#include <unordered_map>

#include "blockstore/base/runtime.h"
#include "blockstore/layer/layer.h"
#include "blockstore/map/extent_map.h"

// 0 in the simulation only, where each reference number is used again at once.
#ifndef VOLFS_LAYER_REFS_REST
#define VOLFS_LAYER_REFS_REST 4096
#endif

namespace volfs {

// All layers of a mount, by LayerRef (for the data path) and by id.
//
// Get is two loads and no lock. A layer lives until Remove, which the caller calls only after
// Epoch::Synchronize and when no map holds its LayerRef (reclaim.h). The LayerRef is then used
// again, or a process that takes snapshots for years would run out of them. It rests until kRest
// other layers have been removed, so that a mistake more likely finds nothing than another layer.
//
// Memory: 8 bytes per LayerRef. There are kRest more of them than there were layers at once.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf.
class LayerTable {
 public:
  // Keeps at most about `open_files` of their files open.
  explicit LayerTable(size_t open_files) : files_(open_files) {}
  ~LayerTable();
  LayerTable(const LayerTable&) = delete;
  LayerTable& operator=(const LayerTable&) = delete;

  // Prepares for so many layers that are about to be added.
  void Expect(size_t layers) VOLFS_EXCLUDES(mu_);

  enum class Origin { kNew, kCatalog };
  Layer* Add(Node* node, LayerRecord record, Origin origin) VOLFS_EXCLUDES(mu_);
  // Adds a stand-in for a layer of a node that is not mounted.
  Layer* AddMissing(Id id, std::string node_name) VOLFS_EXCLUDES(mu_);
  // Adds a stand-in for a layer that its node did not keep as it was (Layer::MarkParentLost). Find
  // does not find it, as the node may have that layer still.
  Layer* AddLost(Id id, std::string node_name) VOLFS_EXCLUDES(mu_);
  void Remove(Layer* layer) VOLFS_EXCLUDES(mu_);

  [[nodiscard]] Layer* Get(LayerRef ref) const {
    const auto index = static_cast<uint32_t>(ref);
    Segment* segment = segments_[index / kSegment].load(std::memory_order_acquire);
    assert(index != 0 && segment != nullptr);
    return (*segment)[index % kSegment].load(std::memory_order_acquire);
  }
  // Returns null if this process does not know the layer. Ids are unique over all nodes.
  [[nodiscard]] Layer* Find(Id id) const VOLFS_EXCLUDES(mu_);

  [[nodiscard]] const OpenFiles& files() const { return files_; }

  // Returns the node of a layer that may be removed meanwhile. Null if there is no such layer or
  // its node is not mounted.
  [[nodiscard]] Node* NodeOf(Id id) const VOLFS_EXCLUDES(mu_);

 private:
  static constexpr size_t kRest = VOLFS_LAYER_REFS_REST;
  static constexpr uint32_t kSegment = 4096;
  static constexpr uint32_t kSegments = 16384;
  using Segment = std::array<std::atomic<Layer*>, kSegment>;

  LayerRef NewRef() VOLFS_REQUIRES(mu_);
  Layer* Place(std::unique_ptr<Layer> layer) VOLFS_REQUIRES(mu_);
  Layer* PlaceAndName(std::unique_ptr<Layer> layer) VOLFS_REQUIRES(mu_);

  OpenFiles files_;  // before the layers: they close theirs
  std::array<std::atomic<Segment*>, kSegments> segments_{};
  mutable Mutex mu_;
  uint32_t next_ VOLFS_GUARDED_BY(mu_) = 1;          // 0 is LayerRef::kHole
  std::deque<LayerRef> free_ VOLFS_GUARDED_BY(mu_);  // removed, the oldest first
  std::unordered_map<Id, Layer*> by_id_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
