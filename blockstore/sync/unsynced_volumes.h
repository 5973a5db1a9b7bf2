#pragma once

#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/base/units.h"

namespace volfs {

// The volumes of one node that have work which no commit has recorded. A Committer adds its volume,
// and the thread of IdleCommitter takes it out. While no volume is written that thread sleeps,
// however many volumes there are.
//
// Thread-safety: all methods from any thread; one thread waits. Locks: mu_, a leaf. Memory: one id
// for each volume in it, as Committer::noted_ keeps a volume from being added twice.
class UnsyncedVolumes {
 public:
  void Add(Id volume) VOLFS_EXCLUDES(mu_);
  // Waits until there is a volume. Returns false after Stop.
  bool Wait() VOLFS_EXCLUDES(mu_);
  // Waits for `pause`. Returns false after Stop.
  bool Pause(Nanoseconds pause) VOLFS_EXCLUDES(mu_);
  // Removes and returns all volumes.
  [[nodiscard]] std::vector<Id> Take() VOLFS_EXCLUDES(mu_);
  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  Mutex mu_;
  Condition changed_;  // not empty any more, or stopping_
  std::vector<Id> volumes_ VOLFS_GUARDED_BY(mu_);
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
};

}  // namespace volfs
