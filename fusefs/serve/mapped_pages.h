#pragma once

#include <cstdint>

#include "blockstore/base/runtime.h"
#include "blockstore/base/units.h"
#include "blockstore/volume/volume.h"

struct fuse_session;

namespace volfs {

// Has the kernel write out what programs have stored into mappings of an image (mmap, MAP_SHARED).
// Until then it lies in the kernel's page cache: read(2) shows it, and the volume knows nothing of
// it. So before the volume is asked whether there is data (lseek, an image without a block,
// copy_file_range) what may hide a store is written out.
//
// The kernel drops the pages of the range, too; a hole costs nothing to read again, so ranges that
// are holes are asked for where that will do.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf.
class MappedPages {
 public:
  // May an image have such pages? Nobody tells of a mapping; but one that can be stored to needs a
  // descriptor that can write, and where the kernel serves the image by itself (io=native) it is of
  // the layer's file, whose filesystem knows what is stored.
  [[nodiscard]] static bool MayExist(Volume& volume) {
    return volume.opens().writers() > 0 && !volume.native().active();
  }

  void Start(fuse_session* session) VOLFS_EXCLUDES(mu_);
  // Returns when the kernel has written out what it had of `range`; of an image that it does not
  // know, or after Stop, at once.
  //
  // It sends WRITEs and waits for them, so only on a thread that serves none (NodeLimiter::mapped),
  // and with no lock held. That a request for the image has not been answered is no obstacle, but
  // for a SETATTR: the kernel holds writing out back for as long as that takes.
  void WriteOut(uint64_t ino, const ByteRange& range) VOLFS_EXCLUDES(mu_);
  // While the session still serves: waits, for kPatience at most, for those that are under way.
  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  static constexpr Nanoseconds kPatience = std::chrono::seconds(2);

  Mutex mu_;
  Condition changed_;
  fuse_session* session_ VOLFS_GUARDED_BY(mu_) = nullptr;  // null: not begun, or stopped
  int under_way_ VOLFS_GUARDED_BY(mu_) = 0;
};

}  // namespace volfs
