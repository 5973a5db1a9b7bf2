#pragma once

#include <cstdint>
#include <string>

namespace volfs {

// The options of the command line.
struct CutOptions {
  int cuts = 100;
  uint64_t seed = 0;       // 0: by chance
  std::string fs = "mix";  // "ext4", "xfs", or "mix": each set of rounds another pair
  std::string keep = {};   // a directory for the nodes' disks as a failure has found them; "": none
  bool verbose = false;    // a line for each cut
};

// Those of this process.
CutOptions& Options();

}  // namespace volfs
