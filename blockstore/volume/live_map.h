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

// Tells where the blocks of one volume are: its extent map, the head, which is the layer that is
// written, and the size. The map is loaded from the catalogs on demand, and evicted after a time
// without use.
//
// Invariants:
//   V1  every map entry names a layer of this volume's chain, or LayerRef::kHole;
//   V2  a block is mapped to the head only after its bytes are in the head's file;
//   V4  size_bytes() <= map size * block size, and the head layer's size is size_bytes();
//   V5  a thread that reads or changes the map holds a MapRefCount::Ref. It takes the Ref before it
//       loads the map, and keeps it until its change is in the map and, as pending, in the layers.
//       A batch holds one, too. So where a map is not in memory, the catalogs say all that it
//       would.
//
// Units: blocks, and bytes where a name ends in _bytes. Thread-safety: all methods from any thread.
// The head is replaced behind the closed gate. Locks, in order: gate() > load_mu_ > grow_mu() >
// mu_. mu_ guards map and head; reads and writes in place take it alone, shared, for one lookup.
// load_mu_ keeps loading and evicting apart, and is held over I/O. Cost of Find: one shared lock,
// O(log n) for n extents. Nothing here is durable: the pending sets of the layers are for Committer
// to record.
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

  // Loads the map if it is not in memory, and keeps it there while the Ref lives. kNotFound: the
  // volume was deleted and is open nowhere. kCorrupt: the volume is refused, perhaps from now on,
  // because the rows of its map contradict each other.
  Result<MapRefCount::Ref> Acquire() VOLFS_EXCLUDES(mu_, load_mu_);
  // Acquires the map for a request that reads or writes bytes.
  Result<IoScope> Begin() VOLFS_EXCLUDES(mu_, load_mu_);
  // As Begin, followed by EnterWrite.
  Result<IoScope> BeginWrite() VOLFS_EXCLUDES(mu_, load_mu_);
  // Keeps a loaded map in memory, but loads none.
  [[nodiscard]] MapRefCount::Ref Enter() { return ref_count_.Enter(); }
  [[nodiscard]] bool loaded() const { return ref_count_.loaded(); }
  void Set(ExtentMap map) VOLFS_EXCLUDES(mu_);  // for a new volume
  // To evict a map, a caller takes a Look, then finds out whether the map may go, then calls Evict
  // with that look. Evict frees the map and returns true if `may_go` and the map was not used since
  // the look, nor at any call of Evict in the last `idle`. `used` says that the volume is in use in
  // another way.
  [[nodiscard]] uint64_t Look() const { return ref_count_.Look(); }
  bool Evict(uint64_t look, bool used, bool may_go, Nanoseconds idle) VOLFS_EXCLUDES(mu_, load_mu_);

  // --- looking: inside the epoch, with a Ref ---------------------------------------------------

  [[nodiscard]] uint64_t size_bytes() const { return size_bytes_.load(std::memory_order_acquire); }
  [[nodiscard]] Layer* head() const VOLFS_EXCLUDES(mu_);  // needs no Ref
  // Returns the whole extent that holds `block`, and the head of that moment. Past the end of the
  // map there is a hole.
  [[nodiscard]] Lookup Find(uint64_t block) const VOLFS_EXCLUDES(mu_);
  struct Sized {
    ExtentMap map;
    uint64_t size_bytes;
  };
  [[nodiscard]] Sized Copy() const VOLFS_EXCLUDES(mu_);  // of one moment; O(1)
  // Returns whether a block of `range` is still in a layer under the head.
  [[nodiscard]] bool AnyInherited(const BlockRange& range) const VOLFS_EXCLUDES(mu_);

  // --- changing: with a Ref --------------------------------------------------------------------

  // Notes in the map and in the pending set of `head` that `blocks` are in `head`, or are zeros.
  // Requires: their bytes are in its file, and the caller is inside the gate with their range lock.
  void RecordWritten(const BlockRange& blocks, Layer* head, BlockState state) VOLFS_EXCLUDES(mu_);
  // Makes `blocks` show the same as in `image`, and zeros past its end.
  void Show(const BlockRange& blocks, const ExtentMap& image) VOLFS_EXCLUDES(mu_);
  // Maps the blocks of `range` that are in `from` to `to` instead; with kHole they read as zeros.
  void Redirect(const BlockRange& range, LayerRef from, LayerRef to) VOLFS_EXCLUDES(mu_);

  // Held by the caller of Grow or Cut, so that one thread at a time changes the size.
  [[nodiscard]] Mutex& grow_mu() { return grow_mu_; }
  // Grows size and map; does nothing if `size_bytes` is not larger. New blocks are in the head if
  // it is flat, else they are a hole. Needs no Ref where the head is flat.
  void Grow(uint64_t size_bytes) VOLFS_EXCLUDES(mu_);
  // Shrinks size and map, and maps `merged`, which may be empty, to the head. Requires: the gate is
  // closed.
  void Cut(uint64_t size_bytes, const BlockRange& merged) VOLFS_EXCLUDES(mu_);

  // --- another head: with the gate closed ------------------------------------------------------

  // Writes, and all other work that relies on the head, are inside. They take their Ref before.
  [[nodiscard]] Gate& gate() { return gate_; }
  static constexpr Nanoseconds kGatePatience = std::chrono::seconds(1);
  // Waits until the writes in flight have ended, and keeps new ones out while the Closure exists.
  // Returns kBusy, with the gate open, if they have not ended after `patience`.
  Result<Gate::Closure> CloseGate(Nanoseconds patience = kGatePatience);
  // Makes `head`, an empty layer over the present head, the head. Returns a copy of the map.
  [[nodiscard]] ExtentMap PutOver(Layer* head) VOLFS_EXCLUDES(mu_);
  // Puts head, map and size in the place of the present ones.
  void Replace(Layer* head, ExtentMap map, uint64_t size_bytes) VOLFS_EXCLUDES(mu_);
  // Makes `under`, which has all blocks of the head by now, the head.
  void Sink(Layer* under) VOLFS_EXCLUDES(mu_);
  // Maps all blocks to the head, which was made flat.
  void Flatten() VOLFS_EXCLUDES(mu_);

 private:
  Status Load() VOLFS_EXCLUDES(mu_, load_mu_);  // requires: the caller has a Ref

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

  alignas(64) MapRefCount ref_count_;  // on the cache line of the lock that most users take next
  mutable SharedMutex mu_;
  ExtentMap map_ VOLFS_GUARDED_BY(mu_);
  Layer* head_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
