#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/layer/image.h"
#include "blockstore/layer/layer_table.h"
#include "blockstore/node/node.h"
#include "blockstore/sync/range_lock.h"
#include "blockstore/volume/committer.h"
#include "blockstore/volume/context.h"
#include "blockstore/volume/hydration_target.h"
#include "blockstore/volume/live_map.h"
#include "blockstore/volume/merge_target.h"
#include "blockstore/volume/native_serving.h"
#include "blockstore/volume/open_state.h"
#include "blockstore/volume/state.h"

namespace volfs {

// One volume: a size and a live map from blocks to layers, of which the head is written.
//
// It behaves like a disk with a volatile write cache: Sync makes durable what was written before
// the call; what was not synced is, sector by sector, old or new after a crash.
//
// The two paths of a write (design: "the range lock"):
//   - a block that is in the head already: one pwrite in place. No exclusive lock, no catalog, no
//     allocation; one shared lock for the lookup. A flat head (a volume without snapshots) has
//     only such blocks.
//   - a first write: the range's exclusive lock is held without a break over: look again whether
//     the block is still not in the head; merge with what lies under it if only a part is written;
//     pwrite whole blocks; mark them in the map and in the head's pending set.
//
// Its parts have a lock each: opens() counts the opens, map() knows where the blocks are, native()
// lets the kernel serve the file, commits() makes changes durable. All of them ask state(). Volume
// itself has the data path and the changes of the head, and calls the parts in lock order.
//
// Invariants, beside those of its map (live_map.h):
//   V3  only blocks mapped to the head are overwritten in place.
//
// Thread-safety: all methods from any thread. Its own lock is range_lock_: first writes of a range
// of blocks, one at a time. Locks, in order: the slot of commits() > the gate of map() >
// range_lock_.
class Volume {
 public:
  // `record` is in the catalog already, or is about to be.
  Volume(const VolumeContext& context, Node& node, VolumeRecord record, Layer* head);
  ~Volume();
  Volume(const Volume&) = delete;
  Volume& operator=(const Volume&) = delete;

  [[nodiscard]] Id id() const { return state_.id(); }
  [[nodiscard]] Node& node() const { return node_; }
  [[nodiscard]] std::string name() const { return state_.name(); }
  [[nodiscard]] uint64_t size_bytes() const { return map_.size_bytes(); }
  [[nodiscard]] Layer* head() const { return map_.head(); }
  [[nodiscard]] VolumeRecord record() const { return state_.record(); }
  [[nodiscard]] Attributes attributes() const { return state_.attributes(); }

  // Its parts, each with the lock that its header names.
  [[nodiscard]] VolumeState& state() { return state_; }
  [[nodiscard]] const VolumeState& state() const { return state_; }
  [[nodiscard]] OpenState& opens() { return opens_; }
  [[nodiscard]] const OpenState& opens() const { return opens_; }
  using Access = OpenState::Access;
  [[nodiscard]] LiveMap& map() { return map_; }
  [[nodiscard]] const LiveMap& map() const { return map_; }
  [[nodiscard]] NativeServing& native() { return native_; }
  [[nodiscard]] const NativeServing& native() const { return native_; }
  [[nodiscard]] Committer& commits() { return commits_; }
  [[nodiscard]] const Committer& commits() const { return commits_; }
  [[nodiscard]] HydrationTarget& hydration() { return hydration_; }
  [[nodiscard]] MergeTarget& merging() { return merging_; }

  // Frees the map if it was not used, nor the volume open, for `idle`, as far as the calls of this
  // tell, and if the catalog of this volume's node says all that it does; true if it has.
  // Waits for no request; for this node at most, as PendingWork. Cost where nothing is freed: some
  // short locks if the map is in memory, else one load.
  bool EvictMap(Nanoseconds idle);

  // --- bytes ---------------------------------------------------------------------------------

  // Fills `out` from `offset_bytes`; returns how many bytes there were before the end.
  Result<size_t> ReadAt(std::span<std::byte> out, uint64_t offset_bytes);
  // Writes all of `data`, growing the volume if it ends past size_bytes().
  Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes);
  // The range reads as zeros from now on and its space is freed. Clipped to size_bytes(). A large
  // one is discarded in steps: an instant meanwhile shows some of it, and waits for one step.
  Status Discard(ByteRange range);
  // Durable: what was written, discarded and resized before the call, and the identity of all
  // layers under it. After an error the volume is read-only until the next mount.
  Status Sync() { return commits_.Sync(); }
  // When a change of bytes or size has to be durable: with the next Sync, or when the call that
  // made it returns (O_SYNC, O_DSYNC, RWF_SYNC, RWF_DSYNC, a mount with the option sync).
  enum class Durability : uint8_t { kWithSync, kAtReturn };
  // Requires: the caller has made a change (WriteAt, Discard, Grow, ShowThrough) and is about to
  // acknowledge it. Makes it durable if it has to be; an error is as one of Sync. Cost: nothing, or
  // one Sync, which all callers of one moment share.
  Status Conclude(Durability durability);
  // SEEK_DATA / SEEK_HOLE over the logical contents: what a clone has not copied yet is data.
  // kNoData past the last data (SEEK_DATA) or past the end.
  Result<uint64_t> SeekData(uint64_t offset_bytes);
  Result<uint64_t> SeekHole(uint64_t offset_bytes);
  // As ChainBytes (map_loader.h) of the head.
  Result<uint64_t> AllocatedBytes();

  // --- size ----------------------------------------------------------------------------------

  // Grows to `size_bytes` (no-op if it is not larger); durable with the next Sync.
  // kFileTooBig past the type's greatest size, or what the node's filesystem can hold.
  Status Grow(uint64_t size_bytes);
  // Shrinks to `size_bytes` (no-op if it is not smaller); durable when it returns. What was cut off
  // reads as zeros after growing again, whatever lies under the head. kBusy as FreezeHead.
  // kProtected if only what is unwritten may be cut off and HoldsNothing is false of it.
  enum class Cut : uint8_t { kAnything, kUnwritten };
  Status Shrink(uint64_t size_bytes, Cut what = Cut::kAnything);

  // --- the head ------------------------------------------------------------------------------

  // The instant (contract.md 5.2: all earlier writes are in, no later one is): flushes with writers
  // running, closes the gate until the writes in flight have ended (kBusy after 1 s, nothing
  // happened), puts a new head over the old one, opens the gate, flushes the rest, and makes one
  // commit of that, the new head, this volume's record, and `extra` of the layer that is frozen
  // now. If the commit fails for want of space the volume goes on with the new head, which the next
  // Sync records: look at head() whatever the result. One call at a time (Store's lock of the
  // source).
  //
  // While the kernel serves it (native) no layer can be put over the head: what is frozen is a new
  // flat layer instead, to which the host gives all blocks of the head's file at once; kBusy where
  // it cannot.
  using Extra = std::function<CatalogChange(const Layer& frozen)>;
  struct FrozenHead {
    std::shared_ptr<const FrozenImage> image;
    Layer* frozen;  // the head of before, or a layer that nobody else knows
  };
  Result<FrozenHead> FreezeHead(const Extra& extra, Nanoseconds patience = LiveMap::kGatePatience);

  // Puts another head in the place of the present one, durably: `make` fills its record, which is
  // in no catalog yet, and its map, with the gate closed and all that was written before recorded;
  // an error of it leaves all as it was. The volume is then as large as the new head. The caller
  // keeps the layer under the new head, and takes the old one's point away.
  using NewHead = std::function<Status(LayerRecord& record, ExtentMap& map)>;
  Status ReplaceHead(const NewHead& make, Room room);
  // Has nothing ever been written to it? (Of a flat one; false else.)
  [[nodiscard]] bool Untouched();
  // If the head lies over `frozen`, which `image` is of: from now on `range` (from a block's start
  // to a block's end, or to the image's) shows what `image` has there, O(extents), nothing is
  // copied; grows the volume. Durable with the next Sync, until which `pin` keeps the image's
  // layers: the catalog does not know yet that they are needed. kWrongRegion if the head lies over
  // something else, or a block of `range` was written.
  Status ShowThrough(Id frozen, const FrozenImage& image, const ByteRange& range,
                     std::shared_ptr<const void> pin);

 private:
  [[nodiscard]] bool MapIsRecorded() const;
  // A first write: up to all of `data`, which starts in a block that was not in the head; returns
  // how many bytes, 0 if the block has come into the head meanwhile.
  Result<size_t> WriteFirst(std::span<const std::byte> data, uint64_t offset_bytes);
  Status WriteMerged(std::span<const std::byte> data, uint64_t offset_bytes,
                     const LiveMap::Lookup& under);
  Result<uint64_t> DiscardStep(const ByteRange& range);
  Status DiscardInherited(const ByteRange& range);
  Status WriteZeros(const ByteRange& range);
  // While the node's reserve is not whole: kNoSpace unless all of `range` has its room in the
  // head's file. Cost: one load if it is whole.
  Status CheckRoom(const ByteRange& range) {
    return node_.catalog().missing_reserve_bytes() == 0 ? OkStatus() : CheckHasRoom(range);
  }
  Status CheckHasRoom(const ByteRange& range);
  Status GrowTo(uint64_t size_bytes);  // inside the gate
  Result<FrozenHead> PutLayerOver(const Committer::Exclusive& alone, const Extra& extra,
                                  Nanoseconds patience);
  Result<FrozenHead> CloneFile(const Committer::Exclusive& alone, const Extra& extra);
  Status ReplaceHeadClosed(const Committer::Exclusive& alone, const NewHead& make, Room room);
  Status ShrinkClosed(const Committer::Exclusive& alone, uint64_t size_bytes, Cut what);
  // Is everything from `offset_bytes` on a hole? In the block that `offset_bytes` lies in, zeros
  // count as one: a hole is not told from them there.
  Result<bool> HoldsNothing(uint64_t offset_bytes);

  const VolumeContext context_;
  Node& node_;
  VolumeState state_;
  OpenState opens_;

  LiveMap map_;
  NativeServing native_;
  Committer commits_;
  std::atomic<uint64_t> last_allocated_bytes_{~uint64_t{0}};  // as it was last told

  RangeLock range_lock_;
  HydrationTarget hydration_;
  MergeTarget merging_;
};

}  // namespace volfs
