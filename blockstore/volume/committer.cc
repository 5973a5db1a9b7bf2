#include "blockstore/volume/committer.h"

#include <cerrno>
#include <iterator>
#include <utility>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"

namespace volfs {

Committer::Committer(const VolumeContext& context, VolumeState& state, LiveMap& map,
                     NativeServing& native, VolumeRecord record)
    : context_(context),
      node_(state.node()),
      state_(state),
      map_(map),
      native_(native),
      committed_(std::move(record)) {}

Status Committer::Sync() {
  if (node_.catalog().read_only()) return OkStatus();  // nothing was written
  if (Sabotaged(Sabotage::kSyncDoesNotWait) && PendingWork() == 0) return map_.head()->SyncFile();
  return slot_.Run([this](const Exclusive& alone) { return CommitBatch(alone, {}); });
}

Status Committer::SyncWith(const CatalogChange& extra) { return CommitBatch(Take(), extra); }

uint64_t Committer::PendingWork() const {
  const Epoch::Reader reader = context_.epoch.Enter();
  if (state_.deleted() || state_.read_only()) return 0;
  Layer* const now = map_.head();
  return now->pending_blocks() + (now->RecordDirty() ? 1 : 0);
}

void Committer::AddToUnsynced() {
  if (!noted_.exchange(true)) node_.unsynced().Add(state_.id());
}

// --- a batch -----------------------------------------------------------------------------------

Status Committer::CommitBatch(const Exclusive& /*alone*/, const CatalogChange& extra, Room room) {
  Status done = RunBatch(extra, room);
  state_.NoteTrouble(done);
  return done;
}

Status Committer::RunBatch(const CatalogChange& extra, Room room) {
  // The map stays loaded: the blocks that the batch takes from the pending sets are not in the
  // catalog yet, so it could not be loaded again.
  const MapRefCount::Ref use = map_.Enter();
  const Epoch::Reader reader = context_.epoch.Enter();
  if (state_.deleted() || state_.refused()) return OkStatus();  // a refused volume takes no writes
  RETURN_IF_ERROR(state_.CheckWritable());
  RETURN_IF_ERROR(native_.LearnSize());  // without the size nothing can be acknowledged
  std::vector<Layer*> layers = unrecorded_;
  layers.push_back(map_.head());
  if (Sabotaged(Sabotage::kCommitBeforeSync)) {
    Batch batch = TakeBatch(layers);
    RETURN_IF_ERROR(CommitTaken(batch, extra, room));
    return SyncLayers(layers);
  }
  ASSIGN_OR_RETURN(Batch batch, TakeAndSync(layers));
  return CommitTaken(batch, extra, room);
}

// Data before map: the files are synced after the blocks to be committed were taken. A write from
// then on is in a later batch.
Result<Committer::Batch> Committer::TakeAndSync(const std::vector<Layer*>& layers) {
  if (Sabotaged(Sabotage::kPendingAfterSync)) {
    RETURN_IF_ERROR(SyncLayers(layers));
    return TakeBatch(layers);
  }
  Batch batch = TakeBatch(layers);
  RETURN_IF_ERROR(SyncLayers(layers));
  return batch;
}

Committer::Batch Committer::TakeBatch(const std::vector<Layer*>& layers) const {
  Batch batch;
  for (Layer* const layer : layers) {
    // The set before the record: a block in the set means that the record, read later, has the
    // file.
    PresenceRuns runs = layer->TakePending();
    batch.layers.push_back({layer, std::move(runs), layer->record()});
  }
  batch.record = state_.record();
  // One size for volume and layer, also if the volume is growing just now.
  batch.record.size_bytes = batch.layers.back().record.size_bytes;
  return batch;
}

Status Committer::SyncLayers(const std::vector<Layer*>& layers) {
  if (Sabotaged(Sabotage::kSkipDataSync)) return OkStatus();
  for (Layer* const layer : layers) RETURN_IF_ERROR(SyncLayer(*layer));
  return OkStatus();
}

Status Committer::SyncLayer(Layer& layer) {
  const Status synced = layer.SyncFile();
  if (synced.ok()) return synced;
  LookForLoss(synced.error());
  if (Sabotaged(Sabotage::kRetrySync)) return layer.SyncFile();
  return state_.Fail(synced.error());
}

// Looks, after a sync that failed, whether the reason concerns all volumes of the node, and fences
// the node then.
void Committer::LookForLoss(const Error& error) {
  (void)node_.catalog().CheckPresent();
  if (error.os_errno == EROFS) node_.catalog().Fence(error.message, true);
}

CatalogChange Committer::ChangeOf(Batch& batch) const {
  CatalogChange change;
  for (const Taken& taken : batch.layers) {
    const bool head = taken.layer == batch.layers.back().layer;
    if (Sabotaged(Sabotage::kSnapshotUnflushed) && !head) continue;
    if (taken.layer->RecordDirty()) change.emplace_back(PutLayer{taken.record});
    if (!taken.runs.empty()) change.emplace_back(SetPresence{taken.layer->id(), taken.runs});
  }
  AddRecord(batch.record, change);
  return change;
}

void Committer::AddRecord(VolumeRecord& record, CatalogChange& change) const {
  MutexLock lock(mu_);
  // Times alone are no reason for a commit (contract.md: durable at close).
  record.attributes = committed_.attributes;
  if (Sabotaged(Sabotage::kSizeNotCommitted)) return;
  if (!(record == committed_)) change.emplace_back(PutVolume{record});
}

Status Committer::CommitTaken(Batch& batch, const CatalogChange& extra, Room room) {
  CatalogChange change = ChangeOf(batch);
  change.insert(change.end(), extra.begin(), extra.end());
  if (change.empty()) return node_.catalog().CheckPresent();
  if (Sabotaged(Sabotage::kAckBeforeCommit) && extra.empty()) {
    Restore(batch);
    return OkStatus();
  }
  if (const Status done = node_.catalog().Commit(change, room); !done.ok()) {
    Restore(batch);
    // Nothing was acknowledged and nothing lost: the next sync tries again.
    return RefusedCleanly(done.error()) ? done : state_.Fail(done.error());
  }
  Settle(batch);
  return OkStatus();
}

void Committer::Restore(Batch& batch) {
  if (Sabotaged(Sabotage::kLosePendingOnRefusal)) return;
  for (Taken& taken : batch.layers) taken.layer->RestorePending(std::move(taken.runs));
}

void Committer::Settle(Batch& batch) {
  for (const Taken& taken : batch.layers) taken.layer->Committed(taken.record);
  unrecorded_.clear();
  MutexLock lock(mu_);
  committed_ = std::move(batch.record);
  // All pins were taken before the pending sets were, as ShowThrough runs in the slot, too.
  std::move(pins_.begin(), pins_.end(), std::back_inserter(released_pins_));
  pins_.clear();
}

// --- commits of their own ----------------------------------------------------------------------

Status Committer::Commit(const Exclusive& /*alone*/, const CatalogChange& change, Room room) {
  Status done = node_.catalog().Commit(change, room);
  if (done.ok() || RefusedCleanly(done.error())) return done;
  return state_.Fail(done.error());
}

void Committer::SetCommitted(const Exclusive& /*alone*/, VolumeRecord record) {
  MutexLock lock(mu_);
  committed_ = std::move(record);
}

Status Committer::SyncAttributes() {
  const Attributes now = state_.attributes();
  {
    MutexLock lock(mu_);
    if (now == committed_.attributes || state_.read_only() || state_.deleted()) return OkStatus();
  }
  // Reads the attributes again inside of the slot: another caller, whose change came later, may
  // have committed first, and must not be undone.
  const Exclusive alone = Take();
  VolumeRecord next = LastCommitted(alone);
  next.attributes = state_.attributes();
  Status done = CommitRecord(alone, std::move(next));
  if (!done.ok() || PendingWork() == 0) state_.NoteTrouble(done);
  return done;
}

Status Committer::Rename(const std::string& name) {
  const Exclusive alone = Take();
  if (!Sabotaged(Sabotage::kRenameUncommitted)) {
    VolumeRecord next = LastCommitted(alone);
    next.name = name;
    RETURN_IF_ERROR(CommitRecord(alone, std::move(next)));
  }
  // Before the next batch takes the record, or it would commit the old name again.
  state_.SetName(name);
  return OkStatus();
}

VolumeRecord Committer::LastCommitted(const Exclusive& /*alone*/) const {
  MutexLock lock(mu_);
  return committed_;
}

Status Committer::CommitRecord(const Exclusive& alone, VolumeRecord next) {
  if (state_.deleted()) return Error{Errc::kNotFound, StrCat(state_.name(), ": it was deleted")};
  RETURN_IF_ERROR(node_.catalog().Commit({PutVolume{next}}));
  SetCommitted(alone, std::move(next));
  return OkStatus();
}

Status Committer::CommitDeletion(const CatalogChange& change) {
  const Exclusive alone = Take();
  if (!Sabotaged(Sabotage::kDeleteUncommitted)) RETURN_IF_ERROR(Commit(alone, change, Room::kFree));
  state_.SetDeleted();
  return OkStatus();
}

// --- pins --------------------------------------------------------------------------------------

void Committer::Pin(std::shared_ptr<const void> pin) {
  MutexLock lock(mu_);
  pins_.push_back(std::move(pin));
}

bool Committer::pinned() const {
  MutexLock lock(mu_);
  return !pins_.empty();
}

void Committer::ReleasePins() {
  std::vector<std::shared_ptr<const void>> gone;  // outlives the lock: a pin's end may free space
  MutexLock lock(mu_);
  gone.swap(released_pins_);
}

}  // namespace volfs
