#pragma once

#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/base/units.h"

namespace volfs {

// The volumes of one node that have work which no commit has recorded. A Committer puts its
// volume in, IdleCommitter takes it out: a thread that waits here costs nothing while nobody
// writes, however many volumes there are.
//
// Thread-safety: all methods from any thread; one thread waits. Locks: mu_, a leaf. Memory: an id
// for each volume that is noted (Committer::noted_), so at most as many as there are volumes.
class UnsyncedVolumes {
 public:
  void Add(Id volume) VOLFS_EXCLUDES(mu_);
  // Waits until there is one. False: stopped.
  bool Wait() VOLFS_EXCLUDES(mu_);
  // Waits for `pause`. False: stopped.
  bool Pause(Nanoseconds pause) VOLFS_EXCLUDES(mu_);
  // All of them; they are not in it any more.
  [[nodiscard]] std::vector<Id> Take() VOLFS_EXCLUDES(mu_);
  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  Mutex mu_;
  Condition changed_;  // not empty any more, or stopping_
  std::vector<Id> volumes_ VOLFS_GUARDED_BY(mu_);
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
};

}  // namespace volfs
