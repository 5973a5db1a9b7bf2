#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "blockstore/store/store.h"
#include "control/tree/control_tree.h"
#include "control/tree/control_view.h"
#include "control/tree/diff_place.h"
#include "control/tree/fixed_entry.h"

namespace volfs {

// The files of control/ as inode numbers name them: the name of each, and the text that a reader
// gets. Pure but for the text, which is that of the moment.

// Facets beside those of the fields (fields.h).
inline constexpr uint64_t kInfoJson = 0x80;     // control/volumes/NAME/info.json
inline constexpr uint64_t kMap = 0x81;          // control/volumes/NAME/map
inline constexpr uint64_t kSnapshotsOf = 0x82;  // control/snapshots/NAME, of the volume's id
inline constexpr uint64_t kVolumeWatch = 0xff;  // control/watch/volumes/NAME
inline constexpr std::string_view kInfoJsonName = "info.json";
inline constexpr std::string_view kMapName = "map";

// The file that an inode number stands for. This tree knows the facets of a volume or node.
struct VolumePlace {
  std::shared_ptr<Volume> volume;
  uint64_t facet;
};
struct SnapshotPlace {
  SnapshotInfo snapshot;  // not measured
  uint64_t facet;
};
struct SnapshotsPlace {  // the directory of a volume's snapshots, which may outlive the volume
  SnapshotDirectory directory;
  uint64_t facet = kSnapshotsOf;
};
struct NodePlace {
  Node* node;
  uint64_t facet;
};
using Place = std::variant<const FixedEntry*, VolumePlace, SnapshotPlace, SnapshotsPlace, NodePlace,
                           DiffPlace>;

bool KnowsVolumeFacet(uint64_t facet);
bool KnowsSnapshotFacet(uint64_t facet);
bool KnowsNodeFacet(uint64_t facet);
bool IsDirectoryFacet(uint64_t facet);

std::string NameOf(const VolumePlace& place);
std::string NameOf(const SnapshotPlace& place);
std::string NameOf(const SnapshotsPlace& place);
std::string NameOf(const NodePlace& place);

// Each returns the text that a reader would get now, "" of directories.
std::string TextOf(const VolumePlace& place, ControlView& view);
std::string TextOf(const SnapshotPlace& place, ControlView& view);
std::string TextOf(const SnapshotsPlace& place, ControlView& view);
std::string TextOf(const NodePlace& place, ControlView& view);

bool IsWritable(const VolumePlace& place);
bool IsWritable(const SnapshotPlace& place);
bool IsWritable(const SnapshotsPlace& place);
bool IsWritable(const NodePlace& place);

uint64_t InoOf(const VolumePlace& place);
uint64_t InoOf(const SnapshotPlace& place);
uint64_t InoOf(const SnapshotsPlace& place);
uint64_t InoOf(const NodePlace& place);

}  // namespace volfs
