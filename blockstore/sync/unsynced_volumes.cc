#include "blockstore/sync/unsynced_volumes.h"

#include <utility>

namespace volfs {

void UnsyncedVolumes::Add(Id volume) {
  MutexLock lock(mu_);
  volumes_.push_back(volume);
  if (volumes_.size() == 1) changed_.NotifyAll();
}

bool UnsyncedVolumes::Wait() {
  MutexLock lock(mu_);
  while (volumes_.empty() && !stopping_) changed_.Wait(mu_);
  return !stopping_;
}

bool UnsyncedVolumes::Pause(Nanoseconds pause) {
  MutexLock lock(mu_);
  const Nanoseconds deadline = MonotonicNow() + pause;
  while (!stopping_ && MonotonicNow() < deadline) (void)changed_.WaitUntil(mu_, deadline);
  return !stopping_;
}

std::vector<Id> UnsyncedVolumes::Take() {
  MutexLock lock(mu_);
  return std::exchange(volumes_, {});
}

void UnsyncedVolumes::Stop() {
  MutexLock lock(mu_);
  stopping_ = true;
  changed_.NotifyAll();
}

}  // namespace volfs
