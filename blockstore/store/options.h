#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "blockstore/base/runtime.h"
#include "blockstore/layer/open_files.h"
#include "blockstore/store/background/idle_committer.h"
#include "blockstore/sync/throttle.h"

namespace volfs {

struct StoreOptions {
  // The nodes are open for reading only (NodeAccess::kReadOnly): all of them, and nothing is
  // written in the background. What a crash left is shown as the next mount would, which tidies it
  // up.
  bool read_only = false;
  bool hydrate = true;  // false: clones stay creating (offline tools, tests)
  // The cap on copying at first. 0 where somebody applies the remembered limits right after
  // (control): nothing may be copied before a pause of the last mount is in force again.
  uint64_t copy_rate = Throttle::kUnlimited;
  // The most that copying reads, or locks against users' first writes, at once. As large as a FUSE
  // request: a user waits for one piece at most. A multiple of the block size.
  uint64_t copy_piece_bytes = uint64_t{1} << 20;
  bool allow_shrink = false;  // may volumes be made smaller?
  bool native = false;        // do new volumes have io=native?
  bool merge = true;          // false: layers stay as they are (tests)
  // What one commit of merging moves; the sixteenth part of it while writers wait. A multiple of
  // 16 blocks.
  uint64_t merge_slice_bytes = uint64_t{16} << 20;
  // What is not synced of a volume is committed when it was not written for so long
  // (idle_committer.h); kForever: only by age and amount.
  Nanoseconds commit_idle = IdleCommitter::kIdle;
  // A map that nobody has used for so long is given back; it is loaded again at the next use.
  Nanoseconds map_idle = std::chrono::minutes(1);
  // Of layers, open at once. What else the process has open is not counted.
  size_t open_files = OpenFiles::kDefaultMax;
};

}  // namespace volfs
