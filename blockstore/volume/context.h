#pragma once

#include <cstdint>

#include "blockstore/layer/layer_table.h"
#include "blockstore/sync/epoch.h"

namespace volfs {

// The objects that all volumes of one store share.
struct VolumeContext {
  LayerTable& layers;
  Epoch& epoch;
  uint32_t block_size;
};

}  // namespace volfs
