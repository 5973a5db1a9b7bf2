#pragma once

#include <atomic>
#include <cstdint>
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

// Makes one volume durable, a batch at a time. A batch takes the pending blocks of the head, and of
// layers that a snapshot froze and could not record. It then syncs their files. Last it makes one
// commit of presence, layer records and volume record, so the data is on disk before the map says
// so.
//
// Invariants:
//   C1  all bytes that a commit says are in a layer's file were synced before that commit began;
//   C2  a batch makes durable every write, discard and resize that was complete when it began, or
//       fails;
//   C3  after an error that leaves the durable state unknown, the volume commits and acknowledges
//       nothing until the next mount (VolumeState::Fail);
//   C4  a pin lives until the catalog itself says that the pinned layers are needed.
//
// Thread-safety: all methods from any thread. Its lock is the slot, held for a batch or for a
// change of the contents of a batch. A method with an Exclusive parameter runs in the slot of its
// caller. Locks, in order: the slot > the map's gate > mu_, a leaf, which guards the members that
// threads outside of the slot read.
class Committer {
 public:
  using Exclusive = SyncSlot::Exclusive;

  // `record` is in the catalog already, or is about to be.
  Committer(const VolumeContext& context, VolumeState& state, LiveMap& map, NativeServing& native,
            VolumeRecord record);
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  // As Volume::Sync.
  Status Sync();
  // As Sync, with `extra` in the same commit. Requires: `extra` is true once all earlier writes are
  // durable.
  Status SyncWith(const CatalogChange& extra);
  // Makes attributes (VolumeState::ChangeAttributes) durable, which Sync does not. Called at close,
  // and within a minute.
  Status SyncAttributes() VOLFS_EXCLUDES(mu_);
  // Changes the name, durably. Requires: the name is free.
  Status Rename(const std::string& name) VOLFS_EXCLUDES(mu_);
  // Makes `change`, which deletes the volume, durable. Afterwards the volume commits nothing any
  // more, and threads that still have the object find it deleted. Its layers may be freed once the
  // readers of the epoch have left.
  Status CommitDeletion(const CatalogChange& change);

  // Waits for the batch that runs, and keeps others from running.
  [[nodiscard]] Exclusive Take() { return slot_.Take(); }
  // Runs one batch, with `extra` in its commit.
  Status CommitBatch(const Exclusive& alone, const CatalogChange& extra, Room room = Room::kRecord);
  // Commits `change` and nothing else. Requires: the data that `change` tells of is synced.
  Status Commit(const Exclusive& alone, const CatalogChange& change, Room room = Room::kRecord);
  // Notes that a commit of the caller has made `record` durable.
  void SetCommitted(const Exclusive& alone, VolumeRecord record) VOLFS_EXCLUDES(mu_);
  // Notes that `layer` was the head until now, so that the next batch records it.
  void AddFrozen(const Exclusive&, Layer* layer) { unrecorded_.push_back(layer); }
  // Returns whether every layer that a snapshot of this volume froze is in the catalog, with all of
  // its blocks.
  [[nodiscard]] bool Recorded(const Exclusive&) const { return unrecorded_.empty(); }
  [[nodiscard]] bool Recorded() { return Recorded(Take()); }  // waits for a batch

  // Keeps `pin`, and with it the layers that it pins, until the next batch has committed.
  void Pin(std::shared_ptr<const void> pin) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool pinned() const VOLFS_EXCLUDES(mu_);
  // Drops the pins that commits have made needless. Called in the background: it may wait for a
  // thread that frees space, on any node.
  void ReleasePins() VOLFS_EXCLUDES(mu_);

  // Returns the number of blocks made present or zero that wait for a commit, plus one if the
  // record of the head does (a new size).
  [[nodiscard]] uint64_t PendingWork() const;
  // Puts the volume into Node::unsynced(), for IdleCommitter, unless it was put there since the
  // last ForgetNote. Called after a change by a user that needs a commit. Cost if it is there: one
  // load.
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
  // `layers` are to be recorded, the head last.
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
  // Returns the record as it was committed last.
  [[nodiscard]] VolumeRecord LastCommitted(const Exclusive& alone) const VOLFS_EXCLUDES(mu_);
  // Commits `next`, which was made from LastCommitted, and nothing else.
  Status CommitRecord(const Exclusive& alone, VolumeRecord next) VOLFS_EXCLUDES(mu_);
  void AddToUnsynced();

  const VolumeContext context_;
  Node& node_;
  VolumeState& state_;
  LiveMap& map_;
  NativeServing& native_;
  std::atomic<bool> noted_{false};

  SyncSlot slot_;
  // The layers that a snapshot froze and no commit has recorded yet. Used in the slot only.
  std::vector<Layer*> unrecorded_;

  mutable Mutex mu_;
  VolumeRecord committed_ VOLFS_GUARDED_BY(mu_);  // as it is on disk
  std::vector<std::shared_ptr<const void>> pins_ VOLFS_GUARDED_BY(mu_);
  std::vector<std::shared_ptr<const void>> released_pins_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
