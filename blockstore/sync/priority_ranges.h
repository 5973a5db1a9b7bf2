#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "blockstore/base/runtime.h"

namespace volfs {

// The places where readers of a clone have lately met blocks that are not on its node yet.
// Hydration copies these places first. They are hints: the oldest are forgotten when there are more
// than kMax, and a place that has been copied meanwhile does no harm.
//
// Units: bytes from the start of the clone. Thread-safety: all methods from any thread. Locks: mu_,
// a leaf. Cost of Add: one lock, paid only by reads that go to another node.
class PriorityRanges {
 public:
  void Add(uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  // Removes and returns the oldest place.
  [[nodiscard]] std::optional<uint64_t> Take() VOLFS_EXCLUDES(mu_);

 private:
  static constexpr size_t kMax = 64;

  Mutex mu_;
  std::array<uint64_t, kMax> places_ VOLFS_GUARDED_BY(mu_){};
  uint64_t added_ VOLFS_GUARDED_BY(mu_) = 0;  // in all; places_[n % kMax] is the n-th
  uint64_t taken_ VOLFS_GUARDED_BY(mu_) = 0;
};

}  // namespace volfs
