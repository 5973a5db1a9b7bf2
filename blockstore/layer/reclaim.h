#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/layer/layer_table.h"
#include "blockstore/map/presence.h"
#include "blockstore/sync/epoch.h"

namespace volfs {

// The tree of layers, and the freeing of blocks and layers that cannot be reached.
//
// A layer has references (a head, a snapshot, a hold, something deleted that is still open) and
// children (layers of the same node that lie over it; a clone on another node counts by its hold).
// A block of a layer without a reference is needed only by children that do not cover it:
//   hidden(L) = intersection over the children C of
//               [present-or-zero(C)  united with  (C has a reference ? nothing : hidden(C))
//                                    united with  all past C's parent_bytes]
// L's own blocks in hidden(L) are freed; a layer without references and children is removed whole.
// There are no reference counts on blocks: all is derived from the committed presence.
//
// A *pin* is a reference of an owner whose map of blocks cannot be changed while it is used: a
// hold, an open snapshot, a deleted volume that is still open. While a layer is pinned, no layer
// under it is merged (layer_merge.h).
//
// Order (map before freeing): first the commit that makes blocks unreachable, then the end of every
// request that began before it (the epoch), then the punch or the unlink. A crash in between leaves
// space that the next mount finds (recovery.h).
//
// Nothing is freed on a node that is not trusted (Node::Distrust). The next mount frees it.
//
// Thread-safety: all methods from any thread. Locks: reclaim_mu_ > tree_mu_ (a leaf).
class Reclaimer {
 public:
  Reclaimer(LayerTable& layers, const std::vector<std::unique_ptr<Node>>& nodes,
            uint32_t block_size);

  // Adds a layer of the catalogs. Recovery adds every one, as a layer that has neither reference
  // nor child nor parent is to be freed too.
  void Add(Layer* layer) VOLFS_EXCLUDES(tree_mu_);
  void Expect(size_t layers) VOLFS_EXCLUDES(tree_mu_);  // so many are about to be added
  void AddReference(Layer* layer) VOLFS_EXCLUDES(tree_mu_);
  void AddChild(Layer* parent, Layer* child) VOLFS_EXCLUDES(tree_mu_);
  // Called when `child` became flat.
  void RemoveChild(Layer* parent, Layer* child) VOLFS_EXCLUDES(tree_mu_);
  void AddUse(Layer* layer) VOLFS_EXCLUDES(tree_mu_);          // adds a reference and a pin
  void ReferenceIsPin(Layer* layer) VOLFS_EXCLUDES(tree_mu_);  // pins by a reference it has already

  // Drops a reference. A later ReclaimAll frees the space.
  void DropReference(Layer* layer) VOLFS_EXCLUDES(tree_mu_);
  // Drops a reference. The space is free when this returns.
  Status RemoveReference(Layer* layer) VOLFS_EXCLUDES(tree_mu_);
  Status RemoveUse(Layer* layer) VOLFS_EXCLUDES(tree_mu_);

  // --- merging: two layers become one (layer_merge.h)
  // ---------------------------------------------------

  struct Pair {
    Id under = kNoId;  // has no reference, and one child, on the same node:
    Id over = kNoId;
  };
  // Returns pairs by the id of `under`. The caller finds out whether they can be merged now.
  [[nodiscard]] std::vector<Pair> Pairs(const Node& node) const VOLFS_EXCLUDES(tree_mu_);
  [[nodiscard]] bool IsPair(const Layer* under, const Layer* over) const VOLFS_EXCLUDES(tree_mu_);
  // Returns the layer and all that lie over it, no layer before its parent.
  [[nodiscard]] std::vector<const Layer*> Subtree(const Layer* layer) const
      VOLFS_EXCLUDES(tree_mu_);
  [[nodiscard]] std::vector<Layer*> Children(const Layer* layer) const VOLFS_EXCLUDES(tree_mu_);
  // Returns whether the layer, or one over it, is pinned.
  [[nodiscard]] bool InUse(const Layer* layer) const VOLFS_EXCLUDES(tree_mu_);
  // Returns a number that grows with every change of the tree that can make a pair or let one be
  // merged.
  [[nodiscard]] uint64_t version() const VOLFS_EXCLUDES(tree_mu_);
  // Runs `work` while nothing is reclaimed on the node.
  Status Alone(const Node& node, const std::function<Status()>& work);
  // Requires: inside Alone, after the two layers became one. Gives `stays` the references, the
  // children and the parent of both.
  void Merge(Layer* under, Layer* over, Layer* stays) VOLFS_EXCLUDES(tree_mu_);
  // Removes the file of a layer and all records of it in memory. Requires: inside Alone; the layer
  // cannot be found any more, and its last reader has left.
  void Discard(Layer* layer) VOLFS_EXCLUDES(tree_mu_);
  // As PunchGarbage. Requires: inside Alone.
  Status PunchGarbageAlone(Layer* layer);
  // Notes that SyncPunched has to sync the layer.
  void NotePunched(Id layer) VOLFS_EXCLUDES(tree_mu_);

  // Returns a lower bound of the bytes that removing this layer's last reference would free: its
  // file, and those of the layers under it that have no reference and no other layer over them.
  // Requires: the caller keeps the layer alive (Epoch).
  Result<uint64_t> ExclusiveBytes(Layer* top) const VOLFS_EXCLUDES(tree_mu_);
  // Frees the unreachable blocks of the layer and of the layers without references under it. Does
  // nothing if the layer has a reference or is gone. It takes an id, as another call may have
  // removed the layer while this one waited for its turn.
  Status Reclaim(Id layer) VOLFS_EXCLUDES(tree_mu_);

  // Calls Layer::ForgetCache if the layer still exists.
  Status ForgetCache(Id layer);
  // Frees the blocks that are in the layer's file but not in its committed presence: writes that
  // were never committed. Requires: no volume writes the layer any more. Does nothing if the layer
  // is gone.
  Status PunchGarbage(Id layer) VOLFS_EXCLUDES(tree_mu_);

  // Makes the punches durable. Not done by each call: until the mount ends in order, a crash that
  // brings such blocks back only makes the next mount punch them again.
  Status SyncPunched();

  // Frees the leftovers of a crash: calls Reclaim for every layer without a reference.
  Status ReclaimAll() VOLFS_EXCLUDES(tree_mu_);

 private:
  struct Place {
    int points = 0;
    int uses = 0;  // of these
    std::vector<Layer*> children;
  };
  // The work of one call, layer by layer.
  struct Step;
  struct Plan;

  // Runs `work` alone on the layer's node. Does nothing if the layer is gone, or its node is not
  // mounted or not trusted.
  Status AloneWith(Id layer, const std::function<Status(Layer*)>& work);
  // Requires for all of these: inside Alone.
  [[nodiscard]] Place PlaceOf(const Layer* layer) const VOLFS_EXCLUDES(tree_mu_);
  Status MakePlan(Layer* layer, Plan& plan);
  Status PlanHidden(Layer* layer, Plan& plan);
  std::vector<Step> StepsOver(Layer* layer, const Plan& plan) const VOLFS_EXCLUDES(tree_mu_);
  Result<PresenceChunk> HiddenIn(uint64_t chunk, const std::vector<Step>& order) const
      VOLFS_EXCLUDES(tree_mu_);
  Status Execute(Plan& plan);

  LayerTable& layers_;
  const uint32_t block_size_;

  // One reclaim at a time on each node; held over I/O. There is one for each node, so that a node
  // that hangs delays no other.
  std::map<const Node*, Mutex> reclaim_mu_;
  mutable Mutex tree_mu_;
  std::set<Id> punched_ VOLFS_GUARDED_BY(tree_mu_);  // since the last SyncPunched
  std::unordered_map<const Layer*, Place> places_ VOLFS_GUARDED_BY(tree_mu_);
  uint64_t version_ VOLFS_GUARDED_BY(tree_mu_) = 1;
};

}  // namespace volfs
