#include "blockstore/sync/priority_ranges.h"

#include <algorithm>

namespace volfs {

void PriorityRanges::Add(uint64_t offset_bytes) {
  MutexLock lock(mu_);
  places_[added_++ % kMax] = offset_bytes;
  taken_ = std::max(taken_, added_ - std::min<uint64_t>(added_, kMax));
}

std::optional<uint64_t> PriorityRanges::Take() {
  MutexLock lock(mu_);
  if (taken_ == added_) return std::nullopt;
  return places_[taken_++ % kMax];
}

}  // namespace volfs
