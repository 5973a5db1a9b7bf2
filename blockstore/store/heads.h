#pragma once

#include "blockstore/base/error.h"
#include "blockstore/store/parts.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// Changes of a volume's head of which the tree of layers learns. The caller has reserved the
// volume's lock as a source (CloneTable), so that nothing else changes its head.

// Volume::FreezeHead; the reference to what it froze is the caller's. Tries for a moment longer
// where a program that has the volume open natively has just closed it.
Result<Volume::FrozenHead> FreezeHead(StoreParts& parts, Volume& volume,
                                      const Volume::Extra& extra);
// After a snapshot point: the tree knows the new head; `old` keeps its reference, which is now that
// of a snapshot or hold.
void AdoptHead(StoreParts& parts, Volume& volume, Layer* old);
// Volume::ReplaceHead by one over `under`; the old head's space is freed.
Status PutHeadOver(StoreParts& parts, Volume& volume, Layer* under, const Volume::NewHead& make,
                   Room room);

}  // namespace volfs
