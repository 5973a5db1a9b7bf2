#pragma once

#include <memory>

#include "blockstore/base/error.h"
#include "blockstore/layer/image.h"
#include "blockstore/store/parts.h"

namespace volfs {

// The map of a snapshot, loaded from the catalog unless a reader has it open. All that have it open
// share one. Requires: the caller is inside the tree gate of its node. kNotFound, kCorrupt, kIo.
Result<std::shared_ptr<const FrozenImage>> SnapshotImage(StoreParts& parts, Id id)
    VOLFS_EXCLUDES(parts.tables.mu);

}  // namespace volfs
