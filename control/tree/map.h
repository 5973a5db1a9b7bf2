#pragma once

#include <string>

#include "blockstore/store/store.h"

namespace volfs {

// Returns the text of control/volumes/NAME/map: one line per range, `OFFSET LENGTH STATE NODE
// LAYER SNAPSHOT`. OFFSET and LENGTH are in bytes. STATE is `data` or `zero`. NODE and LAYER (a
// file of that node's directory) are `-` for `zero`. SNAPSHOT is the newest one that the layer is
// the upper one of, `VOLUME@SNAP`, or `-`. Holes of a flat layer's file count as data here. If the
// map cannot be read, the text is one line that begins with `#` and says why.
std::string MapText(Store& store, Volume& volume);
// Returns the text of control/snapshots/V/S/map. Loads the map from the catalog unless a reader has
// the snapshot open.
std::string MapText(Store& store, const SnapshotInfo& snapshot);

}  // namespace volfs
