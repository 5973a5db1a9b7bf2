#pragma once

#include <functional>
#include <memory>
#include <utility>

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
  // Has the slot until it is destroyed: no batch runs but those that its owner makes. Functions
  // that may run in the slot only take one. Another thread may destroy it.
  class [[nodiscard]] Exclusive {
   public:
    Exclusive(Exclusive&& other) noexcept : slot_(std::exchange(other.slot_, nullptr)) {}
    Exclusive& operator=(Exclusive&&) = delete;
    ~Exclusive() {
      if (slot_ != nullptr) slot_->Leave();
    }

   private:
    friend class SyncSlot;
    explicit Exclusive(SyncSlot* slot) : slot_(slot) {}
    SyncSlot* slot_;
  };
  using Batch = std::function<Status(const Exclusive&)>;

  // Runs `batch`, or waits for one that another caller runs for us; its result.
  Status Run(const Batch& batch) VOLFS_EXCLUDES(mu_);

  // Waits for the batch that runs, then keeps others from running. Callers of Run meanwhile are
  // served by a later batch. For operations that change what a batch would write (snapshot,
  // flattening).
  Exclusive Take() VOLFS_EXCLUDES(mu_);

 private:
  void Leave() VOLFS_EXCLUDES(mu_);

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
