#pragma once

#include <memory>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/layer/reclaim.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// What an unclean stop left in the layers: space that nothing reaches any more, and writes that
// were never committed. Recovery lists it, the first node's maintainer frees it. A mount that has
// not freed all of it does not count as ended in order, so that the next one tries again.
//
// Thread-safety: Add and KeepSome before the background runs, Free by one thread at a time, gone
// from any thread. Locks: mu_, a leaf, not held over I/O.
class CrashGarbage {
 public:
  explicit CrashGarbage(Reclaimer& reclaimer) : reclaimer_(reclaimer) {}

  // Notes a layer that may hold writes which were never committed, or whose page cache may be
  // wrong. `volume`: whose head it was at the mount; null if it was no head.
  void Add(Id layer, std::shared_ptr<Volume> volume) VOLFS_EXCLUDES(mu_);
  // Something is kept until the next mount, whatever Free does.
  void KeepSome() VOLFS_EXCLUDES(mu_);

  // Frees what can be freed now. `first`: the first call, which frees unreachable space too.
  // Cost: nothing once all is gone; else passes over the layers that are left.
  void Free(bool first) VOLFS_EXCLUDES(mu_);
  // All that the crash left has been freed.
  [[nodiscard]] bool gone() const VOLFS_EXCLUDES(mu_);

 private:
  struct Unpunched {
    Id layer = kNoId;
    std::shared_ptr<Volume> volume;
  };
  Result<bool> Punch(const Unpunched& what);

  Reclaimer& reclaimer_;
  mutable Mutex mu_;
  std::vector<Unpunched> unpunched_ VOLFS_GUARDED_BY(mu_);
  bool gone_ VOLFS_GUARDED_BY(mu_) = false;
  bool failed_ VOLFS_GUARDED_BY(mu_) = false;  // of something: for the next mount
};

}  // namespace volfs
