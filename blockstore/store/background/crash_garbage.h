#pragma once

#include <memory>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/layer/reclaim.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// Frees the garbage that an unclean stop left in the layers: space that no reference reaches any
// more, and writes that were never committed. Recovery lists the layers, and the first node's
// maintainer frees the garbage. A mount that has not freed all of it does not count as ended in
// order, so that the next mount tries again.
//
// Thread-safety: Add and KeepSome before the background runs, Free by one thread at a time, gone
// from any thread. Locks: mu_, a leaf, not held over I/O.
class CrashGarbage {
 public:
  explicit CrashGarbage(Reclaimer& reclaimer) : reclaimer_(reclaimer) {}

  // Notes a layer that may hold writes which were never committed, or whose page cache may be
  // wrong. `volume` is the one whose head it was at the mount; null if it was no head.
  void Add(Id layer, std::shared_ptr<Volume> volume) VOLFS_EXCLUDES(mu_);
  // Notes that some garbage is kept until the next mount, so that gone() stays false.
  void KeepSome() VOLFS_EXCLUDES(mu_);

  // Frees the garbage that can be freed now. With `first`, for the first call, also frees
  // unreachable space. Cost: nothing once all is gone, else a pass over each layer that is left.
  void Free(bool first) VOLFS_EXCLUDES(mu_);
  // Returns whether all garbage of the crash has been freed.
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
  bool failed_ VOLFS_GUARDED_BY(mu_) = false;  // some garbage is left for the next mount
};

}  // namespace volfs
