#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/base/units.h"
#include "blockstore/layer/layer.h"
#include "blockstore/node/node.h"

namespace volfs {

// Which layers lie over which, and what needs each of them.
//
// A layer has references (a head, a snapshot, a hold, something deleted that is still open) and
// children (layers of the same node that lie over it; a clone on another node is seen as its hold).
// A *pin* is a reference of a reader whose map of blocks cannot be changed under it: a hold, an
// open snapshot, a deleted volume that is still open. While a layer has one, nothing under it is
// merged (layer_merge.h). A layer without references and children is needed by nothing: it is the
// reclaimer's (reclaim.h).
//
// Invariant: a layer has at least as many references as pins.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf. A layer that the caller names is
// kept by the caller's reference, or by a Reclaimer::Exclusive.
// Cost: O(1), or as many layers as lie over the one that is named.
class LayerTree {
 public:
  struct Place {
    int references = 0;
    int pins = 0;  // of these
    std::vector<Layer*> children{};
  };
  struct Pair {
    Id under = kNoId;  // has no reference, and one child, on the same node:
    Id over = kNoId;
  };

  // Every layer of the catalogs: one that has neither reference nor child nor parent is to be freed
  // too.
  void Add(Layer* layer) VOLFS_EXCLUDES(mu_);
  void Expect(size_t layers) VOLFS_EXCLUDES(mu_);  // so many are about to be added
  void AddReference(Layer* layer) VOLFS_EXCLUDES(mu_);
  void AddChild(Layer* parent, Layer* child) VOLFS_EXCLUDES(mu_);
  // `child` became flat.
  void RemoveChild(Layer* parent, Layer* child) VOLFS_EXCLUDES(mu_);
  void AddPin(Layer* layer) VOLFS_EXCLUDES(mu_);          // and a reference
  void ReferenceIsPin(Layer* layer) VOLFS_EXCLUDES(mu_);  // one that it has already

  // Take a reference, or a pin and its reference, away. What that frees is for Reclaimer::Reclaim,
  // or for a later ReclaimAll.
  void DropReference(Layer* layer) VOLFS_EXCLUDES(mu_);
  void DropPin(Layer* layer) VOLFS_EXCLUDES(mu_);
  // Takes a layer that is gone out of the tree; `parent` is null if it has none.
  void Remove(Layer* layer, Layer* parent) VOLFS_EXCLUDES(mu_);

  [[nodiscard]] Place PlaceOf(const Layer* layer) const VOLFS_EXCLUDES(mu_);
  // The layer and all that lie over it, no layer before its parent.
  [[nodiscard]] std::vector<const Layer*> Subtree(const Layer* layer) const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] std::vector<Layer*> Children(const Layer* layer) const VOLFS_EXCLUDES(mu_);
  // It, or a layer over it, has a pin.
  [[nodiscard]] bool Pinned(const Layer* layer) const VOLFS_EXCLUDES(mu_);
  // Of the nodes that are mounted, by id.
  [[nodiscard]] std::vector<Id> WithoutReferences() const VOLFS_EXCLUDES(mu_);

  // --- merging: two layers become one (layer_merge.h) --------------------------------------------
  // By the id of `under`. Whether they can be merged now is for the caller to find out.
  [[nodiscard]] std::vector<Pair> Pairs(const Node& node) const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool IsPair(const Layer* under, const Layer* over) const VOLFS_EXCLUDES(mu_);
  // Grows with every change of the tree that can make a pair, or let one be merged.
  [[nodiscard]] uint64_t version() const VOLFS_EXCLUDES(mu_);
  // Makes one of a pair whose layers are one now: `stays` has the references, the children and the
  // parent of both. Requires: the caller has the Reclaimer::Exclusive of their node.
  void Merge(Layer* under, Layer* over, Layer* stays) VOLFS_EXCLUDES(mu_);

 private:
  mutable Mutex mu_;
  std::unordered_map<const Layer*, Place> places_ VOLFS_GUARDED_BY(mu_);
  uint64_t version_ VOLFS_GUARDED_BY(mu_) = 1;
};

}  // namespace volfs
