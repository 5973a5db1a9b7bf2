#include "blockstore/volume/hydration_target.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/base/zeros.h"
#include "blockstore/layer/data_cursor.h"

namespace volfs {

HydrationTarget::HydrationTarget(const VolumeContext& context, VolumeState& state, LiveMap& map,
                                 Committer& commits, RangeLock& range_lock)
    : context_(context),
      node_(state.node()),
      state_(state),
      map_(map),
      commits_(commits),
      range_lock_(range_lock) {}

HydrationTarget::~HydrationTarget() = default;

PriorityRanges& HydrationTarget::NotePriorityRanges() {
  if (owned_wanted_ == nullptr) owned_wanted_ = std::make_unique<PriorityRanges>();
  wanted_.store(owned_wanted_.get(), std::memory_order_release);
  return *owned_wanted_;
}

Result<bool> HydrationTarget::AnyInherited(const BlockRange& range) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, map_.Acquire());
  return map_.AnyInherited(range);
}

Result<uint64_t> HydrationTarget::Hydrate(const BlockRange& range, std::span<const std::byte> data,
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

Result<std::optional<BlockState>> HydrationTarget::HydrateRun(const BlockRange& run,
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
               StrCat("bytes ", offset, " to ", offset + bytes.size(), " of ", state_.name(),
                      " on node ", node_.name(),
                      " were read back as something else than the bytes written; look at "
                      "its disk, then resume or cancel the clone")};
}

Result<std::optional<uint64_t>> HydrationTarget::HydrateShared(const BlockRange& range) {
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

Result<std::optional<uint64_t>> HydrationTarget::HydrateRuns(const BlockRange& range,
                                                             const CopyRun& copy) {
  ASSIGN_OR_RETURN(IoScope io, map_.Begin());
  RETURN_IF_ERROR(state_.CheckWritable());
  RETURN_IF_ERROR(node_.catalog().CheckReserve());  // before any lock: it may be made whole now
  const uint32_t bs = context_.block_size;
  io.EnterWrite();
  // Locked from the look to the mark (H1).
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
    const Result<std::optional<BlockState>> copied = copy(run, found);
    if (!copied.ok()) {
      (void)found.head->Punch({run.first * bs, run.count * bs});  // as in WriteFirst
      return copied.error();
    }
    if (!copied.value()) return std::optional<uint64_t>();
    const BlockState state = *copied.value();
    if (here && state == BlockState::kPresent && Sabotaged(Sabotage::kAbsentAtCommit)) continue;
    map_.RecordWritten(run, found.head, state);
    if (state == BlockState::kPresent) wrote += run.count * bs;
  }
  return std::optional(wrote);
}

Status HydrationTarget::WaitHydrated(const BlockRange& range) {
  const Epoch::Reader reader = context_.epoch.Enter();
  if (state_.deleted()) return OkStatus();
  const uint32_t bs = context_.block_size;
  const Status written = map_.head()->WaitWritten({range.first * bs, range.count * bs});
  return written.ok() ? written : state_.Fail(written.error());
}

Result<bool> HydrationTarget::PunchGarbage(Id layer) {
  if (state_.refused()) return Error{Errc::kCorrupt, StrCat(state_.name(), ": ", state_.failure())};
  const uint32_t bs = context_.block_size;
  const uint64_t blocks = BlocksFor(map_.size_bytes(), bs);
  // The cursor may miss data written meanwhile, which is no garbage.
  DataCursor cursor;
  for (uint64_t block = 0; block < blocks;) {
    const Result<MapRefCount::Ref> use = map_.Acquire();
    // One step, so that a deletion elsewhere waits no longer than that for this reader.
    const Epoch::Reader reader = context_.epoch.Enter();
    // The layer is gone with the volume, unless it was frozen: then it is for the reclaimer.
    if (state_.deleted()) return state_.record().head == layer;
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
    // Looks again: a first write may have put real bytes there since.
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

Status HydrationTarget::Flatten(const CatalogChange& extra) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, map_.Acquire());
  RETURN_IF_ERROR(map_.head()->CreateFile());
  if (!Sabotaged(Sabotage::kFlatWithGarbage)) RETURN_IF_ERROR(PunchGarbage(map_.head()->id()));
  const Committer::Exclusive alone = commits_.Take();
  RETURN_IF_ERROR(state_.CheckWritable());
  assert(commits_.Recorded(alone));
  Layer* const flat = map_.head();
  LayerRecord layer_record = flat->record();
  layer_record.parent = kNoId;
  layer_record.parent_node.clear();
  layer_record.parent_bytes = 0;
  VolumeRecord next = state_.record();
  next.size_bytes = layer_record.size_bytes;
  if (Sabotaged(Sabotage::kFlatBeforeSync)) {
    // nothing
  } else if (const Status synced = flat->SyncFile(); !synced.ok()) {
    return state_.Fail(synced.error());
  }
  CatalogChange change{PutLayer{layer_record}, ClearPresence{flat->id()}, PutVolume{next}};
  change.insert(change.end(), extra.begin(), extra.end());
  RETURN_IF_ERROR(commits_.Commit(alone, change, Room::kFree));
  commits_.SetCommitted(alone, std::move(next));
  // On disk it is flat from here on; in memory the old way of writing goes on, which is right for a
  // flat layer too, until the writes in flight have ended.
  Gate::Closure closed;
  while (!closed.holds()) closed = map_.gate().Close(MonotonicNow() + LiveMap::kGatePatience);
  flat->BecomeFlat(layer_record);
  map_.Flatten();
  return OkStatus();
}

}  // namespace volfs
