#pragma once

#include <string>
#include <vector>

#include "blockstore/store/store.h"

namespace volfs {

// The texts that show all volumes, or all nodes, at a glance. Pure.

// Returns control/status: NAME STATUS SIZE NODE TYPE HYDRATED SOURCE, one line per volume, in the
// order given. "-" stands for an empty value; there is no header. New columns are added at the end
// only.
std::string StatusText(const std::vector<VolumeInfo>& volumes);

// Returns control/status.json: the same as an array of objects, with null for an empty value, and
// each volume's snapshots, newest last. Requires: `snapshots` are sorted by their volume's name.
std::string StatusJson(const std::vector<VolumeInfo>& volumes,
                       const std::vector<SnapshotInfo>& snapshots);

// Returns control/types: NAME NODE[,NODE...] LEAST GREATEST, one line per type, by name. Nodes that
// offer one type with different sizes have a line for each pair of sizes.
std::string TypesText(const std::vector<NodeInfo>& nodes);

}  // namespace volfs
