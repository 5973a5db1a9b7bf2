#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/layer/layer.h"
#include "blockstore/sync/sync_slot.h"
#include "blockstore/volume/context.h"
#include "blockstore/volume/live_map.h"
#include "blockstore/volume/native_serving.h"
#include "blockstore/volume/state.h"

namespace volfs {

// Makes one volume durable, a batch at a time. A batch takes the pending blocks of the head (and of
// layers that a snapshot froze and could not record). It then syncs their files. Last it commits
// presence, layer records and volume record as one: data before map (ARCHITECTURE, "Order of
// writes").
//
// Invariants:
//   C1  what a commit says is in a layer's file was synced before that commit began;
//   C2  a batch makes durable all that was complete when it began, or fails;
//   C3  after an error that leaves unknown what is durable, nothing of this volume is committed or
//       acknowledged until the next mount (VolumeState::Fail);
//   C4  a pin lives until the catalog says itself that what it keeps is needed.
//
// Thread-safety: all methods from any thread. Its lock is the slot: one batch, or one change of
// what a batch would write, at a time. Functions that need it take a SyncSlot::Exclusive. Locks, in
// order: the slot > the map's gate > mu_, a leaf, which guards what threads outside of the slot
// look at.
class Committer {
 public:
  using Exclusive = SyncSlot::Exclusive;

  // `record`: as it is in the catalog, or is about to be.
  Committer(const VolumeContext& context, VolumeState& state, LiveMap& map, NativeServing& native,
            VolumeRecord record);
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  // As Volume::Sync.
  Status Sync();
  // Sync, with `extra` in the same commit. `extra` must be true already of what was written before
  // the call.
  Status SyncWith(const CatalogChange& extra);
  // Makes attributes (VolumeState::ChangeAttributes) durable: called at close, and within a minute,
  // as Sync does not.
  Status SyncAttributes() VOLFS_EXCLUDES(mu_);
  // Durable when it returns. The caller has made sure that the name is free.
  Status Rename(const std::string& name) VOLFS_EXCLUDES(mu_);
  // Makes `change` durable. After it nothing of this volume is committed any more, and those who
  // still have the object find it empty: its layers may go once the readers of the epoch have left.
  Status CommitDeletion(const CatalogChange& change);

  // Waits for the batch that runs, and keeps others from running.
  [[nodiscard]] Exclusive Take() { return slot_.Take(); }
  // Runs one batch, with `extra` in its commit.
  Status CommitBatch(const Exclusive& alone, const CatalogChange& extra, Room room = Room::kRecord);
  // Commits `change` and nothing else. Requires: what it says is synced.
  Status Commit(const Exclusive& alone, CatalogChange change, Room room = Room::kRecord);
  // A commit of the caller's made `record` durable.
  void SetCommitted(const Exclusive& alone, VolumeRecord record) VOLFS_EXCLUDES(mu_);
  // `layer` was the head until now: the next batch records it.
  void AddFrozen(const Exclusive&, Layer* layer) { unrecorded_.push_back(layer); }
  // Returns whether every layer that a snapshot of this volume froze is in the catalog, with all
  // that it has.
  [[nodiscard]] bool Recorded(const Exclusive&) const { return unrecorded_.empty(); }
  [[nodiscard]] bool Recorded() { return Recorded(Take()); }  // waits for a batch: it may fail

  // Keeps `pin` until the next batch has committed.
  void Pin(std::shared_ptr<const void> pin) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool pinned() const VOLFS_EXCLUDES(mu_);
  // Lets go of pins that commits have made needless. In the background, as it may wait for a thread
  // that frees space, on whatever node.
  void ReleasePins() VOLFS_EXCLUDES(mu_);

  // Returns the blocks made here or zero, and one for a new size, that wait for a commit; 0 if
  // nothing does.
  [[nodiscard]] uint64_t PendingWork() const;
  // For IdleCommitter: Node::unsynced() has this volume if it has work to commit that a user has
  // made since the last ForgetNote. Cost of NoteUnsynced if it is noted: one load.
  void NoteUnsynced() {
    if (!noted_.load(std::memory_order_relaxed)) AddToUnsynced();
  }
  void ForgetNote() { noted_.store(false); }

 private:
  struct Taken {
    Layer* layer;
    PresenceRuns runs;
    LayerRecord record;
  };
  struct Batch {
    std::vector<Taken> layers;  // the head last
    VolumeRecord record;
  };

  Status RunBatch(const CatalogChange& extra, Room room);
  // `layers`: those to be recorded, the head last.
  [[nodiscard]] Batch TakeBatch(const std::vector<Layer*>& layers) const;
  Result<Batch> TakeAndSync(const std::vector<Layer*>& layers);
  Status SyncLayers(const std::vector<Layer*>& layers);
  Status SyncLayer(Layer& layer);
  void LookForLoss(const Error& error);
  [[nodiscard]] CatalogChange ChangeOf(Batch& batch) const VOLFS_EXCLUDES(mu_);
  void AddRecord(VolumeRecord& record, CatalogChange& change) const VOLFS_EXCLUDES(mu_);
  Status CommitTaken(Batch& batch, const CatalogChange& extra, Room room);
  static void Restore(Batch& batch);
  void Settle(Batch& batch) VOLFS_EXCLUDES(mu_);
  // Changes the record as it was committed last, durably.
  Status CommitRecord(const Exclusive& alone, const std::function<void(VolumeRecord&)>& change)
      VOLFS_EXCLUDES(mu_);
  void AddToUnsynced();

  const VolumeContext context_;
  Node& node_;
  VolumeState& state_;
  LiveMap& map_;
  NativeServing& native_;
  std::atomic<bool> noted_{false};

  SyncSlot slot_;
  // Only by the thread that has the slot: layers that a snapshot froze without a commit, yet.
  std::vector<Layer*> unrecorded_;

  mutable Mutex mu_;
  VolumeRecord committed_ VOLFS_GUARDED_BY(mu_);  // as it is on disk
  std::vector<std::shared_ptr<const void>> pins_ VOLFS_GUARDED_BY(mu_);
  std::vector<std::shared_ptr<const void>> released_pins_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
