#pragma once

#include <array>
#include <atomic>
#include <cassert>
#include <memory>
#include <unordered_map>

#include "blockstore/extent_map.h"
#include "blockstore/gate.h"
#include "blockstore/layer.h"
#include "blockstore/runtime.h"

namespace volfs {

// All layers of a mount, by LayerRef (for the data path) and by id.
//
// Get is two loads and no lock: references are handed out in order and never reused in one process.
// A layer lives until Remove, which its caller makes only after Epoch::Synchronize and when no map
// holds the reference (reclaim.h).
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf.
class LayerTable {
 public:
  LayerTable() = default;
  ~LayerTable();
  LayerTable(const LayerTable&) = delete;
  LayerTable& operator=(const LayerTable&) = delete;

  enum class Origin { kNew, kCatalog };
  Layer* Add(Node* node, LayerRecord record, Origin origin) VOLFS_EXCLUDES(mu_);
  // Of a node that is not mounted.
  Layer* AddMissing(Id id, std::string node_name) VOLFS_EXCLUDES(mu_);
  // Stands for a layer that its node did not keep as it was (Layer::LoseParent). Find does not find
  // it: the node may have that layer still.
  Layer* AddLost(Id id, std::string node_name) VOLFS_EXCLUDES(mu_);
  void Remove(Layer* layer) VOLFS_EXCLUDES(mu_);

  [[nodiscard]] Layer* Get(LayerRef ref) const {
    const auto index = static_cast<uint32_t>(ref);
    Segment* segment = segments_[index / kSegment].load(std::memory_order_acquire);
    assert(index != 0 && segment != nullptr);
    return (*segment)[index % kSegment].load(std::memory_order_acquire);
  }
  // Null if this process does not know it. Ids are unique over all nodes.
  [[nodiscard]] Layer* Find(Id id) const VOLFS_EXCLUDES(mu_);

  // Passed by who uses layers, or a map of blocks, that no point keeps: a request that has found a
  // snapshot's layer, who loads a map from the catalogs. Folding closes it while it changes which
  // layer a block is in (fold.h), and does not insist: it closes for kShapePatience at most.
  Gate& shape() { return shape_; }
  static constexpr Nanoseconds kShapePatience = std::chrono::milliseconds(20);

 private:
  static constexpr uint32_t kSegment = 4096;
  static constexpr uint32_t kSegments = 16384;
  using Segment = std::array<std::atomic<Layer*>, kSegment>;

  Layer* Place(std::unique_ptr<Layer> layer) VOLFS_REQUIRES(mu_);
  Layer* PlaceAndName(std::unique_ptr<Layer> layer) VOLFS_REQUIRES(mu_);

  Gate shape_;
  std::array<std::atomic<Segment*>, kSegments> segments_{};
  mutable Mutex mu_;
  uint32_t next_ VOLFS_GUARDED_BY(mu_) = 1;  // 0 is LayerRef::kHole
  std::unordered_map<Id, Layer*> by_id_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
