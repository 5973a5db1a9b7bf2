#pragma once

#include <functional>
#include <memory>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"

namespace volfs {

// Group commit of one volume: at most one batch runs at a time, and those who ask while it runs
// share the next one.
//
// A batch makes durable everything that was complete when it *started*; so a caller is served only
// by a batch that starts after the call, and nobody returns before the batches that started earlier
// have ended (they may have taken blocks that this caller must see durable).
//
// Thread-safety: all methods from any thread. Locks: mu_, not held while a batch runs.
class SyncSlot {
 public:
  using Batch = std::function<Status()>;

  // Runs `batch`, or waits for one that another caller runs for us; its result.
  Status Run(const Batch& batch) VOLFS_EXCLUDES(mu_);

  // Runs `batch` alone: those who ask meanwhile are served by a later one. For operations that
  // change what a batch would write (snapshot, flattening).
  Status RunAlone(const Batch& batch) VOLFS_EXCLUDES(mu_);

 private:
  // One batch and those who wait for it; shared_ptr, as the last of them to look frees it.
  struct Shared {
    bool done = false;
    Status result = OkStatus();
  };

  Mutex mu_;
  Condition changed_;
  bool running_ VOLFS_GUARDED_BY(mu_) = false;
  std::shared_ptr<Shared> next_ VOLFS_GUARDED_BY(mu_);  // asked for, not started; null: none
};

}  // namespace volfs
