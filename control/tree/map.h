#pragma once

#include <string>

#include "blockstore/store/store.h"

namespace volfs {

// The text of control/volumes/NAME/map: a line for each range, `OFFSET LENGTH STATE NODE LAYER`.
// OFFSET and LENGTH in bytes; STATE `data` or `zero`; NODE and LAYER (a file of that node's
// directory) are `-` where it is zero. Holes of a flat layer's file count as data here. One line
// that begins with `#` and says why, if the map cannot be had.
std::string MapText(Store& store, Volume& volume);

}  // namespace volfs
