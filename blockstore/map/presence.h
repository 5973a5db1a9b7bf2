#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <vector>

#include "blockstore/base/units.h"

// Part of the format (FORMAT.md). Smaller, a multiple of 32, only in the simulation, whose volumes
// would else never have a second chunk.
#ifndef VOLFS_PRESENCE_CHUNK_BLOCKS
#define VOLFS_PRESENCE_CHUNK_BLOCKS 4096
#endif

namespace volfs {

// A run of blocks of one layer with one state.
struct PresenceRun {
  uint64_t first = 0;
  uint64_t count = 0;
  BlockState state = BlockState::kAbsent;
  [[nodiscard]] uint64_t end() const { return first + count; }
  friend bool operator==(const PresenceRun&, const PresenceRun&) = default;
};

// A sparse set of runs, sorted, disjoint, neighbours of one state merged. A block without a run is
// "not said", which differs from kAbsent, as a run may say kAbsent.
//
// Used for a layer's pending set (blocks made present or zero since the last commit). Pure; no lock
// of its own. Units: blocks. Invariants, checked by CheckInvariants() (tests cite the numbers):
//   R1  runs are sorted, disjoint, and none is empty;
//   R2  runs that touch have different states;
//   R3  block_count() is the sum of their counts.
// Cost: Set O(log n + k) for k runs touched, O(1) at or after the last run; 64 bytes a run.
class PresenceRuns {
 public:
  void Set(const BlockRange& range, BlockState state);
  void Merge(const PresenceRuns& newer);  // the runs of `newer` win
  [[nodiscard]] bool empty() const { return runs_.empty(); }
  [[nodiscard]] size_t run_count() const { return runs_.size(); }
  [[nodiscard]] uint64_t block_count() const { return blocks_; }
  void Clear();
  void ForEach(const std::function<void(const PresenceRun&)>& visit) const;  // ascending
  void CheckInvariants() const;  // aborts with the number of the broken one; O(n)

 private:
  struct Tail {
    uint64_t count;
    BlockState state;
  };
  using Runs = std::map<uint64_t, Tail>;  // by first block

  // Nothing is said of `range` any more; returns the first run after it.
  Runs::iterator Cut(const BlockRange& range);

  Runs runs_;
  uint64_t blocks_ = 0;  // the sum of all counts
};

// The presence of kChunkBlocks consecutive blocks, two bits a block, as it is stored in the
// catalog (FORMAT.md, "presence"). Block i of the chunk is in bits 2*(i%4) of byte i/4.
//
// Invariant: no block has the state 3. Thread-safety: as an int. Cost: O(blocks of the range / 4);
// whole-chunk operations look at 32 blocks at once.
class PresenceChunk {
 public:
  static constexpr uint64_t kChunkBlocks = VOLFS_PRESENCE_CHUNK_BLOCKS;
  static constexpr size_t kBytes = kChunkBlocks / 4;

  explicit PresenceChunk(BlockState uniform = BlockState::kAbsent);
  // Requires: range within [0, kChunkBlocks).
  void Set(const BlockRange& range, BlockState state);
  [[nodiscard]] BlockState Get(uint64_t index) const;
  // True and the state if all blocks have the same one.
  [[nodiscard]] bool IsUniform(BlockState* state) const;
  // Runs ascending, with `base` added to their first block; kAbsent runs are left out.
  void ForEachRun(uint64_t base, const std::function<void(const PresenceRun&)>& visit) const;

  // Blocks that are not absent in `other` become not absent here (kZero); the union, used for
  // "hidden by" (reclaim.h). And: absent here where absent in `other`.
  void UniteCovered(const PresenceChunk& other);
  void IntersectCovered(const PresenceChunk& other);

  // The stored bytes. FromBytes: false if the size is not kBytes or a block has the state 3.
  [[nodiscard]] const std::vector<uint8_t>& bytes() const { return bits_; }
  [[nodiscard]] bool FromBytes(const uint8_t* data, size_t size);

 private:
  std::vector<uint8_t> bits_;
};

// Adds to `parts` the whole chunks that `run` touches, as blocks; parts that touch become one.
// Requires: no run that was added before begins behind this one.
void AddWholeChunks(const BlockRange& run, std::vector<BlockRange>& parts);

}  // namespace volfs
