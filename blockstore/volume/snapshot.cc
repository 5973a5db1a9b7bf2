// Freezes a volume at a snapshot point: puts a new head over the present one, or, while the kernel
// writes the head's file by itself, makes a new layer that shares all blocks of that file.
#include <utility>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/volume/volume.h"

namespace volfs {

Result<Volume::FrozenHead> Volume::FreezeHead(const Extra& extra, Nanoseconds patience) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, map_.Acquire());
  RETURN_IF_ERROR(Sync());  // with writers running: the batch that they wait for is short then
  return PutLayerOver(commits_.Take(), extra, patience);
}

Result<Volume::FrozenHead> Volume::PutLayerOver(const Committer::Exclusive& alone,
                                                const Extra& extra, Nanoseconds patience) {
  Gate::Closure closed;
  if (!Sabotaged(Sabotage::kSkipDrain)) {
    ASSIGN_OR_RETURN(closed, map_.CloseGate(patience));
  }
  if (native_.active()) {
    closed.Open();
    return CloneFile(alone, extra);
  }
  const uint64_t size = size_bytes();
  Layer* const old = head();
  LayerRecord record;
  record.id = NewId();
  record.parent = old->id();
  record.size_bytes = size;
  record.parent_bytes = size;
  Layer* const fresh = context_.layers.Add(&node_, std::move(record), LayerTable::Origin::kNew);
  // shared_ptr: the snapshot's readers and the copier use it for as long as each needs it.
  const FrozenHead instant{std::make_shared<FrozenImage>(context_.layers, map_.PutOver(fresh), size,
                                                         context_.block_size),
                           old};
  state_.SetHead(fresh->id());
  commits_.AddFrozen(alone, old);
  closed.Open();
  RETURN_IF_ERROR(commits_.CommitBatch(alone, extra(*old), Room::kGrow));
  return instant;
}

// A write from here on may be in the new layer or not: the host chooses the snapshot point.
Result<Volume::FrozenHead> Volume::CloneFile(const Committer::Exclusive& alone,
                                             const Extra& extra) {
  RETURN_IF_ERROR(native_.TakeSizeFromFile(NativeServing::Time::kTaken));
  LayerRecord record;
  record.id = NewId();
  record.size_bytes = size_bytes();
  Layer* const fresh = context_.layers.Add(&node_, std::move(record), LayerTable::Origin::kNew);
  const auto clone = [&]() -> Status {
    RETURN_IF_ERROR(fresh->CreateFile());
    ASSIGN_OR_RETURN(const bool cloned, fresh->CloneFrom(*head()));
    if (!cloned) {
      RETURN_IF_ERROR(native_.CheckNotActive(
          "a snapshot or clone of a file that its node cannot share at once"));
      return Error{Errc::kBusy, StrCat(name(), ": it was closed just now; try again")};
    }
    RETURN_IF_ERROR(fresh->TakeSizeFromFile());  // the file may have grown meanwhile
    RETURN_IF_ERROR(fresh->SyncFile());
    CatalogChange change = extra(*fresh);
    change.insert(change.begin(), PutLayer{fresh->record()});
    return commits_.CommitBatch(alone, change, Room::kGrow);
  };
  if (const Status done = clone(); !done.ok()) {
    // If the outcome of the commit is not known, the next mount finds out whether the layer is
    // needed.
    if (RefusedCleanly(done.error())) {
      (void)fresh->RemoveFile();
      context_.layers.Remove(fresh);
    }
    return done.error();
  }
  fresh->Committed(fresh->record());
  const uint64_t size = fresh->record().size_bytes;
  ExtentMap map;
  map.Resize(BlocksFor(size, context_.block_size));
  map.Assign({0, map.size()}, fresh->ref());
  // shared_ptr: as in PutLayerOver.
  return FrozenHead{
      std::make_shared<FrozenImage>(context_.layers, std::move(map), size, context_.block_size),
      fresh};
}

}  // namespace volfs
