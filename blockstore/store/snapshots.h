#pragma once

#include <memory>

#include "blockstore/base/error.h"
#include "blockstore/layer/image.h"
#include "blockstore/store/parts.h"

namespace volfs {

// Returns the image of a snapshot, which all its readers share. Loads its map from the catalogs if
// no reader has it open. Requires: the caller is inside the tree gate of the snapshot's node.
// Returns kNotFound, kCorrupt or kIo.
Result<std::shared_ptr<const FrozenImage>> SnapshotImage(StoreParts& parts, Id id)
    VOLFS_EXCLUDES(parts.tables.mu);

}  // namespace volfs
