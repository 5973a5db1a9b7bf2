#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/layer/layer_merge.h"
#include "blockstore/layer/reclaim.h"
#include "blockstore/store/parts.h"

namespace volfs {

// Chooses the layers of one node that can be merged, and merges them in the background
// (layer_merge.h), so that chains do not grow for ever. After its snapshots and clones are gone, a
// volume is one raw file again.
//
// Two frozen layers are merged a slice at a time. A head is written, so its contents are frozen
// first, as by a snapshot that is given to no caller. If the head has only few blocks, these are
// moved while its writers wait. A volume that is written faster than that is left alone for longer
// and longer.
//
// The merger keeps out of the way. A slice is small. Requests for snapshots and clones wait for the
// commit of a slice only (Node::tree_gate), deletions of snapshots also for its copy. It copies
// under the limits of hydration, not at all while copying is paused, and gives way to users as
// hydration does (foreground_load.h), unless many almost empty layers wait, which slow users more.
// Layers under a pin (layer_tree.h) are not merged until the pin ends.
//
// Durable: each slice is one commit that leaves a tree which shows the same, so a crash needs no
// recovery.
//
// Thread-safety: works in a thread of its own, from construction to destruction. Locks, in order:
// Reclaimer's > a volume's slot > tree gate (closed, for kTreePatience at most) > StoreTables::mu.
class LayerMerger {
 public:
  LayerMerger(StoreParts& parts, Node& node);
  ~LayerMerger();  // returns after the running slice
  LayerMerger(const LayerMerger&) = delete;
  LayerMerger& operator=(const LayerMerger&) = delete;

  using Volumes = std::vector<std::shared_ptr<Volume>>;

 private:
  using Pair = LayerTree::Pair;
  struct Patience {  // with a busy pair, or a volume that is always written
    Nanoseconds not_before{0};
    Nanoseconds next;
  };

  // Of two frozen layers, from slice to slice.
  struct Progress {
    std::unique_ptr<LayerMerge> merge;
    bool gives_way = true;
    uint64_t copied_bytes = 0;  // by the last step
    bool merged = false;
    Id childless = kNoId;  // the layer that stays, if it has no children
  };
  // The layers of a pair that can be merged. Valid while the caller has the node's
  // Reclaimer::Exclusive.
  struct Layers {
    Layer* under;
    Layer* over;
  };
  // The volumes whose maps may name `over`, and the one that has it as its head (null: none). No
  // snapshot of them is being made.
  struct Users {
    Volumes volumes;
    std::shared_ptr<Volume> head;
  };
  // The node's tree while no request works in it, and while neither `over` nor a layer over it is
  // pinned.
  struct ClosedTree {
    Gate::Closure closed;
    Users users;
    std::vector<const Layer*> subtree;  // of `over`
  };

  void Work();
  bool MergeAll();  // returns false if a pair cannot be merged now
  // Returns kBusy if the pair cannot be merged now.
  Status MergePair(const Pair& pair);
  Status MergeFrozen(const Pair& pair);
  [[nodiscard]] uint64_t SliceBytes() const;
  // Moves the next slice or, when all is moved, removes the emptied layer.
  Status MergeStep(const Pair& pair, uint64_t max_bytes, Progress& progress);
  Status BeginMerge(const Layers& layers, Progress& progress);
  Status MergeSlice(LayerMerge& merge, uint64_t max_bytes, uint64_t* copied_bytes);
  Status CommitSlice(LayerMerge& merge);
  Status MergeDown(const Reclaimer::Exclusive& alone, LayerMerge& merge);
  Status CommitDown(LayerMerge& merge, const std::vector<Layer*>& children, const Volumes& heads);
  Status MergeUp(const Reclaimer::Exclusive& alone, LayerMerge& merge);
  Status CommitUp(LayerMerge& merge);
  Status MergeHead(const Pair& pair, Volume& volume);
  Result<bool> IsSmall(Id head, uint64_t pending_blocks);
  // Moves what a head has into the layer under it, while its writers wait.
  Status MergeSmallHead(const Pair& pair, Volume& volume);
  // Puts a new head over a head that has much, so that its contents can be moved at leisure.
  Status FreezeLargeHead(const Pair& pair, Volume& volume);
  // `frozen` is set if that was done, whatever the result.
  Status FreezeAlone(const Pair& pair, Volume& volume, Layer** frozen);

  // Returns whether a later try is likely to go well.
  static bool Passes(Errc code);
  Result<Layers> CheckPair(const Pair& pair);
  Users UsersOf(const std::vector<const Layer*>& subtree);
  Result<Users> FindUsers(const Pair& pair);
  // Returns kBusy if requests are at work in the tree, or a pin is in the way.
  Result<ClosedTree> CloseTree(const Layer* over);
  // Makes the next open of a snapshot in the subtree load its map again. Called while it
  // is closed, after each change of it.
  void ForgetImages(const ClosedTree& tree);
  [[nodiscard]] std::vector<SnapshotRecord> SnapshotsOn(Id layer) const;
  // Removes a layer that no reader can find any more.
  void Remove(const Reclaimer::Exclusive& alone, Layer* gone);

  StoreParts& parts_;
  Node& node_;
  std::atomic<bool> stopping_{false};
  Mutex mu_;  // of wake_
  Condition wake_;
  // Used by the thread only.
  std::set<Id> given_up_;            // by the layer under; until the next mount
  std::map<Id, Patience> waiting_;   // busy pairs, by the layer under
  std::set<Id> overs_;               // the upper layers of all present pairs
  bool behind_ = false;              // overs_ are many
  std::map<Id, Patience> patience_;  // by volume
  Thread thread_;
};

}  // namespace volfs
