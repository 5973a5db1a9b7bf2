#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_set>

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

// One volume, the bytes of a disk: a size, and a map from blocks to layers. Only the head, the
// topmost layer, is written.
//
// It behaves like a disk with a volatile write cache: Sync makes all writes before the call
// durable. After a crash each sector that was written and not synced is old or new.
//
// The two paths of a write (ARCHITECTURE.md, section 3):
//   - in place, for a block that is in the head already: one pwrite. One shared lock for the
//     lookup, no exclusive lock, no catalog, no allocation. In a flat head (a volume without
//     snapshots) all blocks are so.
//   - a first write, for a block that is in a layer under the head, or in none. It holds the
//     exclusive lock of the range from beginning to end: looks again whether the block is still not
//     in the head, completes partial blocks with the bytes below, writes whole blocks, and marks
//     them in the map and in the head's pending set.
//
// Its parts have a lock each: opens() counts the opens, map() tells where the blocks are, native()
// lets the kernel serve the file, commits() makes changes durable. All of them ask state(). Volume
// itself has the data path and the changes of the head, and calls the parts in lock order.
//
// Invariants, beside those of its map (live_map.h):
//   V3  only blocks mapped to the head are overwritten in place.
//
// Units: bytes, at any offset. Thread-safety: all methods from any thread. Its own lock is
// range_lock_, under which a range of blocks has one first write at a time. Locks, in order: the
// slot of commits() > the gate of map() > range_lock_.
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

  // Frees the map and returns true, if neither map nor volume were in use at the calls of this
  // method in the last `idle`, and if the catalog of this volume's node would give the same map.
  // Waits for no request, at most for the node. Cost where nothing is freed: some short locks if
  // the map is in memory, else one load.
  bool EvictMap(Nanoseconds idle);

  // Looks whether the head's file, if it is open, still has its name and its size. If not, makes
  // the volume read-only, as what is written to the file is lost. Cost: one stat(2).
  void CheckHeadFile();
  // Calls Layer::LookForDamage of each layer of its chain that is on its node and not in `seen`
  // yet, and adds it. A look at a layer on another node could hang with that node. The copy job of
  // a clone reports unreadable layers of its source.
  void LookForDamageUnder(std::unordered_set<Id>& seen);
  // Returns the damage of the first damaged layer of its chain on its node, or nothing. Cost: as a
  // walk of the chain.
  std::string DamageUnder();

  // --- bytes ---------------------------------------------------------------------------------

  // Fills `out` from `offset_bytes` on. Returns how many bytes were read, less than asked for at
  // the end of the volume only.
  Result<size_t> ReadAt(std::span<std::byte> out, uint64_t offset_bytes);
  // Writes all of `data`, growing the volume if it ends past size_bytes().
  Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes);
  // Makes the range, clipped to size_bytes(), read as zeros, and frees its space. A large range is
  // discarded in steps. A snapshot taken meanwhile waits for one step, and shows some of them.
  Status Discard(ByteRange range);
  // Makes all writes, discards and changes of size before the call durable, with the records of all
  // layers under them. After an error the volume is read-only until the next mount.
  Status Sync() { return commits_.Sync(); }
  // Tells when a change of bytes or size has to be durable: with the next Sync, or when the call
  // that made it returns (O_SYNC, O_DSYNC, RWF_SYNC, RWF_DSYNC, a mount with the option sync).
  enum class Durability : uint8_t { kWithSync, kAtReturn };
  // Makes a change (WriteAt, Discard, Grow, ShowThrough), which the caller is about to acknowledge,
  // durable if it has to be. An error is as one of Sync. Cost: nothing, or one Sync, which all
  // callers of one moment share.
  Status Conclude(Durability durability);
  // SEEK_DATA and SEEK_HOLE over the logical contents: data of the source that a clone has not
  // copied yet counts as data. Return kNoData past the last data (SeekData) or past the end.
  Result<uint64_t> SeekData(uint64_t offset_bytes);
  Result<uint64_t> SeekHole(uint64_t offset_bytes);
  // Returns ChainBytes (map_loader.h) of the head; on a node that is slow to answer, the last
  // result.
  Result<uint64_t> AllocatedBytes();

  // --- size ----------------------------------------------------------------------------------

  // Grows to `size_bytes` (no-op if it is not larger); durable with the next Sync. Returns
  // kFileTooBig past the greatest size of the type, or of a file on the node.
  Status Grow(uint64_t size_bytes);
  // Shrinks to `size_bytes` (no-op if it is not smaller); durable when it returns. The bytes that
  // were cut off read as zeros after growing again. Returns kBusy as FreezeHead. With kUnwritten,
  // returns kProtected if the range to be cut off holds data.
  enum class Cut : uint8_t { kAnything, kUnwritten };
  Status Shrink(uint64_t size_bytes, Cut what = Cut::kAnything);

  // --- the head ------------------------------------------------------------------------------

  // Freezes the head at a snapshot point: the image has all earlier writes and no later one
  // (contract.md 5.2). Syncs with writers running, closes the gate (it waits until the writes in
  // flight have ended), puts a new head over the old one and opens the gate. Then syncs the rest,
  // and makes one commit of it, the new head, this volume's record, and `extra` of the frozen
  // layer. Durable when it returns. Returns kBusy, and has changed nothing, if writes are in flight
  // for longer than `patience`. If the commit is refused for want of space the volume goes on with
  // the new head, which the next Sync records, so the caller must look at head() after an error
  // too. One call at a time (Store's lock of the source).
  //
  // While the kernel serves the file (native()) no layer can be put over the head. Then the frozen
  // layer is a new flat one, with which the host shares all blocks of the head's file at once.
  // Returns kBusy where the host cannot.
  using Extra = std::function<CatalogChange(const Layer& frozen)>;
  struct FrozenHead {
    std::shared_ptr<const FrozenImage> image;
    Layer* frozen;  // the former head, or the new flat layer
  };
  Result<FrozenHead> FreezeHead(const Extra& extra, Nanoseconds patience = LiveMap::kGatePatience);

  // Puts another head in the place of the present one, durably. Calls `make`, with the gate closed
  // and all earlier writes recorded, to fill the new head's record, which is in no catalog yet, and
  // its map; its error leaves all as it was. The volume takes the size of the new head. The caller
  // keeps a reference to the layer under the new head, and drops the reference of the old head.
  using NewHead = std::function<Status(LayerRecord& record, ExtentMap& map)>;
  Status ReplaceHead(const NewHead& make, Room room);
  // Returns whether the volume is flat and no byte of it was ever written.
  [[nodiscard]] bool Untouched();
  // Makes `range` show the same as in `image`, without copying, and grows the volume if it ends
  // behind it. Durable with the next Sync; until then `pin` keeps the image's layers, as the
  // catalog does not know yet that they are needed. `frozen` is the top layer of `image`. `range`
  // begins at the start of a block, and ends at the end of a block or of the image. Returns
  // kWrongRegion if the head does not lie over `frozen`, or if a block of `range` was written.
  // Cost: O(extents).
  Status ShowThrough(Id frozen, const FrozenImage& image, const ByteRange& range,
                     std::shared_ptr<const void> pin);

 private:
  [[nodiscard]] bool MapIsRecorded() const;
  // Returns none if the volume is deleted. Requires: inside the epoch.
  std::vector<Layer*> LayersOnItsNode();
  // Returns `error`, of a read of `layer`. Damage of the layer is the volume's trouble at once.
  Error ReadFailed(const Error& error, const Layer& layer);
  // Makes a first write of up to all of `data`, which starts in a block that was not in the head.
  // Returns how many bytes it wrote: 0 if the block has come into the head meanwhile.
  Result<size_t> WriteFirst(std::span<const std::byte> data, uint64_t offset_bytes);
  Status WriteMerged(std::span<const std::byte> data, uint64_t offset_bytes,
                     const LiveMap::Lookup& under);
  Result<uint64_t> DiscardStep(const ByteRange& range);
  Status DiscardInherited(const ByteRange& range);
  Status WriteZeros(const ByteRange& range);
  // Returns kNoSpace if the node's reserve is not whole and a part of `range` has no room in the
  // head's file yet. Cost: one load if the reserve is whole.
  Status CheckRoom(const ByteRange& range) {
    return node_.catalog().missing_reserve_bytes() == 0 ? OkStatus() : CheckHasRoom(range);
  }
  Status CheckHasRoom(const ByteRange& range);
  Status GrowTo(uint64_t size_bytes);  // inside the gate
  Result<FrozenHead> PutLayerOver(const Committer::Exclusive& alone, const Extra& extra,
                                  Nanoseconds patience);
  Result<FrozenHead> CloneFile(const Committer::Exclusive& alone, const Extra& extra);
  Status ShrinkClosed(const Committer::Exclusive& alone, uint64_t size_bytes, Cut what);
  // Returns whether all bytes from `offset_bytes` on are a hole. In the block of `offset_bytes`
  // written zeros count as a hole, as they cannot be told apart there.
  Result<bool> HoldsNothing(uint64_t offset_bytes);

  const VolumeContext context_;
  Node& node_;
  VolumeState state_;
  OpenState opens_;

  LiveMap map_;
  NativeServing native_;
  Committer commits_;
  std::atomic<uint64_t> last_allocated_bytes_{~uint64_t{0}};  // the last result of AllocatedBytes

  RangeLock range_lock_;
  HydrationTarget hydration_;
  MergeTarget merging_;
};

}  // namespace volfs
