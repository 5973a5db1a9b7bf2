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
#include "blockstore/layer/layer_tree.h"
#include "blockstore/map/presence.h"
#include "blockstore/sync/epoch.h"

namespace volfs {

// Frees the blocks and layers that cannot be reached (layer_tree.h).
//
// A block of a layer without a reference is needed only by children that do not cover it:
//   hidden(L) = intersection over the children C of
//               [present-or-zero(C)  united with  (C has a reference ? nothing : hidden(C))
//                                    united with  all past C's parent_bytes]
// L's own blocks in hidden(L) are freed; a layer without references and children is removed whole.
// There are no reference counts on blocks: all is derived from the committed presence.
//
// Order (map before freeing): first the commit that makes blocks unreachable, then the end of every
// request that began before it (the epoch), then the punch or the unlink. A crash in between leaves
// space that the next mount finds (recovery.h).
//
// Nothing is freed on a node that is not trusted (Node::Distrust). The next mount frees it.
//
// Thread-safety: all methods from any thread. Locks: reclaim_mu_ > the tree's, punched_mu_ (a
// leaf).
class Reclaimer {
 public:
  Reclaimer(LayerTable& layers, LayerTree& tree, const std::vector<std::unique_ptr<Node>>& nodes,
            uint32_t block_size);

  // Drops a reference. The space is free when this returns.
  Status RemoveReference(Layer* layer);
  Status RemovePin(Layer* layer);  // and its reference

  // Runs `work` while nothing is reclaimed on the node.
  Status Alone(const Node& node, const std::function<Status()>& work);
  // Removes the file of a layer and all records of it in memory. Requires: inside Alone; the layer
  // cannot be found any more, and its last reader has left.
  void Discard(Layer* layer);
  // As PunchGarbage. Requires: inside Alone.
  Status PunchGarbageAlone(Layer* layer);
  // Notes that SyncPunched has to sync the layer.
  void NotePunched(Id layer) VOLFS_EXCLUDES(punched_mu_);

  // Returns a lower bound of the bytes that removing this layer's last reference would free: its
  // file, and those of the layers under it that have no reference and no other layer over them.
  // Requires: the caller keeps the layer alive (Epoch).
  Result<uint64_t> ExclusiveBytes(Layer* top) const;
  // Frees the unreachable blocks of the layer and of the layers without references under it. Does
  // nothing if the layer has a reference or is gone. It takes an id, as another call may have
  // removed the layer while this one waited for its turn.
  Status Reclaim(Id layer);

  // Calls Layer::ForgetCache if the layer still exists.
  Status ForgetCache(Id layer);
  // Frees the blocks that are in the layer's file but not in its committed presence: writes that
  // were never committed. Requires: no volume writes the layer any more. Does nothing if the layer
  // is gone.
  Status PunchGarbage(Id layer);

  // Makes the punches durable. Not done by each call: until the mount ends in order, a crash that
  // brings such blocks back only makes the next mount punch them again.
  Status SyncPunched() VOLFS_EXCLUDES(punched_mu_);

  // Frees the leftovers of a crash: calls Reclaim for every layer without a reference.
  Status ReclaimAll();

 private:
  // The work of one call, layer by layer.
  struct Step;
  struct Plan;

  // Runs `work` alone on the layer's node. Does nothing if the layer is gone, or its node is not
  // mounted or not trusted.
  Status AloneWith(Id layer, const std::function<Status(Layer*)>& work);
  // Requires for all of these: inside Alone.
  Status MakePlan(Layer* layer, Plan& plan);
  Status PlanHidden(Layer* layer, Plan& plan);
  std::vector<Step> StepsOver(Layer* layer, const Plan& plan) const;
  Result<PresenceChunk> HiddenIn(uint64_t chunk, const std::vector<Step>& order) const;
  Status Execute(Plan& plan);

  LayerTable& layers_;
  LayerTree& tree_;
  const uint32_t block_size_;

  // One reclaim at a time on each node; held over I/O. There is one for each node, so that a node
  // that hangs delays no other.
  std::map<const Node*, Mutex> reclaim_mu_;
  Mutex punched_mu_;
  std::set<Id> punched_ VOLFS_GUARDED_BY(punched_mu_);  // since the last SyncPunched
};

}  // namespace volfs
