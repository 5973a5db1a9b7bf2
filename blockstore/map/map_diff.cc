#include "blockstore/map/map_diff.h"

#include <algorithm>

namespace volfs {
namespace {

// Returns the extent that holds `block`: past the end of the map a hole without an end.
Extent ExtentAt(const ExtentMap& map, uint64_t block) {
  if (block < map.size()) return map.Find(block);
  return {block, UINT64_MAX - block, LayerRef::kHole};
}

}  // namespace

std::optional<MapDifference> NextDifference(const ExtentMap& before, const ExtentMap& after,
                                            uint64_t block) {
  while (block < after.size()) {
    const Extent was = ExtentAt(before, block);
    const Extent is = after.Find(block);
    const uint64_t end = std::min(was.end(), is.end());
    if (was.layer != is.layer) return MapDifference{{block, end - block}, was.layer, is.layer};
    block = end;
  }
  return std::nullopt;
}

}  // namespace volfs
