#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "blockstore/catalog/catalog.h"
#include "blockstore/clone/clone_job.h"
#include "blockstore/node/node.h"
#include "blockstore/sync/throttle.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// One volume as `status` shows it, at one moment. Sizes in bytes, times in nanoseconds since 1970.
struct VolumeInfo {
  Id id = kNoId;
  std::string name;
  std::string status;  // creating, available, in-use, deleting, error
  uint64_t size_bytes = 0;
  std::string type;
  std::string node;
  std::string region;
  std::string source;   // the source that a `creating` clone was made of; else empty
  std::string error;    // why the status is `error`, or why copying pauses
  bool paused = false;  // `error` says why copying pauses
  int64_t created_ns = 0;
  int attachments = 0;                        // opens
  uint64_t allocated_bytes = 0;               // the space of its layers, with shared ones
  uint64_t exclusive_bytes = 0;               // at least so many would be freed by deleting it
  CloneProgress progress;                     // of a `creating` clone; else 100 per cent
  uint64_t copy_rate = Throttle::kUnlimited;  // its own limit, bytes per second
  Verification verification = Verification::kNone;
  bool native = false;  // io=native was asked for
};

// One snapshot, at one moment.
struct SnapshotInfo {
  Id id = kNoId;
  std::string volume;
  Id volume_id = kNoId;
  std::string name;
  uint64_t size_bytes = 0;
  Attributes attributes;
  int64_t created_ns = 0;
  uint64_t allocated_bytes = 0;  // an upper bound
  uint64_t exclusive_bytes = 0;  // freed by deleting it alone; of Store::Measure*
};

// One mounted node, at one moment.
struct NodeInfo {
  Id id = kNoId;
  std::string uuid, name, path, region, state;
  std::vector<VolumeType> types;
  SpaceInfo space;
  uint64_t waiting_seconds = 0;  // NodeCalls::waiting_seconds
  bool works = true;             // the node can be read and written
  Fullness fullness = Fullness::kRoomy;
  uint64_t missing_reserve_bytes = 0;
  // NodeDirectory::FilesystemName: nodes with the same one share their room.
  std::string filesystem = {};
};

// Returns the room of all `nodes` together. Nodes that share a filesystem count once, except where
// their sizes differ: then each has a quota of its own. A node that does not know its room adds
// nothing, so that it does not hide the room of the others.
[[nodiscard]] SpaceInfo SpaceOfAll(const std::vector<NodeInfo>& nodes);

// The directory of a volume's snapshots. A volume and the tombstones with its name share one.
struct SnapshotDirectory {
  Id volume = kNoId;
  std::string name;
  Attributes attributes;  // the volume's, whose writers may delete snapshots
};

// A range of a volume and where it lives.
struct MapRange {
  ByteRange bytes;
  bool zero = false;  // in no layer: reads as zeros
  std::string node;   // of the layer; named also if it is not mounted
  std::string layer;  // its file, "layers/0123456789abcd00"
  Id layer_id = kNoId;
  std::string snapshot = {};  // "db@monday": the newest that the layer is the upper one of, if any
};

}  // namespace volfs
