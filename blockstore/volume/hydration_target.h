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

// The methods of a clone that its copy job calls (clone_job.h). The job writes the blocks of the
// source to their final place in the head, unless a user has written there before. At the end
// Flatten cuts the link to the source's layer.
//
// Invariants:
//   H1  the range of a block is locked from the question whether it is inherited until it is
//       marked: without that the copy could overwrite newer bytes of a user, as its place is final;
//   H2  a block is marked only after its bytes are in the head's file (V2). If the caller asked for
//       reading back, they were also read from there and compared.
//
// Thread-safety: all methods from any thread. Has no lock of its own: it takes the locks of a first
// write, in that order, and Flatten also the slot of Committer. Units: blocks. Durable: marked
// blocks with the next Sync of the volume, a Flatten when it returns.
class HydrationTarget {
 public:
  HydrationTarget(const VolumeContext& context, VolumeState& state, LiveMap& map,
                  Committer& commits, RangeLock& range_lock);
  ~HydrationTarget();
  HydrationTarget(const HydrationTarget&) = delete;
  HydrationTarget& operator=(const HydrationTarget&) = delete;

  // Makes reads of inherited blocks note their places from now on, and returns the list of these
  // places, which the job copies first. One call at a time.
  PriorityRanges& NotePriorityRanges();
  // Returns that list, null before NotePriorityRanges. Called by every read. Cost: one load.
  [[nodiscard]] PriorityRanges* wanted() const { return wanted_.load(std::memory_order_acquire); }

  // Returns whether `range` still has an inherited block: one that is in a layer under the head.
  Result<bool> AnyInherited(const BlockRange& range);
  // Writes `data` (whole blocks but for the end of the volume, read from the frozen source before
  // the call) to those blocks of `range` that are still inherited when their lock is held. Blocks
  // of zeros become kZero and take no space. Returns how many bytes were written. With `read_back`,
  // a buffer as large as `data`, reads the written bytes from the disk again before it marks the
  // blocks. If they differ, returns an error; no reader has seen them then.
  Result<uint64_t> Hydrate(const BlockRange& range, std::span<const std::byte> data,
                           std::span<std::byte> read_back = {});
  // As Hydrate, but lets the filesystem share the source's blocks with the head's file, and reads
  // nothing. Returns nullopt if the filesystem cannot; the caller then calls Hydrate. Some of the
  // blocks may be present by then.
  Result<std::optional<uint64_t>> HydrateShared(const BlockRange& range);
  // Waits until the disk has the bytes that Hydrate wrote to `range`. An error is as one of Sync.
  Status WaitHydrated(const BlockRange& range);
  // Makes the head flat, durably: punches all garbage in its file, syncs, commits (no parent,
  // `extra`), then maps all blocks to the head. Requires: every block of the source's data is
  // present or zero.
  Status Flatten(const CatalogChange& extra);
  // Frees the garbage in the head's file: blocks that the map does not lead to, left by uncommitted
  // writes before an unclean stop. Returns false if `layer` is not the head (any more);
  // Reclaimer::PunchGarbage then does the rest of it.
  Result<bool> PunchGarbage(Id layer);

 private:
  // Calls `copy` for each inherited run of `range`, with the lookup of the run, under the locks of
  // a first write. Marks the run with the state that `copy` returns. If that is nullopt, ends at
  // once and returns nullopt. Else returns how many bytes were written.
  // A closure, as the locks, the second look and the mark are the same however the bytes come.
  using CopyRun =
      std::function<Result<std::optional<BlockState>>(const BlockRange&, const LiveMap::Lookup&)>;
  Result<std::optional<uint64_t>> HydrateRuns(const BlockRange& range, const CopyRun& copy);
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
  std::atomic<PriorityRanges*> wanted_{nullptr};  // owned_wanted_, once readers may use it
};

}  // namespace volfs
