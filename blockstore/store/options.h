#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "blockstore/base/runtime.h"
#include "blockstore/layer/open_files.h"
#include "blockstore/store/background/idle_committer.h"
#include "blockstore/sync/throttle.h"

namespace volfs {

// The options of one store. Constant while it is open.
struct StoreOptions {
  // All nodes are open for reading only (NodeAccess::kReadOnly), and nothing is written in the
  // background. After a crash the store shows the same as the next writing mount will, which tidies
  // up.
  bool read_only = false;
  bool hydrate = true;  // false: clones stay creating (offline tools, tests)
  // The first limit of copying, bytes per second. `control` sets 0 and applies the remembered
  // limits right after, so that nothing is copied before a pause of the last mount is in force
  // again.
  uint64_t copy_rate = Throttle::kUnlimited;
  // The most bytes that copying reads, or locks against users' first writes, at once. As large as a
  // FUSE request, so a user waits for one piece at most. A multiple of the block size.
  uint64_t copy_piece_bytes = uint64_t{1} << 20;
  bool allow_shrink = false;  // volumes may be made smaller
  bool native = false;        // new volumes have io=native
  bool merge = true;          // false: layers stay as they are (tests)
  // The most bytes that one commit of merging moves; a sixteenth of it while writers wait. A
  // multiple of 16 blocks.
  uint64_t merge_slice_bytes = uint64_t{16} << 20;
  // Unsynced work is committed once its volume was not written for so long (idle_committer.h);
  // kForever: only by age and amount.
  Nanoseconds commit_idle = IdleCommitter::kIdle;
  // A map that was not used for so long is evicted. The next use loads it again.
  Nanoseconds map_idle = std::chrono::minutes(1);
  // The most layer files that are open at once. Other files of the process do not count.
  size_t open_files = OpenFiles::kDefaultMax;
};

}  // namespace volfs
