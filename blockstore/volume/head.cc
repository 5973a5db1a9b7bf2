// Changes of a volume's head as a whole: another layer in its place, fewer bytes, blocks of its
// parent shown through. Each is rare, and alone in the slot.
#include <algorithm>
#include <array>
#include <cassert>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/base/zeros.h"
#include "blockstore/volume/volume.h"

namespace volfs {

Status Volume::ReplaceHead(const NewHead& make, Room room) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, map_.Acquire());
  const Committer::Exclusive alone = commits_.Take();
  RETURN_IF_ERROR(state_.CheckWritable());
  // Layers that an earlier snapshot froze are recorded with the head, so before the head goes.
  RETURN_IF_ERROR(commits_.CommitBatch(alone, {}));
  ASSIGN_OR_RETURN(const Gate::Closure closed, map_.CloseGate());
  if (state_.deleted()) return Error{Errc::kNotFound, StrCat(name(), ": it was deleted")};
  RETURN_IF_ERROR(native_.CheckNotActive("this change"));
  LayerRecord layer;
  ExtentMap map;
  RETURN_IF_ERROR(make(layer, map));
  assert(map.size() == BlocksFor(layer.size_bytes, context_.block_size));
  VolumeRecord next = record();
  next.head = layer.id;
  next.size_bytes = layer.size_bytes;
  next.attributes.mtime_ns = next.attributes.ctime_ns = WallNow().count();
  if (!Sabotaged(Sabotage::kRevertUncommitted)) {
    RETURN_IF_ERROR(commits_.Commit(alone, {PutLayer{layer}, PutVolume{next}}, room));
  }
  Layer* const fresh = context_.layers.Add(&node_, layer, LayerTable::Origin::kCatalog);
  map_.Replace(fresh, std::move(map), layer.size_bytes);
  opens_.AgeCaches();
  state_.ReplaceHead(next);
  commits_.SetCommitted(alone, std::move(next));
  return OkStatus();
}

Status Volume::Shrink(uint64_t size_bytes, Cut what) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, map_.Acquire());
  RETURN_IF_ERROR(Sync());  // with writers running, as for a snapshot
  const Committer::Exclusive alone = commits_.Take();
  RETURN_IF_ERROR(state_.CheckWritable());
  ASSIGN_OR_RETURN(const Gate::Closure closed, map_.CloseGate());
  return ShrinkClosed(alone, size_bytes, what);
}

Result<bool> Volume::HoldsNothing(uint64_t offset_bytes) {
  const uint32_t bs = context_.block_size;
  std::array<std::byte, kDefaultBlockSize> block;
  const std::span<std::byte> rest(block.data(), (bs - offset_bytes % bs) % bs);
  ASSIGN_OR_RETURN(const size_t got, ReadAt(rest, offset_bytes));
  if (!AllZero(rest.first(got))) return false;
  const Result<uint64_t> data = SeekData(offset_bytes + rest.size());
  if (data.ok()) return false;
  if (data.error().code == Errc::kNoData) return true;
  return data.error();
}

// The size is committed before the file is cut: a file that is too long is cut when it is opened
// next (Layer::CheckSizeLocked), one that is too short could not be told from a damaged one.
Status Volume::ShrinkClosed(const Committer::Exclusive& alone, uint64_t size_bytes, Cut what) {
  const uint64_t old_bytes = this->size_bytes();
  if (state_.deleted()) return Error{Errc::kNotFound, StrCat(name(), ": it was deleted")};
  if (size_bytes >= old_bytes) return OkStatus();
  if (what == Cut::kUnwritten) {
    ASSIGN_OR_RETURN(const bool nothing, HoldsNothing(size_bytes));
    if (!nothing) return Error{Errc::kProtected, StrCat(name(), " holds data past its new end")};
  }
  RETURN_IF_ERROR(commits_.CommitBatch(alone, {}));
  const uint32_t bs = context_.block_size;
  const uint64_t blocks = BlocksFor(size_bytes, bs);
  Layer* const shrunk = head();
  PresenceRuns presence;
  const BlockRange cut{size_bytes / bs, size_bytes % bs == 0 ? 0u : 1u};  // the block cut in two
  const LiveMap::Lookup under = map_.Find(cut.first);
  const bool merges = cut.count > 0 && under.extent.layer != shrunk->ref() &&
                      under.extent.layer != LayerRef::kHole &&
                      !Sabotaged(Sabotage::kShrinkUnmerged);
  if (merges) {
    // The layer below has bytes past the new end, which must not come back when the volume grows
    // again. So the block is completed in the head. It is marked with the commit, so that no reader
    // sees it if that is refused.
    std::array<std::byte, kDefaultBlockSize> bytes;
    const std::span<std::byte> kept(bytes.data(), size_bytes - cut.first * bs);
    RETURN_IF_ERROR(ReadExtent(context_.layers, under.extent, bs, kept, cut.first * bs));
    RETURN_IF_ERROR(shrunk->WriteAt(kept, cut.first * bs));
    if (const Status synced = shrunk->SyncFile(); !synced.ok()) return state_.Fail(synced.error());
    presence.Set(cut, BlockState::kPresent);
  }
  LayerRecord layer = shrunk->record();
  layer.size_bytes = size_bytes;
  layer.parent_bytes = std::min(layer.parent_bytes, size_bytes);
  VolumeRecord next = record();
  next.size_bytes = size_bytes;
  CatalogChange change{PutLayer{layer}, PutVolume{next}};
  if (!shrunk->flat()) {
    const uint64_t old_blocks = BlocksFor(old_bytes, bs);
    if (old_blocks > blocks) presence.Set({blocks, old_blocks - blocks}, BlockState::kAbsent);
    if (!presence.empty()) change.emplace_back(SetPresence{layer.id, presence});
  }
  if (const Status done = commits_.Commit(alone, change, Room::kFree); !done.ok()) {
    if (merges && RefusedCleanly(done.error())) (void)shrunk->Punch({cut.first * bs, bs});
    return done;
  }
  MutexLock growing(
      map_.grow_mu());  // RefreshFromFile passes no gate, and would find the file uncut
  map_.Cut(size_bytes, merges ? cut : BlockRange{});
  opens_.AgeCaches();
  state_.SetSize(size_bytes);
  commits_.SetCommitted(alone, std::move(next));
  state_.Touch();
  // Grown again, an uncut file would show what was cut off.
  if (const Status done = shrunk->Shrink(layer); !done.ok()) {
    // It has shrunk, so no error that says "nothing happened".
    return state_.Fail(
        {Errc::kIo, StrCat(name(), " has ", size_bytes,
                           " bytes now, but its file was not cut: ", done.error().message)});
  }
  // After a crash a file that is too long is cut, except where the kernel serves it
  // (AdoptAfterCrash). So there the cut must be durable.
  if (native_.wanted()) {
    if (const Status synced = shrunk->SyncFile(); !synced.ok()) return state_.Fail(synced.error());
  }
  return OkStatus();
}

Status Volume::ShowThrough(Id frozen, const FrozenImage& image, const ByteRange& range,
                           std::shared_ptr<const void> pin) {
  ASSIGN_OR_RETURN(IoScope io, map_.Begin());
  // In the slot, because a batch must see presence and record of one moment.
  const Committer::Exclusive alone = commits_.Take();
  RETURN_IF_ERROR(state_.CheckWritable());
  io.EnterWrite();
  const uint32_t bs = context_.block_size;
  Layer* const over = head();
  if (over->record().parent != frozen) {
    return Error{Errc::kWrongRegion, StrCat(name(), ": it shares nothing with that source")};
  }
  const uint64_t first = range.offset_bytes / bs;
  const BlockRange blocks{first, BlocksFor(range.end(), bs) - first};
  // Raising parent_bytes would make the gap between the ranges shown so far and this one show the
  // parent, too.
  const uint64_t gap = std::min(BlocksFor(over->record().parent_bytes, bs), first);
  const RangeLock::Guard guard = range_lock_.Lock({gap, blocks.end() - gap});
  for (uint64_t block = first; block < blocks.end();) {
    const LiveMap::Lookup found = map_.Find(block);
    if (found.extent.layer == over->ref()) {
      return Error{Errc::kWrongRegion, StrCat(name(), ": this range was written to already")};
    }
    block = found.extent.end();
  }
  if (range.end() > size_bytes()) RETURN_IF_ERROR(GrowTo(range.end()));
  for (uint64_t block = gap; block < first;) {
    const Extent extent = map_.Find(block).extent;
    const uint64_t end = std::min(extent.end(), first);
    if (extent.layer == LayerRef::kHole && !Sabotaged(Sabotage::kShareLeavesGap)) {
      over->MarkPending({block, end - block}, BlockState::kZero);
    }
    block = end;
  }
  if (!Sabotaged(Sabotage::kShareUnpinned)) commits_.Pin(std::move(pin));
  over->ShowParent(blocks, std::min(range.end(), image.size_bytes()));
  map_.Show(blocks, image.map());
  state_.Touch();
  commits_.NoteUnsynced();
  return OkStatus();
}

bool Volume::Untouched() {
  const Result<std::optional<uint64_t>> data = head()->FirstData(0);
  return head()->flat() && data.ok() && !data.value();
}

}  // namespace volfs
