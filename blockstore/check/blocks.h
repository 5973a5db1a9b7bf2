#pragma once

#include <cstdint>
#include <vector>

#include "blockstore/base/units.h"

namespace volfs {

// A set of blocks as sorted ranges, for check*.cc: kept simple, and independent of the bitmaps that
// the store itself computes with.
//
// Invariant: ranges are ascending, not empty, and do not touch. Thread-safety: as an int.
class BlockSet {
 public:
  // Requires: `range` begins at or after the begin of the last one.
  void Append(const BlockRange& range);
  [[nodiscard]] const std::vector<BlockRange>& ranges() const { return ranges_; }
  [[nodiscard]] bool empty() const { return ranges_.empty(); }
  [[nodiscard]] uint64_t count() const;
  [[nodiscard]] uint64_t end() const { return ranges_.empty() ? 0 : ranges_.back().end(); }

  [[nodiscard]] BlockSet Union(const BlockSet& other) const;
  [[nodiscard]] BlockSet Intersection(const BlockSet& other) const;
  [[nodiscard]] BlockSet Without(const BlockSet& other) const;

 private:
  std::vector<BlockRange> ranges_;
};

}  // namespace volfs
