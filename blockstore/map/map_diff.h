#pragma once

#include <cstdint>
#include <optional>

#include "blockstore/map/extent_map.h"

namespace volfs {

// A run of blocks that two maps resolve to different layers.
struct MapDifference {
  BlockRange blocks;
  LayerRef before = LayerRef::kHole;
  LayerRef after = LayerRef::kHole;
};

// Returns the first run at or after `block` that the maps of two images, `before` and `after`,
// resolve to different layers, each of them to one. Blocks past the end of `before` count as a hole
// there. Returns nothing if no such run follows below the end of `after`.
//
// Blocks that both maps resolve to one layer hold the same bytes in both images: block N of an
// image lies at offset N of its layer, so both read the same bytes of the same file. The reverse
// does not hold. Merging, hydration and reverting move a block to another layer and keep its bytes,
// so a run may be returned that holds the same bytes in both. Such a run is more to copy. A changed
// block is never left out.
//
// Requires: at one moment both maps named only living layers, as a LayerRef is used again. That
// holds if the layers of one map have been kept since before the other map was taken.
// Cost: O(log n) for each extent that it passes. Pure.
std::optional<MapDifference> NextDifference(const ExtentMap& before, const ExtentMap& after,
                                            uint64_t block);

}  // namespace volfs
