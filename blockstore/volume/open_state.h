#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/volume/state.h"

namespace volfs {

// Counts the opens of one volume, and keeps it from being opened while it is deleted or reverted.
// Also tells whether the kernel's page cache of earlier opens is still right.
//
// Invariants:
//   O1  while a volume is reverted, it is open nowhere;
//   O2  once BeginDelete has returned, and until AbortDelete, no open succeeds and it is not open
//       for writing;
//   O3  the callback of FinishDelete is called once, by the thread that ends the last open.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; the callback is called without
// it. Cost: one short lock.
class OpenState {
 public:
  enum class Access { kRead, kWrite };

  explicit OpenState(const VolumeState& state) : state_(state) {}
  OpenState(const OpenState&) = delete;
  OpenState& operator=(const OpenState&) = delete;

  // Counts an open. Returns kReadOnly if the volume may not be written, kNotFound if it is being
  // deleted, kBusy if it is being reverted. Each success is paired with one Remove. `creates` says
  // that this open has just made the volume, and may write it with any mode (open(2)).
  Status Add(Access access, bool creates = false) VOLFS_EXCLUDES(mu_);
  // Ends an open. May free the space of a deleted volume. Requires: the caller holds no lock.
  void Remove(Access access) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] int readers() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] int writers() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool any() const VOLFS_EXCLUDES(mu_);
  // Returns whether the volume is open, or is being deleted or reverted.
  [[nodiscard]] bool busy() const VOLFS_EXCLUDES(mu_);

  // Refuses all opens until EndRevert. Returns kBusy while it is open or being deleted.
  Status BeginRevert() VOLFS_EXCLUDES(mu_);
  void EndRevert() VOLFS_EXCLUDES(mu_);

  // Refuses all opens until AbortDelete. Returns kBusy while it is open for writing.
  Status BeginDelete() VOLFS_EXCLUDES(mu_);
  void AbortDelete() VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool deleting() const VOLFS_EXCLUDES(mu_);
  // Calls `gone` once the volume is open nowhere any more. Requires: the deletion is durable.
  void FinishDelete(std::function<void()> gone) VOLFS_EXCLUDES(mu_);

  // A number that grows with each change of bytes that the kernel does not see (a revert, a
  // shrink). The next open must drop a page cache that is older.
  [[nodiscard]] uint64_t cache_epoch() const { return cache_epoch_.load(); }
  void AgeCaches() { cache_epoch_.fetch_add(1); }
  // Notes that the kernel has dropped all pages that are older than `epoch`.
  void CacheDropped(uint64_t epoch) { dropped_cache_epoch_.store(epoch); }
  [[nodiscard]] uint64_t dropped_cache_epoch() const { return dropped_cache_epoch_.load(); }

 private:
  [[nodiscard]] int opens() const VOLFS_REQUIRES(mu_) { return readers_ + writers_; }

  const VolumeState& state_;
  std::atomic<uint64_t> cache_epoch_{0};
  std::atomic<uint64_t> dropped_cache_epoch_{0};

  mutable Mutex mu_;
  int readers_ VOLFS_GUARDED_BY(mu_) = 0;
  int writers_ VOLFS_GUARDED_BY(mu_) = 0;
  bool deleting_ VOLFS_GUARDED_BY(mu_) = false;
  bool reverting_ VOLFS_GUARDED_BY(mu_) = false;
  std::function<void()> gone_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
