#pragma once

#include <cstdint>
#include <string>

namespace volfs {

// The options of the command line.
struct CutOptions {
  int cuts = 100;
  uint64_t seed = 0;       // 0: random
  std::string fs = "mix";  // "ext4", "xfs", or "mix": another pair for each set of rounds
  std::string keep = {};   // a directory that keeps the nodes' disks after a failure; "": none
  bool verbose = false;    // a line for each cut
};

// Returns the options of this process.
CutOptions& Options();

}  // namespace volfs
