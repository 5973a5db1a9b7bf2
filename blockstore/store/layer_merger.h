#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/layer/layer_merge.h"
#include "blockstore/layer/reclaim.h"
#include "blockstore/store/parts.h"

namespace volfs {

// Merges the layers of one node in the background (layer_merge.h), so that a chain does not grow
// for ever: after its snapshots and clones are gone, a volume is one raw file again.
//
// Two frozen layers are merged a slice at a time. A head is written, so what it has is frozen first
// (as for a snapshot, which nobody gets), unless it has so little that it can be moved while
// writers wait. A volume that is written faster than that is left alone for longer and longer.
//
// What is in the way of nobody: a slice is small; requests for snapshots and clones wait for its
// commit only (Node::tree_gate), deletions of snapshots for its copy, too. It copies under the
// limits of hydration, gives way to people as that does (foreground_load.h; not where many layers
// with little in them wait, as those are in the way themselves), and copies nothing while copying
// is paused. Of layers that somebody uses (reclaim.h) nothing is merged until he has left.
//
// Thread-safety: a thread of its own, from construction to destruction. Locks, in order:
// Reclaimer's > a volume's slot > tree gate (closed, for kTreePatience at most) > StoreTables::mu.
class LayerMerger {
 public:
  LayerMerger(StoreParts& parts, Node& node);
  ~LayerMerger();  // after the slice that is at work
  LayerMerger(const LayerMerger&) = delete;
  LayerMerger& operator=(const LayerMerger&) = delete;

 private:
  using Pair = LayerTree::Pair;
  using Volumes = std::vector<std::shared_ptr<Volume>>;
  struct Patience {  // with a pair that is busy, a volume that is written all the time
    Nanoseconds not_before{0};
    Nanoseconds next;
  };

  void Work();
  bool MergeAll();  // false: some pair cannot be merged now
  // kBusy: not now.
  Status MergePair(const Pair& pair);
  Status MergeFrozen(const Pair& pair);
  [[nodiscard]] uint64_t SliceBytes() const;
  Status MergeSlice(LayerMerge& merge, uint64_t max_bytes, uint64_t* moved_bytes);
  Status MergeDown(LayerMerge& merge);
  Status MergeUp(LayerMerge& merge);
  Status MergeHead(const Pair& pair, Volume& volume);
  Result<bool> IsSmall(Id head, uint64_t pending_blocks);
  Status SinkHead(const Pair& pair, Volume& volume);
  Status FreezeHead(const Pair& pair, Volume& volume);

  // Inside Reclaimer::Alone: the layers of a pair that can be merged.
  struct Layers {
    Layer* under;
    Layer* over;
  };
  // Is it likely to go well later?
  static bool Passes(Errc code);
  Result<Layers> CheckPair(const Pair& pair);
  // Whose maps may name `over`, and which of them has it as its head (null: none). Nobody is in the
  // middle of an instant.
  struct Users {
    Volumes volumes;
    std::shared_ptr<Volume> head;
  };
  Users UsersOf(const std::vector<const Layer*>& subtree);
  Result<Users> FindUsers(const Pair& pair);
  // Runs `change` with the tree gate closed, and nobody using `over` or a layer over it.
  Status ChangeTree(const Layer* over, const std::function<Status(const Users&)>& change);
  // Inside ChangeTree: those who open a snapshot next load its map again.
  void ForgetImages(const std::vector<const Layer*>& of);
  [[nodiscard]] std::vector<SnapshotRecord> SnapshotsOn(Id layer) const;
  // Takes the layer that nobody can find any more away.
  void Remove(Layer* gone);

  StoreParts& parts_;
  Node& node_;
  std::atomic<bool> stopping_{false};
  Mutex mu_;  // of wake_
  Condition wake_;
  // Of the thread alone.
  std::set<Id> given_up_;            // by the layer under; until the next mount
  std::map<Id, Patience> waiting_;   // busy pairs, by the layer under
  std::set<Id> overs_;               // of all pairs that are looked at now
  bool behind_ = false;              // they are many
  std::map<Id, Patience> patience_;  // by volume
  Thread thread_;
};

}  // namespace volfs
