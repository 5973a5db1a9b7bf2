#pragma once

#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/layer/layer_table.h"
#include "blockstore/map/extent_map.h"

namespace volfs {

// Builds the map of the blocks that are visible through `top` from the committed presence of its
// chain of layers, the lowest first. Iterative: a chain may be long, and may continue on another
// node.
//
// Requires: nothing of `top` is pending (a frozen layer, or a head that was not written since the
// mount). Cost: one pass over the presence of every layer of the chain. Errors: kCorrupt if a
// parent is neither known nor registered as missing, or if a layer's presence is damaged or past
// its end (that layer's node is then no longer trusted); those of the catalogs.
Result<ExtentMap> LoadMap(const LayerTable& layers, Layer* top, uint32_t block_size);

// Returns the bytes that `top` and the layers under it allocate on mounted nodes. With several
// layers it is at most `size_bytes` in whole blocks, as one layer may hide data of another.
// Requires: the caller is in the epoch, or a reference keeps `top`.
Result<uint64_t> ChainBytes(const LayerTable& layers, Layer* top, uint64_t size_bytes,
                            uint32_t block_size);

// Returns `top` and the layers under it, the top first.
Result<std::vector<Layer*>> LayerChain(const LayerTable& layers, Layer* top);

}  // namespace volfs
