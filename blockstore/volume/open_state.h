#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/volume/state.h"

namespace volfs {

// Counts the opens of one volume, and keeps it from being opened while it is deleted or reverted.
// It says also whether a page cache of earlier opens may still be believed.
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

  // Returns kReadOnly if it may not be written, kNotFound if it is being deleted. Each success is
  // paired with one Remove. `creates`: this open has just made the volume, and may write it
  // whatever its mode says (open(2)).
  Status Add(Access access, bool creates = false) VOLFS_EXCLUDES(mu_);
  // May free the space of a deleted volume: the caller holds no lock.
  void Remove(Access access) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] int readers() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] int writers() const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool any() const VOLFS_EXCLUDES(mu_);
  // It is open, or being deleted or reverted.
  [[nodiscard]] bool busy() const VOLFS_EXCLUDES(mu_);

  // Keeps others from opening it until EndRevert. kBusy while it is open or being deleted.
  Status BeginRevert() VOLFS_EXCLUDES(mu_);
  void EndRevert() VOLFS_EXCLUDES(mu_);

  // Keeps others from opening it until AbortDelete. kBusy while it is open for writing.
  Status BeginDelete() VOLFS_EXCLUDES(mu_);
  void AbortDelete() VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool deleting() const VOLFS_EXCLUDES(mu_);
  // Requires: the deletion is durable. `gone` is called once it is open nowhere any more.
  void FinishDelete(std::function<void()> gone) VOLFS_EXCLUDES(mu_);

  // Grows whenever bytes change that the kernel did not see changing (a revert, a shrink): the next
  // open must not believe a page cache that is older.
  [[nodiscard]] uint64_t cache_epoch() const { return cache_epoch_.load(); }
  void AgeCaches() { cache_epoch_.fetch_add(1); }
  // The kernel has dropped all pages that are older than `epoch`.
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
