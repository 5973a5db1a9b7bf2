#pragma once

#include <cstdint>

#include "blockstore/base/runtime.h"
#include "blockstore/base/units.h"
#include "blockstore/volume/volume.h"

struct fuse_session;

namespace volfs {

// Has the kernel write out the stores of programs into mappings of an image (mmap, MAP_SHARED).
// Until then they lie in the kernel's page cache: read(2) shows them, and the volume knows nothing
// of them. So a handler that tells of holes (lseek, stat of an image without a block,
// copy_file_range) has the pages written out first where a store may hide.
//
// The kernel drops the pages of the range, too. A hole costs nothing to read again, so handlers ask
// for ranges that are holes where that will do.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf.
class MappedPages {
 public:
  // Says whether an image may have such pages. The kernel does not tell of a mapping. But a mapping
  // that can be stored to needs a descriptor that can write, and where the kernel serves the image
  // by itself (io=native) it is of the layer's file, whose filesystem knows of the stores.
  [[nodiscard]] static bool MayExist(Volume& volume) {
    return volume.opens().writers() > 0 && !volume.native().active();
  }

  void Start(fuse_session* session) VOLFS_EXCLUDES(mu_);
  // Waits until the kernel has written out its pages of `range`. Returns at once for an image that
  // the kernel does not know, and after Stop.
  //
  // Requires: a thread that serves no WRITEs (NodeLimiter::mapped), as the kernel sends some and
  // waits for them, and no lock held. An unanswered request for the image is no obstacle, but for a
  // SETATTR: the kernel holds writing out back for as long as that takes.
  void WriteOut(uint64_t ino, const ByteRange& range) VOLFS_EXCLUDES(mu_);
  // Waits, for kPatience at most, for the calls of WriteOut that are under way. Requires: the
  // session still serves.
  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  static constexpr Nanoseconds kPatience = std::chrono::seconds(2);

  Mutex mu_;
  Condition changed_;
  fuse_session* session_ VOLFS_GUARDED_BY(mu_) = nullptr;  // null: not begun, or stopped
  int under_way_ VOLFS_GUARDED_BY(mu_) = 0;
};

}  // namespace volfs
