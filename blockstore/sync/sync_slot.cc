#include "blockstore/sync/sync_slot.h"

namespace volfs {

Status SyncSlot::Run(const Batch& batch) {
  std::shared_ptr<Shared> mine;
  {
    MutexLock lock(mu_);
    if (next_ == nullptr) next_ = std::make_shared<Shared>();
    mine = next_;
    while (!mine->done && running_) changed_.Wait(mu_);
    if (mine->done) return mine->result;
    // No batch runs, and the one that serves this caller has not started: this caller runs it.
    running_ = true;
    next_ = nullptr;  // later callers need a batch that starts later
  }
  Exclusive alone(this);
  Status result = batch(alone);
  alone.slot_ = nullptr;  // the slot is left below, under one lock with the result
  MutexLock lock(mu_);
  mine->result = result;
  mine->done = true;
  running_ = false;
  changed_.NotifyAll();
  return result;
}

SyncSlot::Exclusive SyncSlot::Take() {
  MutexLock lock(mu_);
  while (running_) changed_.Wait(mu_);
  running_ = true;
  return Exclusive(this);
}

void SyncSlot::Leave() {
  MutexLock lock(mu_);
  running_ = false;
  changed_.NotifyAll();
}

}  // namespace volfs
