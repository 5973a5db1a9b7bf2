#pragma once

#include "blockstore/base/error.h"
#include "blockstore/store/parts.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// Changes of a volume's head that also tell the tree of layers. Requires, for all of them: no other
// request changes the head meanwhile, because the caller has reserved the volume's lock as a source
// (CloneTable) or has closed the tree gate (LayerMerger).

// As Volume::FreezeHead. The caller gets a reference to the frozen layer. If the volume was open
// natively, waits a moment for a program that has just closed it, and tries again.
Result<Volume::FrozenHead> FreezeHead(StoreParts& parts, Volume& volume,
                                      const Volume::Extra& extra);
// Tells the tree of the new head after a snapshot point. `old` keeps its reference, which now
// belongs to a snapshot or hold.
void AdoptHead(StoreParts& parts, Volume& volume, Layer* old);
// As Volume::ReplaceHead, with a new head over `under`. Frees the space of the old head.
Status PutHeadOver(StoreParts& parts, Volume& volume, Layer* under, const Volume::NewHead& make,
                   Room room);

}  // namespace volfs
