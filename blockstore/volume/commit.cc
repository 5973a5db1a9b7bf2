// How Volume makes things durable, in the order of writes of ARCHITECTURE.md: data before map, map
// before freeing, look and mark under one range lock.
#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/base/zeros.h"
#include "blockstore/volume/volume.h"

namespace volfs {

Status Volume::Sync() {
  if (node_.catalog().read_only()) return OkStatus();  // nothing was written
  if (Sabotaged(Sabotage::kSyncDoesNotWait) && PendingWork() == 0) return head()->SyncFile();
  return slot_.Run([this] { return CommitBatch({}); });
}

Status Volume::Conclude(Durability durability) {
  if (durability == Durability::kWithSync || Sabotaged(Sabotage::kAckBeforeItsSync)) {
    return OkStatus();
  }
  return Sync();
}

void Volume::NoteUnsynced() {
  if (!noted_.load(std::memory_order_relaxed) && !noted_.exchange(true)) node_.unsynced().Add(id());
}

Status Volume::SyncWith(const CatalogChange& extra) {
  return slot_.RunAlone([&] { return CommitBatch(extra); });
}

uint64_t Volume::PendingWork() const {
  const Epoch::Reader reader = context_.epoch.Enter();
  if (state_.deleted() || state_.read_only()) return 0;
  Layer* const now = head();
  return now->pending_blocks() + (now->RecordDirty() ? 1 : 0);
}

Status Volume::CommitBatch(const CatalogChange& extra, Room room) {
  Status done = CommitTaken(extra, room);
  state_.NoteTrouble(done);
  return done;
}

Status Volume::CommitTaken(const CatalogChange& extra, Room room) {
  // What it has taken from the pending sets is not in the catalog yet.
  const MapRefCount::Ref use = map_.Enter();
  const Epoch::Reader reader = context_.epoch.Enter();
  if (state_.deleted() || state_.refused()) return OkStatus();  // nobody could write to the latter
  RETURN_IF_ERROR(state_.CheckWritable());
  RETURN_IF_ERROR(native_.LearnSize());  // of a size that is not known nothing can be acknowledged
  struct Taken {
    Layer* layer;
    PresenceRuns runs;
    LayerRecord record;
  };
  std::vector<Layer*> layers = unrecorded_;
  layers.push_back(head());
  std::vector<Taken> taken;
  for (Layer* const layer : layers) {
    // The set before the record: a block in it means that its file is in the record.
    PresenceRuns runs;
    if (!Sabotaged(Sabotage::kPendingAfterSync)) runs = layer->TakePending();
    taken.push_back({layer, std::move(runs), layer->record()});
  }
  VolumeRecord next = record();
  next.size_bytes = taken.back().record.size_bytes;  // one size for both, if it is growing just now
  // Data before map: only now, after what is to be committed was taken. What is written from here
  // on is in a later batch.
  const bool syncs = !Sabotaged(Sabotage::kSkipDataSync) && !Sabotaged(Sabotage::kCommitBeforeSync);
  for (const Taken& t : taken) {
    if (!syncs) break;
    if (const Status synced = t.layer->SyncFile(); !synced.ok()) {
      LookForLoss(synced.error());
      if (!Sabotaged(Sabotage::kRetrySync)) return state_.Fail(synced.error());
      RETURN_IF_ERROR(t.layer->SyncFile());
    }
  }
  for (Taken& t : taken) {
    if (!Sabotaged(Sabotage::kPendingAfterSync)) break;
    t.runs = t.layer->TakePending();
    t.record = t.layer->record();
  }
  CatalogChange change;
  for (const Taken& t : taken) {
    if (Sabotaged(Sabotage::kSnapshotUnflushed) && t.layer != taken.back().layer) continue;
    if (t.layer->RecordDirty()) change.emplace_back(PutLayer{t.record});
    if (!t.runs.empty()) change.emplace_back(SetPresence{t.layer->id(), t.runs});
  }
  {
    MutexLock lock(meta_mu_);
    // Times alone are no reason for a commit (contract.md: durable at close).
    next.attributes = committed_.attributes;
    if (!(next == committed_)) change.emplace_back(PutVolume{next});
  }
  change.insert(change.end(), extra.begin(), extra.end());
  if (Sabotaged(Sabotage::kSizeNotCommitted)) {
    std::erase_if(change,
                  [](const CatalogOp& op) { return std::holds_alternative<PutVolume>(op); });
  }
  if (change.empty()) return node_.catalog().CheckPresent();
  if (Sabotaged(Sabotage::kAckBeforeCommit) && extra.empty()) {
    for (Taken& t : taken) t.layer->RestorePending(std::move(t.runs));
    return OkStatus();
  }
  if (const Status committed = node_.catalog().Commit(std::move(change), room); !committed.ok()) {
    for (Taken& t : taken) {
      if (!Sabotaged(Sabotage::kLosePendingOnRefusal)) t.layer->RestorePending(std::move(t.runs));
    }
    // Nothing was acknowledged and nothing lost: the next sync tries again.
    if (RefusedCleanly(committed.error())) return committed;
    return state_.Fail(committed.error());
  }
  for (const Taken& t : taken) {
    if (Sabotaged(Sabotage::kCommitBeforeSync)) RETURN_IF_ERROR(t.layer->SyncFile());
    t.layer->Committed(t.record);
  }
  unrecorded_.clear();
  MutexLock lock(meta_mu_);
  committed_ = std::move(next);
  // Nothing was shown through since the sets were taken: that is alone in the slot, too.
  std::move(pins_.begin(), pins_.end(), std::back_inserter(released_pins_));
  pins_.clear();
  return OkStatus();
}

// After a sync that failed: for all other volumes of the node, too, if the reason is theirs as
// well.
void Volume::LookForLoss(const Error& error) {
  (void)node_.catalog().CheckPresent();
  if (error.os_errno == EROFS) node_.catalog().Fence(error.message, true);
}

PriorityRanges& Volume::NotePriorityRanges() {
  if (owned_wanted_ == nullptr) owned_wanted_ = std::make_unique<PriorityRanges>();
  wanted_.store(owned_wanted_.get(), std::memory_order_release);
  return *owned_wanted_;
}

Result<bool> Volume::AnyInherited(const BlockRange& range) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, map_.Acquire());
  return map_.AnyInherited(range);
}

Result<uint64_t> Volume::Hydrate(const BlockRange& range, std::span<const std::byte> data,
                                 std::span<std::byte> read_back) {
  const uint32_t bs = context_.block_size;
  ASSIGN_OR_RETURN(const std::optional<uint64_t> wrote,
                   HydrateRuns(range, [&](const BlockRange& run, const LiveMap::Lookup& found) {
                     const uint64_t from = (run.first - range.first) * bs;
                     const uint64_t length = std::min<uint64_t>(run.count * bs, data.size() - from);
                     return HydrateRun(
                         run, found, data.subspan(from, length),
                         read_back.empty() ? read_back : read_back.subspan(from, length));
                   }));
  return *wrote;
}

Result<std::optional<BlockState>> Volume::HydrateRun(const BlockRange& run,
                                                     const LiveMap::Lookup& found,
                                                     std::span<const std::byte> bytes,
                                                     std::span<std::byte> read_back) {
  if (AllZero(bytes)) return std::optional(BlockState::kZero);
  const uint64_t offset = run.first * context_.block_size;
  RETURN_IF_ERROR(found.head->WriteOnce(bytes, offset));
  if (read_back.empty()) return std::optional(BlockState::kPresent);
  if (const Status written = found.head->WaitWritten({offset, bytes.size()}); !written.ok()) {
    return state_.Fail(written.error());
  }
  RETURN_IF_ERROR(found.head->ReadBack(read_back, offset));
  if (std::memcmp(bytes.data(), read_back.data(), bytes.size()) == 0) {
    return std::optional(BlockState::kPresent);
  }
  return Error{Errc::kIo,
               StrCat("bytes ", offset, " to ", offset + bytes.size(), " of ", name(), " on node ",
                      node_.name(),
                      " were read back as something else than the bytes written; look at "
                      "its disk, then resume or cancel the clone")};
}

Result<std::optional<uint64_t>> Volume::HydrateShared(const BlockRange& range) {
  const uint32_t bs = context_.block_size;
  return HydrateRuns(range,
                     [&](const BlockRange& run,
                         const LiveMap::Lookup& found) -> Result<std::optional<BlockState>> {
                       Layer& under = *context_.layers.Get(found.extent.layer);
                       ASSIGN_OR_RETURN(
                           const bool shared,
                           found.head->ShareFrom(under, {run.first * bs, run.count * bs}));
                       return shared ? std::optional(BlockState::kPresent) : std::nullopt;
                     });
}

Result<std::optional<uint64_t>> Volume::HydrateRuns(const BlockRange& range, const Bring& bring) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, map_.Acquire());
  RETURN_IF_ERROR(state_.CheckWritable());
  RETURN_IF_ERROR(node_.catalog().CheckReserve());  // before any lock: it may be made whole now
  const uint32_t bs = context_.block_size;
  const Gate::Passage passage = map_.gate().Enter();
  const Epoch::Reader reader = context_.epoch.Enter();
  // Without a break from the look to the mark: a look at the commit would be too late, as the
  // place is final and the user's bytes would be gone.
  RangeLock::Guard guard;
  if (!Sabotaged(Sabotage::kCopyWithoutLock)) guard = range_lock_.Lock(range);
  uint64_t wrote = 0;
  for (uint64_t block = range.first; block < range.end();) {
    const LiveMap::Lookup found = map_.Find(block);
    const BlockRange run{block, std::min(range.end(), found.extent.end()) - block};
    block = run.end();
    if (found.extent.layer == LayerRef::kHole) continue;
    const bool here = found.extent.layer == found.head->ref();
    if (here && !Sabotaged(Sabotage::kCopyOverNewer) && !Sabotaged(Sabotage::kAbsentAtCommit)) {
      continue;
    }
    const Result<std::optional<BlockState>> brought = bring(run, found);
    if (!brought.ok()) {
      (void)found.head->Punch({run.first * bs, run.count * bs});  // as in WriteFirst
      return brought.error();
    }
    if (!brought.value()) return std::optional<uint64_t>();
    const BlockState state = *brought.value();
    if (here && state == BlockState::kPresent && Sabotaged(Sabotage::kAbsentAtCommit)) continue;
    map_.RecordWritten(run, found.head, state);
    if (state == BlockState::kPresent) wrote += run.count * bs;
  }
  return std::optional(wrote);
}

Status Volume::WaitHydrated(const BlockRange& range) {
  const Epoch::Reader reader = context_.epoch.Enter();
  if (state_.deleted()) return OkStatus();
  const uint32_t bs = context_.block_size;
  const Status written = head()->WaitWritten({range.first * bs, range.count * bs});
  return written.ok() ? written : state_.Fail(written.error());
}

Result<bool> Volume::PunchGarbage(Id layer) {
  if (state_.refused()) return Error{Errc::kCorrupt, StrCat(name(), ": ", state_.failure())};
  const uint32_t bs = context_.block_size;
  const uint64_t blocks = BlocksFor(size_bytes(), bs);
  // What is written meanwhile is not garbage, and may be missing from what the cursor knows.
  DataCursor cursor;
  for (uint64_t block = 0; block < blocks;) {
    const Result<MapRefCount::Ref> use = map_.Acquire();
    // One step: a deletion elsewhere waits no longer than that for us.
    const Epoch::Reader reader = context_.epoch.Enter();
    // What froze of it since is for the reclaimer; the rest goes with it.
    if (state_.deleted()) return record().head == layer;
    if (!use.ok()) return use.error();
    const LiveMap::Lookup found = map_.Find(block);
    if (found.head->id() != layer) return false;
    const uint64_t end = std::min(found.extent.end(), blocks);
    if (found.extent.layer == found.head->ref()) {
      block = end;
      continue;
    }
    ASSIGN_OR_RETURN(const std::optional<ByteRange> data, cursor.NextData(*found.head, block * bs));
    if (!data) return true;
    if (data->offset_bytes >= end * bs) {
      block = end;
      continue;
    }
    const uint64_t first = std::max(block, data->offset_bytes / bs);
    const uint64_t last = std::min(end, BlocksFor(data->end(), bs));
    const Gate::Passage passage = map_.gate().Enter();
    const RangeLock::Guard guard = range_lock_.Lock({first, last - first});
    // Look again: a first write may have made it real since.
    const LiveMap::Lookup again = Sabotaged(Sabotage::kPunchUnchecked) ? found : map_.Find(first);
    const uint64_t stop = std::min(last, again.extent.end());
    if (again.head != found.head) return false;
    if (again.extent.layer != again.head->ref()) {
      RETURN_IF_ERROR(again.head->Punch({first * bs, (stop - first) * bs}));
    }
    block = stop;
  }
  return true;
}

bool Volume::Recorded() {
  bool recorded = false;
  // Not while a batch runs: its commit may still fail.
  (void)slot_.RunAlone([&] {
    recorded = unrecorded_.empty();
    return OkStatus();
  });
  return recorded;
}

Status Volume::Flatten(const CatalogChange& extra) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, map_.Acquire());
  RETURN_IF_ERROR(head()->CreateFile());
  if (!Sabotaged(Sabotage::kFlatWithGarbage)) RETURN_IF_ERROR(PunchGarbage(head()->id()));
  return slot_.RunAlone([&]() -> Status {
    RETURN_IF_ERROR(state_.CheckWritable());
    assert(unrecorded_.empty());
    Layer* const flat = head();
    LayerRecord layer_record = flat->record();
    layer_record.parent = kNoId;
    layer_record.parent_node.clear();
    layer_record.parent_bytes = 0;
    VolumeRecord next = record();
    next.size_bytes = layer_record.size_bytes;
    if (Sabotaged(Sabotage::kFlatBeforeSync)) {
      // nothing
    } else if (const Status synced = flat->SyncFile(); !synced.ok()) {
      return state_.Fail(synced.error());
    }
    CatalogChange change{PutLayer{layer_record}, ClearPresence{flat->id()}, PutVolume{next}};
    change.insert(change.end(), extra.begin(), extra.end());
    if (const Status done = node_.catalog().Commit(std::move(change), Room::kFree); !done.ok()) {
      return RefusedCleanly(done.error()) ? done.error() : state_.Fail(done.error());
    }
    {
      MutexLock lock(meta_mu_);
      committed_ = std::move(next);
    }
    // On disk it is flat from here on; in memory the old way of writing goes on, which is right for
    // a flat layer too, until the writes in flight have ended.
    while (!map_.gate().Close(MonotonicNow() + kGatePatience)) {
    }
    flat->BecomeFlat(layer_record);
    map_.Flatten();
    map_.gate().Open();
    return OkStatus();
  });
}

}  // namespace volfs
