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

// The tree of layers, and the freeing of what nobody can reach.
//
// A layer has points (a head, a snapshot, a hold, something deleted that is still open) and
// children (layers of the same node that lie over it; a clone on another node is seen as its hold).
// A block of a layer without a point is needed only by children that do not cover it:
//   hidden(L) = intersection over the children C of
//               [here-or-zero(C)  united with  (C has a point ? nothing : hidden(C))
//                                 united with  what lies past C's parent_bytes]
// L's own blocks in hidden(L) are freed; a layer without points and children is removed whole. No
// reference counts on blocks: all is derived from the committed presence.
//
// A *use* is a point of somebody whose map of blocks cannot be changed under him: a hold, an open
// snapshot, a deleted volume that is still open. While a layer has one, nothing that is under it is
// merged (layer_merge.h).
//
// Order (map before freeing): the commit that makes blocks unreachable, then every request that
// began before (the epoch), then the punch or the unlink. A crash in between leaves space that the
// next mount finds (recovery.h).
//
// Of a node that is not trusted (Node::Distrust) nothing is freed: what would be stays for the next
// mount.
//
// Thread-safety: all methods from any thread. Locks: reclaim_mu_ > tree_mu_ (a leaf).
class Reclaimer {
 public:
  Reclaimer(LayerTable& layers, const std::vector<std::unique_ptr<Node>>& nodes,
            uint32_t block_size);

  // Every layer of the catalogs: one that has neither point nor child nor parent is to be freed
  // too.
  void Add(Layer* layer) VOLFS_EXCLUDES(tree_mu_);
  void Expect(size_t layers) VOLFS_EXCLUDES(tree_mu_);  // so many are about to be added
  void AddReference(Layer* layer) VOLFS_EXCLUDES(tree_mu_);
  void AddChild(Layer* parent, Layer* child) VOLFS_EXCLUDES(tree_mu_);
  // `child` became flat.
  void RemoveChild(Layer* parent, Layer* child) VOLFS_EXCLUDES(tree_mu_);
  void AddUse(Layer* layer) VOLFS_EXCLUDES(tree_mu_);          // and a point
  void ReferenceIsPin(Layer* layer) VOLFS_EXCLUDES(tree_mu_);  // one that it has already

  // Takes a point away; what that frees is for a later ReclaimAll.
  void DropReference(Layer* layer) VOLFS_EXCLUDES(tree_mu_);
  // Takes a point away; the space is free when this returns.
  Status RemoveReference(Layer* layer) VOLFS_EXCLUDES(tree_mu_);
  Status RemoveUse(Layer* layer) VOLFS_EXCLUDES(tree_mu_);

  // --- merging: two layers become one (layer_merge.h)
  // ---------------------------------------------------

  struct Pair {
    Id under = kNoId;  // has no point, and one child, on the same node:
    Id over = kNoId;
  };
  // By the id of `under`. Whether they can be merged now is for the caller to find out.
  [[nodiscard]] std::vector<Pair> Pairs(const Node& node) const VOLFS_EXCLUDES(tree_mu_);
  [[nodiscard]] bool IsPair(const Layer* under, const Layer* over) const VOLFS_EXCLUDES(tree_mu_);
  // The layer and all that lie over it, no layer before its parent.
  [[nodiscard]] std::vector<const Layer*> Subtree(const Layer* layer) const
      VOLFS_EXCLUDES(tree_mu_);
  [[nodiscard]] std::vector<Layer*> Children(const Layer* layer) const VOLFS_EXCLUDES(tree_mu_);
  // It, or a layer over it.
  [[nodiscard]] bool InUse(const Layer* layer) const VOLFS_EXCLUDES(tree_mu_);
  // Grows with every change of the tree that can make a pair, or let one be merged.
  [[nodiscard]] uint64_t version() const VOLFS_EXCLUDES(tree_mu_);
  // Runs `work` while nothing is reclaimed on the node.
  Status Alone(const Node& node, const std::function<Status()>& work);
  // Inside Alone, of a pair whose layers are one now: `stays` has the points, the children and the
  // parent of both.
  void Merge(Layer* under, Layer* over, Layer* stays) VOLFS_EXCLUDES(tree_mu_);
  // Inside Alone, of a layer that nobody can find any more, after the last reader: its file and all
  // that is known of it go.
  void Discard(Layer* layer) VOLFS_EXCLUDES(tree_mu_);
  // PunchGarbage, inside Alone.
  Status PunchGarbageAlone(Layer* layer);
  // SyncPunched will sync it.
  void NotePunched(Id layer) VOLFS_EXCLUDES(tree_mu_);

  // What removing this layer's last point would free at least, in bytes: its file, and those of the
  // layers under it that have no point and nobody else over them. The caller sees to it that the
  // layer stays (Epoch).
  Result<uint64_t> ExclusiveBytes(Layer* top) const VOLFS_EXCLUDES(tree_mu_);
  // Frees what the layer and the pointless layers under it can spare. A no-op if it has a point, or
  // is gone: by id, as another call may have removed it while this one waited for its turn.
  Status Reclaim(Id layer) VOLFS_EXCLUDES(tree_mu_);

  // Layer::ForgetCache, of one that may be gone.
  Status ForgetCache(Id layer);
  // Frees what is in the file of a layer that nobody writes any more, but not in its presence as
  // the catalog has it: writes that were never committed. A no-op if the layer is gone.
  Status PunchGarbage(Id layer) VOLFS_EXCLUDES(tree_mu_);

  // Makes durable what was punched. Not done by each call: until the mount ends in order a crash
  // that brings such blocks back only makes the next mount punch them again.
  Status SyncPunched();

  // Frees what a crash may have left: a Reclaim of every layer without a point.
  Status ReclaimAll() VOLFS_EXCLUDES(tree_mu_);

 private:
  struct Place {
    int points = 0;
    int uses = 0;  // of these
    std::vector<Layer*> children;
  };
  // What one call is going to free.
  struct Step;
  struct Plan;

  // Alone on the layer's node; nothing if it is gone, or its node is not mounted or not trusted.
  Status AloneWith(Id layer, const std::function<Status(Layer*)>& work);
  // All of these inside Alone.
  [[nodiscard]] Place PlaceOf(const Layer* layer) const VOLFS_EXCLUDES(tree_mu_);
  Status MakePlan(Layer* layer, Plan& plan);
  Status PlanHidden(Layer* layer, Plan& plan);
  std::vector<Step> StepsOver(Layer* layer, const Plan& plan) const VOLFS_EXCLUDES(tree_mu_);
  Result<PresenceChunk> HiddenIn(uint64_t chunk, const std::vector<Step>& order) const
      VOLFS_EXCLUDES(tree_mu_);
  Status Execute(Plan& plan);

  LayerTable& layers_;
  const uint32_t block_size_;

  // One reclaim at a time on each node; held over I/O. Those of a node that hangs hold up nobody
  // else.
  std::map<const Node*, Mutex> reclaim_mu_;
  mutable Mutex tree_mu_;
  std::set<Id> punched_ VOLFS_GUARDED_BY(tree_mu_);  // since the last SyncPunched
  std::unordered_map<const Layer*, Place> places_ VOLFS_GUARDED_BY(tree_mu_);
  uint64_t version_ VOLFS_GUARDED_BY(tree_mu_) = 1;
};

}  // namespace volfs
