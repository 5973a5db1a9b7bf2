#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>
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
  // Keeps a node to its owner until it is destroyed: nothing else is reclaimed there. Functions
  // that rely on that take one.
  class [[nodiscard]] Exclusive {
   public:
    Exclusive() = default;  // of no node
    Exclusive(Exclusive&& other) noexcept : mu_(std::exchange(other.mu_, nullptr)) {}
    Exclusive& operator=(Exclusive&&) = delete;
    ~Exclusive() VOLFS_TSA(no_thread_safety_analysis) {
      if (mu_ != nullptr) mu_->Unlock();
    }

   private:
    friend class Reclaimer;
    explicit Exclusive(Mutex& mu) VOLFS_TSA(no_thread_safety_analysis) : mu_(&mu) { mu.Lock(); }
    Exclusive(Mutex& mu, std::try_to_lock_t) VOLFS_TSA(no_thread_safety_analysis)
        : mu_(mu.TryLock() ? &mu : nullptr) {}
    Mutex* mu_ = nullptr;
  };

  Reclaimer(LayerTable& layers, LayerTree& tree, const std::vector<std::unique_ptr<Node>>& nodes,
            uint32_t block_size);

  // Drops a reference. The space is free when this returns.
  Status RemoveReference(Layer* layer);
  Status RemovePin(Layer* layer);  // and its reference

  // Waits for the reclaim that is at work on the node, and keeps others from beginning.
  Exclusive Take(const Node& node) { return Exclusive(reclaim_mu_.at(&node)); }
  // Removes the file of a layer and all records of it in memory. Requires: the layer cannot be
  // found any more, and its last reader has left.
  void Discard(const Exclusive& alone, Layer* layer) VOLFS_EXCLUDES(punched_mu_);
  // As the other PunchGarbage.
  Status PunchGarbage(const Exclusive& alone, Layer* layer);
  // Notes that SyncPunched has to sync the layer.
  void NotePunched(Id layer) VOLFS_EXCLUDES(punched_mu_);

  // Returns a lower bound of the bytes that removing this layer's last reference would free: its
  // file, and those of the layers under it that have no reference and no other layer over them.
  // Requires: the caller keeps the layer alive (Epoch).
  Result<uint64_t> ExclusiveBytes(Layer* top) const;
  // Returns the bytes that Reclaim would free now if the layer had one reference less, and no pin:
  // its file if nothing lies over it, else the blocks of it, and of the layers without references
  // under it, that no reader could reach any more. A file that shares its blocks with another one
  // counts in full. Returns 0 if the layer is gone, and kBusy, without waiting, while the node is
  // reclaimed or merged.
  // Cost: a look-up in the catalog for each chunk of 4096 blocks in which the layer has data, and
  // for each of its children. It holds up reclaiming and merging on the node, and no writer.
  Result<uint64_t> BytesFreedWithout(Id layer);
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

  // A layer, and its node to its owner alone.
  struct Taken {
    Exclusive alone;
    Layer* layer = nullptr;  // null: it is gone, or its node is not mounted or not trusted
  };
  Taken TakeLayer(Id id);
  Status MakePlan(const Exclusive& alone, Layer* layer, Plan& plan);
  Status PlanHidden(const Exclusive& alone, Layer* layer, Plan& plan);
  Status CountHidden(Layer* layer, Plan& plan) const;
  Status ForEachHidden(Layer* layer, const Plan& plan,
                       const std::function<Status(uint64_t, const PresenceChunk&)>& visit) const;
  Result<PresenceChunk> OwnIn(uint64_t chunk, Layer* layer) const;
  // Returns the references that a plan reckons with.
  int ReferencesFor(const Plan& plan, const Layer* layer) const;
  std::vector<Step> StepsOver(Layer* layer, const Plan& plan) const;
  Result<PresenceChunk> HiddenIn(uint64_t chunk, const std::vector<Step>& order) const;
  Status Execute(const Exclusive& alone, Plan& plan);

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
