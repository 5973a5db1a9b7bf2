#pragma once

#include <string>
#include <vector>

#include "blockstore/store/store.h"

namespace volfs {

// The texts that show all volumes, or all nodes, at a glance. Pure.

// control/status: NAME STATUS SIZE NODE TYPE HYDRATED SOURCE, a line a volume, in the order given;
// "-" for what is empty, no header. New columns are added at the end only.
std::string StatusText(const std::vector<VolumeInfo>& volumes);

// control/status.json: the same as an array of objects; null for what is empty.
std::string StatusJson(const std::vector<VolumeInfo>& volumes);

// control/types: NAME NODE[,NODE...] LEAST GREATEST, a line a type, by name. Nodes that offer one
// type with different sizes have a line for each pair of sizes.
std::string TypesText(const std::vector<NodeInfo>& nodes);

}  // namespace volfs
