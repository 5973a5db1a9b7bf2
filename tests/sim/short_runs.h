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

// Returns the number of sequences of exactly `length` operations.
uint64_t SequenceCount(int length);
// Returns a name such as "write,fsync".
std::string SequenceName(int length, uint64_t number);

// Loses power before every call of the sequence, and of the background after it. Each loss keeps
// nothing, everything, all but one effect, or torn data. Recovers and compares each time.
void CutEverywhere(int length, uint64_t number, ShortRuns& result);

// Injects each kind of fault at call N, for N = 0, 1, 2 ... until a run ends before the fault
// strikes. Then loses power, recovers and compares.
void FaultEverywhere(int length, uint64_t number, ShortRuns& result);

}  // namespace volfs::sim
