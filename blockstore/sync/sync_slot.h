#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"

namespace volfs {

// Group commit of one volume: at most one batch runs at a time, and callers that ask while it runs
// share the next one.
//
// A batch makes durable everything that was complete when it *started*. So a caller is served only
// by a batch that starts after the call. A caller also waits for the batches that started earlier,
// as they may have taken blocks that the caller must see durable.
//
// Thread-safety: all methods from any thread. Locks: mu_, not held while a batch runs.
class SyncSlot {
 public:
  // Holds the slot while it lives: only its owner may make batches. A function that may run only in
  // the slot takes one as a parameter. Another thread may destroy it.
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

  // Runs `batch`, or waits for one that another caller runs and that starts after the call. Returns
  // the result of that batch. A closure and no guard, as the callers that wait must get a result: a
  // guard could end without one.
  Status Run(const Batch& batch) VOLFS_EXCLUDES(mu_);

  // Waits for the batch that runs, then keeps others from running. Callers of Run meanwhile are
  // served by a later batch. For operations that change the contents of a batch (a snapshot, the
  // flattening of a clone).
  Exclusive Take() VOLFS_EXCLUDES(mu_);

 private:
  void Leave() VOLFS_EXCLUDES(mu_);

  // The outcome of one batch. Shared by all callers that wait for it; the last one frees it.
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
