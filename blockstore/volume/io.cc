// The data path of Volume. The cost of a request, once the file is open and the map loaded:
//   all      the parts of an IoScope: for each an atomic addition and a subtraction, those of gate
//            and epoch on counters that few threads share.
//   ReadAt   per extent: one shared lock for the lookup, one pread into the caller's buffer.
//   WriteAt  in place, per extent: one shared lock, one pwrite from the caller's buffer.
//            first write: also the range lock, two short exclusive locks, and for a partial
//            block one pread and a copy of at most one block at each end.
// A write also asks whether the node's reserve is whole: one load. ForegroundLoad counts reads and
// writes: one addition. Neither allocates or touches the catalog.
#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/layer/map_loader.h"
#include "blockstore/volume/volume.h"

namespace volfs {
namespace {

constexpr uint32_t kMaxBlockSize = kDefaultBlockSize;  // of the merge buffer, on the stack

}  // namespace

// ReadAt and WriteAt take the parts of an IoScope one by one: to move one out of a Result costs a
// tenth of all their instructions.
Result<size_t> Volume::ReadAt(std::span<std::byte> out, uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref map, map_.Acquire());
  node_.foreground().Note();
  const uint64_t size = size_bytes();
  if (offset_bytes >= size) return size_t{0};
  out = out.first(std::min<uint64_t>(out.size(), size - offset_bytes));
  const Epoch::Reader reader = context_.epoch.Enter();
  size_t done = 0;
  while (done < out.size()) {
    const uint64_t at = offset_bytes + done;
    const LiveMap::Lookup found = map_.Find(at / context_.block_size);
    const Result<size_t> got =
        ReadExtent(context_.layers, found.extent, context_.block_size, out.subspan(done), at);
    if (!got.ok()) return ReadFailed(got.error(), *context_.layers.Get(found.extent.layer));
    if (found.extent.layer != found.head->ref() && found.extent.layer != LayerRef::kHole) {
      if (PriorityRanges* const wanted = hydration_.wanted()) wanted->Add(at);
    }
    done += got.value();
  }
  return done;
}

Error Volume::ReadFailed(const Error& error, const Layer& layer) {
  // A layer of another node is the trouble of the clone's copy, and may not be reached for now.
  if (layer.node() == &node_ && layer.damage().any()) state_.NoteDamage(layer.damage().text());
  return error;
}

Status Volume::WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref map, map_.Acquire());
  RETURN_IF_ERROR(state_.CheckWritable());
  node_.foreground().Note();
  if (offset_bytes > kMaxVolumeBytes || data.size() > kMaxVolumeBytes - offset_bytes) {
    return Error{Errc::kFileTooBig, StrCat(name(), ": a write at byte ", offset_bytes,
                                           " is past the greatest size of a volume")};
  }
  RETURN_IF_ERROR(CheckRoom({offset_bytes, data.size()}));
  const Gate::Passage passage = map_.gate().Enter();
  const Epoch::Reader reader = context_.epoch.Enter();
  const uint64_t end = offset_bytes + data.size();
  if (end > size_bytes() && !data.empty()) RETURN_IF_ERROR(GrowTo(end));
  while (offset_bytes < end) {
    const LiveMap::Lookup found = map_.Find(offset_bytes / context_.block_size);
    size_t wrote = 0;
    if (found.extent.layer == found.head->ref()) {
      wrote = std::min(end, found.extent.end() * context_.block_size) - offset_bytes;
      RETURN_IF_ERROR(found.head->WriteAt(data.first(wrote), offset_bytes));
    } else {
      ASSIGN_OR_RETURN(wrote, WriteFirst(data, offset_bytes));
    }
    offset_bytes += wrote;
    data = data.subspan(wrote);
  }
  state_.Touch();
  return OkStatus();
}

// While the reserve is not whole, the room that is left is for commits alone.
Status Volume::CheckHasRoom(const ByteRange& range) {
  const Status whole = node_.catalog().CheckReserve();  // before any lock: it may be made so now
  if (whole.ok()) return whole;
  if (range.end() > size_bytes()) return whole;
  const Epoch::Reader reader = context_.epoch.Enter();
  for (uint64_t at = range.offset_bytes; at < range.end();) {
    const LiveMap::Lookup found = map_.Find(at / context_.block_size);
    if (found.extent.layer != found.head->ref()) return whole;
    ASSIGN_OR_RETURN(const std::optional<ByteRange> data, found.head->NextData(at));
    if (!data || data->offset_bytes > at) return whole;
    at = std::min(data->end(), found.extent.end() * context_.block_size);
  }
  return OkStatus();
}

Result<size_t> Volume::WriteFirst(std::span<const std::byte> data, uint64_t offset_bytes) {
  const uint32_t bs = context_.block_size;
  const uint64_t first = offset_bytes / bs;
  const BlockRange wanted{first, BlocksFor(offset_bytes + data.size(), bs) - first};
  const RangeLock::Guard guard = range_lock_.Lock(wanted);
  const LiveMap::Lookup under = map_.Find(first);
  if (under.extent.layer == under.head->ref()) return size_t{0};  // another writer was first
  const BlockRange blocks{first, std::min(wanted.end(), under.extent.end()) - first};
  const uint64_t end = std::min(offset_bytes + data.size(), blocks.end() * bs);
  if (const Status done = WriteMerged(data.first(end - offset_bytes), offset_bytes, under);
      !done.ok()) {
    // A part of the bytes may be in the file, where no reader finds them: free it, if that is
    // possible.
    (void)under.head->Punch({first * bs, blocks.count * bs});
    return done.error();
  }
  map_.RecordWritten(blocks, under.head, BlockState::kPresent);
  commits_.NoteUnsynced();
  return end - offset_bytes;
}

// Writes whole blocks: `data`, completed at both ends with the bytes of the layer below. The blocks
// are clipped to the volume's size, as layer files are exactly that long.
Status Volume::WriteMerged(std::span<const std::byte> data, uint64_t offset_bytes,
                           const LiveMap::Lookup& under) {
  const uint32_t bs = context_.block_size;
  assert(bs <= kMaxBlockSize);
  while (!data.empty()) {
    const uint64_t block_start = offset_bytes / bs * bs;
    const uint64_t volume_end = size_bytes();
    const uint64_t block_end = std::min(block_start + bs, volume_end);
    const uint64_t data_end = offset_bytes + data.size();
    size_t part = 0;
    if (offset_bytes == block_start && data_end >= block_end) {
      // Whole blocks up to the last boundary (or the end of the volume): straight from the caller.
      part = (data_end >= volume_end ? data_end : data_end / bs * bs) - offset_bytes;
      RETURN_IF_ERROR(under.head->WriteAt(data.first(part), offset_bytes));
    } else {
      std::array<std::byte, kMaxBlockSize> merged;
      const std::span<std::byte> block(merged.data(), block_end - block_start);
      if (Sabotaged(Sabotage::kPartialNotMerged)) {
        merged.fill(std::byte{0});
      } else {
        RETURN_IF_ERROR(ReadExtent(context_.layers, under.extent, bs, block, block_start));
      }
      part = std::min(data_end, block_end) - offset_bytes;
      std::memcpy(block.data() + (offset_bytes - block_start), data.data(), part);
      RETURN_IF_ERROR(under.head->WriteAt(block, block_start));
    }
    data = data.subspan(part);
    offset_bytes += part;
  }
  return OkStatus();
}

Status Volume::Discard(ByteRange range) {
  ASSIGN_OR_RETURN(IoScope io, map_.Begin());
  native_.RefreshFromFile();
  RETURN_IF_ERROR(state_.CheckWritable());
  const uint64_t size = size_bytes();
  if (range.offset_bytes >= size) return OkStatus();
  const uint64_t end = range.offset_bytes + std::min(range.length_bytes, size - range.offset_bytes);
  for (uint64_t at = range.offset_bytes; at < end;) {
    // Entered anew for each step, so that a snapshot, or a thread that frees space, waits for one
    // step only.
    io.EnterWrite();
    ASSIGN_OR_RETURN(at, DiscardStep({at, end - at}));
    io.Leave();
  }
  state_.Touch();
  return OkStatus();
}

// Discards the first part of `range`, at most up to the end of an extent; returns where it ends.
Result<uint64_t> Volume::DiscardStep(const ByteRange& range) {
  const uint32_t bs = context_.block_size;
  const uint64_t at = range.offset_bytes;
  const LiveMap::Lookup found = map_.Find(at / bs);
  uint64_t stop = std::min(range.end(), found.extent.end() * bs);
  if (found.extent.layer == LayerRef::kHole) return stop;
  if (found.extent.layer != found.head->ref()) {
    // The catalog has to record that the blocks are hidden, and that frees nothing.
    RETURN_IF_ERROR(node_.catalog().CheckReserve());
    RETURN_IF_ERROR(DiscardInherited({at, stop - at}));
    return stop;
  }
  if (stop - at > Layer::kPunchBytes) {
    ASSIGN_OR_RETURN(const std::optional<uint64_t> data, found.head->FirstData(at));
    if (!data || *data > at) return std::min(stop, data ? *data : stop);
    stop = std::min(stop, (at / Layer::kPunchBytes + 1) * Layer::kPunchBytes);
  }
  // A hole in the head's file overwrites the blocks with zeros; they stay present.
  RETURN_IF_ERROR(found.head->Punch({at, stop - at}));
  return stop;
}

// Discards `range`, which was inherited when it was looked up. Whole blocks become kZero, which
// hides the layers below for good. Parts of blocks are merge-written with zeros.
Status Volume::DiscardInherited(const ByteRange& range) {
  const uint32_t bs = context_.block_size;
  const bool to_the_end = range.end() == size_bytes();
  const uint64_t first = BlocksFor(range.offset_bytes, bs);
  const uint64_t last = to_the_end ? BlocksFor(range.end(), bs) : range.end() / bs;
  if (first >= last) return WriteZeros(range);
  if (range.offset_bytes < first * bs) {
    RETURN_IF_ERROR(WriteZeros({range.offset_bytes, first * bs - range.offset_bytes}));
  }
  {
    const RangeLock::Guard guard = range_lock_.Lock({first, last - first});
    for (uint64_t block = first; block < last;) {
      const LiveMap::Lookup found = map_.Find(block);
      const uint64_t stop = std::min(last, found.extent.end());
      if (found.extent.layer == found.head->ref()) {
        // Not past the range: the last block may have been appended to since.
        RETURN_IF_ERROR(
            found.head->Punch({block * bs, std::min(stop * bs, range.end()) - block * bs}));
      } else if (found.extent.layer != LayerRef::kHole) {
        const bool absent = Sabotaged(Sabotage::kDiscardAsAbsent);
        map_.RecordWritten({block, stop - block}, found.head,
                           absent ? BlockState::kAbsent : BlockState::kZero);
        commits_.NoteUnsynced();
      }
      block = stop;
    }
  }
  if (range.end() > last * bs) return WriteZeros({last * bs, range.end() - last * bs});
  return OkStatus();
}

// `range` is a part of one or two blocks.
Status Volume::WriteZeros(const ByteRange& range) {
  static constexpr std::array<std::byte, 2 * kMaxBlockSize> kZeros{};
  assert(range.length_bytes <= kZeros.size());
  for (uint64_t at = range.offset_bytes; at < range.end();) {
    const LiveMap::Lookup found = map_.Find(at / context_.block_size);
    const std::span<const std::byte> zeros(kZeros.data(), range.end() - at);
    if (found.extent.layer != found.head->ref()) {
      ASSIGN_OR_RETURN(const size_t wrote, WriteFirst(zeros, at));
      at += wrote;
      continue;
    }
    const uint64_t stop = std::min(range.end(), found.extent.end() * context_.block_size);
    RETURN_IF_ERROR(found.head->WriteAt(zeros.first(stop - at), at));
    at = stop;
  }
  return OkStatus();
}

Result<uint64_t> Volume::SeekData(uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(IoScope io, map_.Begin());
  native_.RefreshFromFile();
  io.EnterRead();
  const uint64_t size = size_bytes();
  DataCursor starts(DataCursor::Wanted::kStart);
  for (uint64_t at = offset_bytes; at < size;) {
    const Extent extent = map_.Find(at / context_.block_size).extent;
    ASSIGN_OR_RETURN(const std::optional<ByteRange> data,
                     DataInExtent(context_.layers, extent, context_.block_size, at, starts));
    if (data && data->offset_bytes < size) return data->offset_bytes;
    at = extent.end() * context_.block_size;
  }
  return Error{Errc::kNoData, StrCat(name(), ": no data at or after byte ", offset_bytes)};
}

Result<uint64_t> Volume::SeekHole(uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(IoScope io, map_.Begin());
  native_.RefreshFromFile();
  io.EnterRead();
  const uint64_t size = size_bytes();
  if (offset_bytes >= size) {
    return Error{Errc::kNoData, StrCat(name(), ": byte ", offset_bytes, " is past its end")};
  }
  // The cursor lives for this call only, as the head is written. It asks a layer that many extents
  // are in once for each range of its data.
  DataCursor cursor;
  while (offset_bytes < size) {
    const Extent extent = map_.Find(offset_bytes / context_.block_size).extent;
    ASSIGN_OR_RETURN(
        const std::optional<ByteRange> data,
        DataInExtent(context_.layers, extent, context_.block_size, offset_bytes, cursor));
    if (!data || data->offset_bytes > offset_bytes) return offset_bytes;
    offset_bytes = data->end();
  }
  return size;
}

// `ls` and `status` ask this of all volumes, so it must neither hang with a node nor wait for a
// lock that a hung request holds.
Result<uint64_t> Volume::AllocatedBytes() {
  if (node().directory().calls()->slow()) {
    // A volume that was never counted shows its size, and not a hole.
    return std::min(last_allocated_bytes_.load(), size_bytes());
  }
  const Epoch::Reader reader = context_.epoch.Enter();
  if (state_.deleted()) return uint64_t{0};
  ASSIGN_OR_RETURN(const uint64_t bytes,
                   ChainBytes(context_.layers, head(), size_bytes(), context_.block_size));
  last_allocated_bytes_ = bytes;
  return bytes;
}

}  // namespace volfs
