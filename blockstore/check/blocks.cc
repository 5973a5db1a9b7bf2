#include "blockstore/check/blocks.h"

#include <algorithm>
#include <cassert>

namespace volfs {

void BlockSet::Append(const BlockRange& range) {
  if (range.empty()) return;
  assert(ranges_.empty() || range.first >= ranges_.back().first);
  if (!ranges_.empty() && range.first <= ranges_.back().end()) {
    BlockRange& last = ranges_.back();
    last.count = std::max(last.end(), range.end()) - last.first;
    return;
  }
  ranges_.push_back(range);
}

uint64_t BlockSet::count() const {
  uint64_t blocks = 0;
  for (const BlockRange& range : ranges_) blocks += range.count;
  return blocks;
}

BlockSet BlockSet::Union(const BlockSet& other) const {
  BlockSet both;
  auto mine = ranges_.begin();
  auto theirs = other.ranges_.begin();
  while (mine != ranges_.end() || theirs != other.ranges_.end()) {
    const bool take_mine =
        theirs == other.ranges_.end() || (mine != ranges_.end() && mine->first <= theirs->first);
    both.Append(take_mine ? *mine++ : *theirs++);
  }
  return both;
}

BlockSet BlockSet::Intersection(const BlockSet& other) const {
  BlockSet common;
  auto theirs = other.ranges_.begin();
  for (const BlockRange& range : ranges_) {
    while (theirs != other.ranges_.end() && theirs->end() <= range.first) ++theirs;
    for (auto it = theirs; it != other.ranges_.end() && it->first < range.end(); ++it) {
      const uint64_t first = std::max(range.first, it->first);
      common.Append({first, std::min(range.end(), it->end()) - first});
    }
  }
  return common;
}

BlockSet BlockSet::Without(const BlockSet& other) const {
  BlockSet rest;
  auto theirs = other.ranges_.begin();
  for (const BlockRange& range : ranges_) {
    while (theirs != other.ranges_.end() && theirs->end() <= range.first) ++theirs;
    uint64_t at = range.first;
    for (auto it = theirs; it != other.ranges_.end() && it->first < range.end(); ++it) {
      if (it->first > at) rest.Append({at, it->first - at});
      at = std::max(at, it->end());
    }
    if (at < range.end()) rest.Append({at, range.end() - at});
  }
  return rest;
}

}  // namespace volfs
