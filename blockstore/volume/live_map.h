#pragma once

#include <atomic>
#include <cstdint>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/layer/layer.h"
#include "blockstore/map/extent_map.h"
#include "blockstore/map/presence.h"
#include "blockstore/sync/gate.h"
#include "blockstore/sync/map_ref_count.h"
#include "blockstore/volume/context.h"
#include "blockstore/volume/io_scope.h"
#include "blockstore/volume/open_state.h"
#include "blockstore/volume/state.h"

namespace volfs {

// Where the blocks of one volume are: its map, the head that the map leads to, and the size. The
// map is built from the catalogs when it is used, and evicted when it was not used for long.
//
// Invariants:
//   V1  every map entry names a layer of this volume's chain, or LayerRef::kHole;
//   V2  a block is mapped to the head only after its bytes are in the head's file;
//   V4  size_bytes() <= map size * block size, and the head layer's size is size_bytes();
//   V5  a thread that looks at the map or changes it has a MapRefCount::Ref from before the map was
//       loaded for it until what it did is in the map and, as pending, in the layers; so has a
//       batch. Where the map is not in memory, the catalogs say all that it would.
//
// Thread-safety: all methods from any thread. Another head is put in place behind the closed gate.
// Locks, in order: gate() > load_mu_ > grow_mu() > mu_. mu_ guards map and head, and is the only
// one that reads and writes in place take: shared, for one lookup. load_mu_ keeps loading and
// evicting apart, and is held over I/O. Cost of Find: one shared lock, O(log n) for n extents.
class LiveMap {
 public:
  struct Lookup {
    Extent extent;
    Layer* head;
  };

  LiveMap(const VolumeContext& context, VolumeState& state, const OpenState& opens,
          uint64_t size_bytes, Layer* head);
  LiveMap(const LiveMap&) = delete;
  LiveMap& operator=(const LiveMap&) = delete;

  // --- in memory or not ------------------------------------------------------------------------

  // Builds the map from the catalogs if it is not in memory, and keeps it there. kNotFound: the
  // volume was deleted and is open nowhere. kCorrupt: it is refused, or is from now on, as its map
  // cannot be so.
  Result<MapRefCount::Ref> Acquire() VOLFS_EXCLUDES(mu_, load_mu_);
  // Acquires the map for a request that reads or writes bytes.
  Result<IoScope> Begin() VOLFS_EXCLUDES(mu_, load_mu_);
  // Begin, and EnterWrite.
  Result<IoScope> BeginWrite() VOLFS_EXCLUDES(mu_, load_mu_);
  // Keeps what is in memory, and loads nothing.
  [[nodiscard]] MapRefCount::Ref Enter() { return uses_.Enter(); }
  [[nodiscard]] bool loaded() const { return uses_.loaded(); }
  void Set(ExtentMap map) VOLFS_EXCLUDES(mu_);  // of a volume just made
  // To evict a map: Look, then find out whether it may go, then Evict with that look. It
  // frees the map if it was not used for `idle`, as far as the calls of this tell, nor since the
  // look, and `may_go`; true if it has. `used`: the volume is in use in another way.
  [[nodiscard]] uint64_t Look() const { return uses_.Look(); }
  bool Evict(uint64_t look, bool used, bool may_go, Nanoseconds idle) VOLFS_EXCLUDES(mu_, load_mu_);

  // --- looking: inside the epoch, with a Use ---------------------------------------------------

  [[nodiscard]] uint64_t size_bytes() const { return size_bytes_.load(std::memory_order_acquire); }
  [[nodiscard]] Layer* head() const VOLFS_EXCLUDES(mu_);  // needs no Use
  [[nodiscard]] Lookup Find(uint64_t block) const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] ExtentMap Copy() const VOLFS_EXCLUDES(mu_);  // O(1)
  // Returns whether a block of `range` is still in a layer under the head.
  [[nodiscard]] bool AnyInherited(const BlockRange& range) const VOLFS_EXCLUDES(mu_);

  // --- changing: with a Use --------------------------------------------------------------------

  // Notes that `blocks` are in `head` (or are zeros) from now on, here and in its pending set.
  // Requires: their bytes are in its file, and the caller has their range lock inside the gate.
  void RecordWritten(const BlockRange& blocks, Layer* head, BlockState state) VOLFS_EXCLUDES(mu_);
  // `blocks` show what `image` has of them, and zeros past its end.
  void Show(const BlockRange& blocks, const ExtentMap& image) VOLFS_EXCLUDES(mu_);
  // Blocks of `range` that are in `from` are in `to` from now on; kHole: they read as zeros.
  void Redirect(const BlockRange& range, LayerRef from, LayerRef to) VOLFS_EXCLUDES(mu_);

  // One change of the size at a time: held by the caller of Grow or Cut.
  [[nodiscard]] Mutex& grow_mu() { return grow_mu_; }
  // A flat head's new blocks are in the head. Else they are a hole, which the first write of each
  // turns into "here". A no-op if it is not larger. Without a Use where the head is flat.
  void Grow(uint64_t size_bytes) VOLFS_EXCLUDES(mu_);
  // With the gate closed; `merged` (or nothing) is in the head from now on.
  void Cut(uint64_t size_bytes, const BlockRange& merged) VOLFS_EXCLUDES(mu_);

  // --- another head: with the gate closed ------------------------------------------------------

  // Writes and all else that relies on the head is inside; MapRefCount::Ref first.
  [[nodiscard]] Gate& gate() { return gate_; }
  static constexpr Nanoseconds kGatePatience = std::chrono::seconds(1);
  // Waits until the writes in flight have ended, and keeps new ones out until gate().Open(). kBusy
  // after `patience`: the gate is open.
  Status CloseGate(Nanoseconds patience = kGatePatience);
  // Puts `head` over the present one; returns what the map shows now.
  [[nodiscard]] ExtentMap PutOver(Layer* head) VOLFS_EXCLUDES(mu_);
  void Replace(Layer* head, ExtentMap map, uint64_t size_bytes) VOLFS_EXCLUDES(mu_);
  // The layer under the head, which has all of it by now, is the head.
  void Sink(Layer* under) VOLFS_EXCLUDES(mu_);
  // The head was made flat: all blocks are in it.
  void Flatten() VOLFS_EXCLUDES(mu_);

 private:
  Status Load() VOLFS_EXCLUDES(mu_, load_mu_);  // of a thread that has entered uses_

  const VolumeContext context_;
  VolumeState& state_;
  const OpenState& opens_;
  std::atomic<uint64_t> size_bytes_;
  Gate gate_;
  Mutex load_mu_;
  Mutex grow_mu_;

  // As of the last Evict.
  uint64_t last_look_ VOLFS_GUARDED_BY(load_mu_) = 0;
  Nanoseconds idle_since_ VOLFS_GUARDED_BY(load_mu_){0};

  alignas(64) MapRefCount uses_;  // on the cache line of the lock that most users take next
  mutable SharedMutex mu_;
  ExtentMap map_ VOLFS_GUARDED_BY(mu_);
  Layer* head_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
