#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "blockstore/base/runtime.h"

namespace volfs {

// Where readers of a clone have lately found what is not on its node yet. Hydration copies these
// places first. A hint and no more: old places are forgotten when there are too many, and nobody
// minds one that has been copied meanwhile.
//
// Units: bytes. Thread-safety: all methods from any thread. Locks: mu_, a leaf. Cost of Add: one
// lock, on the path of reads that go to another node anyway.
class PriorityRanges {
 public:
  void Add(uint64_t offset_bytes) VOLFS_EXCLUDES(mu_);
  // The oldest place, which is forgotten.
  [[nodiscard]] std::optional<uint64_t> Take() VOLFS_EXCLUDES(mu_);

 private:
  static constexpr size_t kMax = 64;

  Mutex mu_;
  std::array<uint64_t, kMax> places_ VOLFS_GUARDED_BY(mu_){};
  uint64_t added_ VOLFS_GUARDED_BY(mu_) = 0;  // in all; places_[n % kMax] is the n-th
  uint64_t taken_ VOLFS_GUARDED_BY(mu_) = 0;
};

}  // namespace volfs
