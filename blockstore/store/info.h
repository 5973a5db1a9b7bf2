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

// What `status` says of one volume, at one moment.
struct VolumeInfo {
  Id id = kNoId;
  std::string name;
  std::string status;  // creating, available, in-use, deleting, error
  uint64_t size_bytes = 0;
  std::string type;
  std::string node;
  std::string region;
  std::string source;   // of a clone that is not whole yet: what it was asked for as; else empty
  std::string error;    // why it is `error`, or why copying pauses
  bool paused = false;  // the latter
  int64_t created_ns = 0;
  int attachments = 0;           // opens
  uint64_t allocated_bytes = 0;  // what its layers take, shared ones and a source's included
  uint64_t exclusive_bytes = 0;  // of these, what deleting it would free at least
  CloneProgress progress;        // of a clone that is not whole yet; 100 per cent otherwise
  uint64_t copy_rate = Throttle::kUnlimited;  // its own limit, bytes a second
  Verification verification = Verification::kNone;
  bool native = false;  // io=native was asked for
};

struct SnapshotInfo {
  Id id = kNoId;
  std::string volume;
  Id volume_id = kNoId;
  std::string name;
  uint64_t size_bytes = 0;
  Attributes attributes;
  uint64_t allocated_bytes = 0;  // an upper bound, as of a volume
};

struct NodeInfo {
  Id id = kNoId;
  std::string uuid, name, path, region, state;
  std::vector<VolumeType> types;
  SpaceInfo space;
  uint64_t waiting_seconds = 0;  // NodeCalls::waiting_seconds
  bool works = true;             // it can be read and written
  Fullness fullness = Fullness::kRoomy;
  uint64_t missing_reserve_bytes = 0;
  // NodeDirectory::FilesystemName: nodes with the same one share their room.
  std::string filesystem = {};
};

// The room of all `nodes` together: nodes that share a filesystem have its room once. Where their
// sizes differ, each has a quota of its own there, and both count. One that cannot tell counts as
// nothing, so that it does not hide what the others have.
[[nodiscard]] SpaceInfo SpaceOfAll(const std::vector<NodeInfo>& nodes);

// Volumes that have snapshots (deleted ones whose snapshots live on included), by name; one
// directory for a name.
struct SnapshotDirectory {
  Id volume = kNoId;
  std::string name;
  Attributes attributes;  // the volume's: who may write it may delete its snapshots
};

// A range of a volume and where it lives.
struct MapRange {
  ByteRange bytes;
  bool zero = false;  // nowhere: reads as zeros
  std::string node;   // of the layer; the name of one that is not mounted too
  std::string layer;  // its file, "layers/0123456789abcd00"
};

}  // namespace volfs
