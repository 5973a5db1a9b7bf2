#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>

#include "blockstore/base/error.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/map/presence.h"
#include "blockstore/sync/priority_ranges.h"
#include "blockstore/sync/range_lock.h"
#include "blockstore/volume/committer.h"
#include "blockstore/volume/context.h"
#include "blockstore/volume/live_map.h"
#include "blockstore/volume/state.h"

namespace volfs {

// What the copying of a clone does with the volume that it makes whole: blocks of the source are
// written to their final place if the user has written none there, and at the end the head needs no
// layer under it.
//
// Invariants:
//   H1  from the look whether a block is inherited until it is marked, its range is locked: a
//       look later would be too late, as the place is final and the user's bytes would be gone;
//   H2  a block is marked only after its bytes are in the head's file (V2), and, with a buffer to
//       read back to, were found there.
//
// Thread-safety: all methods from any thread. Has no lock of its own: the order is that of a first
// write, and Flatten has the slot.
class HydrationTarget {
 public:
  HydrationTarget(const VolumeContext& context, VolumeState& state, LiveMap& map,
                  Committer& commits, RangeLock& range_lock);
  ~HydrationTarget();
  HydrationTarget(const HydrationTarget&) = delete;
  HydrationTarget& operator=(const HydrationTarget&) = delete;

  // From now on reads of what is not in the head are noted. Of a clone that is being copied; one
  // call at a time.
  PriorityRanges& NotePriorityRanges();
  // Null until then. Cost: one load.
  [[nodiscard]] PriorityRanges* wanted() const { return wanted_.load(std::memory_order_acquire); }

  // Returns whether a block of `range` is still in a layer under the head: these are copied.
  Result<bool> AnyInherited(const BlockRange& range);
  // Writes `data` (whole blocks but for the end of the volume, read from the frozen source before
  // the call) to those blocks of `range` that are still inherited when their lock is held.
  // Blocks of zeros become kZero and take no space. Returns how many bytes were written.
  // With `read_back`, as large as `data`: what was written is read from the disk again before it is
  // marked, and an error if it is not the same; no reader has seen it then.
  Result<uint64_t> Hydrate(const BlockRange& range, std::span<const std::byte> data,
                           std::span<std::byte> read_back = {});
  // The same where the filesystem shares the source's blocks with the clone's file: nothing is
  // read. Nothing if it does not; then Hydrate. Some of the blocks may be here by then.
  Result<std::optional<uint64_t>> HydrateShared(const BlockRange& range);
  // Returns when the disk has got what Hydrate wrote to `range`; an error is as one of Sync.
  Status WaitHydrated(const BlockRange& range);
  // Requires: everything is here or zero. Punches what else lies in the head's file, syncs, commits
  // (head flat, link cut, `extra`), then maps all blocks to the head.
  Status Flatten(const CatalogChange& extra);
  // Frees space in the head's file that uncommitted writes took before an unclean stop. False if
  // `layer` is not the head (any more): what is left of it is for Reclaimer::PunchGarbage.
  Result<bool> PunchGarbage(Id layer);

 private:
  // Calls `bring` for each inherited run of `range` with what that is mapped to, under the locks of
  // a first write, and marks it as it says; nothing, and no more calls: `bring` gave up.
  using Bring =
      std::function<Result<std::optional<BlockState>>(const BlockRange&, const LiveMap::Lookup&)>;
  Result<std::optional<uint64_t>> HydrateRuns(const BlockRange& range, const Bring& bring);
  Result<std::optional<BlockState>> HydrateRun(const BlockRange& run, const LiveMap::Lookup& found,
                                               std::span<const std::byte> bytes,
                                               std::span<std::byte> read_back);

  const VolumeContext context_;
  Node& node_;
  VolumeState& state_;
  LiveMap& map_;
  Committer& commits_;
  RangeLock& range_lock_;
  std::unique_ptr<PriorityRanges> owned_wanted_;
  std::atomic<PriorityRanges*> wanted_{nullptr};  // ... once it may be used
};

}  // namespace volfs
