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
    // Nobody runs and nobody has started ours: it is for us to do.
    running_ = true;
    next_ = nullptr;  // those who ask from now on need a batch that starts later
  }
  Status result = batch();
  MutexLock lock(mu_);
  mine->result = result;
  mine->done = true;
  running_ = false;
  changed_.NotifyAll();
  return result;
}

Status SyncSlot::RunAlone(const Batch& batch) {
  {
    MutexLock lock(mu_);
    while (running_) changed_.Wait(mu_);
    running_ = true;
  }
  Status result = batch();
  MutexLock lock(mu_);
  running_ = false;
  changed_.NotifyAll();
  return result;
}

}  // namespace volfs
