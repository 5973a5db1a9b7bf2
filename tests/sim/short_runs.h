#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/simulation.h"

namespace volfs::sim {

// Exhaustive short runs: every sequence of operations up to some length, from a store with one
// volume, with every possible failure at every single call.

struct ShortRuns {
  uint64_t sequences = 0;
  uint64_t recoveries = 0;
  std::vector<std::string> violations;  // each names its sequence, call and loss
};

// How many sequences of exactly `length` operations there are.
uint64_t SequenceCount(int length);
// "write,fsync"
std::string SequenceName(int length, uint64_t number);

// Power loss before every call of the sequence (and of the background, which gets time to finish
// after it), each keeping nothing, everything, all but one effect, and torn; recovery and
// comparison of each.
void CutEverywhere(int length, uint64_t number, ShortRuns& result);

// Each kind of fault at call N, for N = 0, 1, 2 ... until a run ends before the fault strikes; then
// a power loss, recovery and comparison.
void FaultEverywhere(int length, uint64_t number, ShortRuns& result);

}  // namespace volfs::sim
