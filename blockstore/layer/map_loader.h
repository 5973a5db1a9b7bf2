#pragma once

#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/layer/layer_table.h"
#include "blockstore/map/extent_map.h"

namespace volfs {

// Builds the map of what is visible through `top` from the committed presence of its chain of
// layers, the lowest first. Iterative: a chain may be long, and may go on on another node.
//
// Requires: nothing of `top` is pending (a frozen layer, or a head that was not written since the
// mount). Cost: one pass over the presence of every layer of the chain.
// Errors: kCorrupt if a parent is neither known nor registered as missing, or if a layer's presence
// is damaged or past its end (that layer's node is not trusted any more then); those of the
// catalogs.
Result<ExtentMap> LoadMap(const LayerTable& layers, Layer* top, uint32_t block_size);

// What `top` and the layers under it take on the nodes that are mounted; at most `size_bytes` in
// blocks if there are several, as one layer may hide data of another. Inside the epoch, or where
// something keeps `top`.
Result<uint64_t> ChainBytes(const LayerTable& layers, Layer* top, uint64_t size_bytes,
                            uint32_t block_size);

// `top` and what lies under it, the top first.
Result<std::vector<Layer*>> LayerChain(const LayerTable& layers, Layer* top);

}  // namespace volfs
