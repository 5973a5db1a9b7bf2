#include "control/tree/place.h"

#include "control/tree/fields.h"
#include "control/tree/map.h"

namespace volfs {

bool KnowsVolumeFacet(uint64_t facet) {
  return facet == inode::kControlDirectory || facet == kInfoJson || facet == kMap ||
         facet == kVolumeWatch || FindField(VolumeFields(), facet) != nullptr;
}

bool KnowsSnapshotFacet(uint64_t facet) {
  return facet == inode::kControlDirectory || facet == kInfoJson || facet == kMap ||
         FindField(SnapshotFields(), facet) != nullptr;
}

bool IsDirectoryFacet(uint64_t facet) {
  return facet == inode::kControlDirectory || facet == kSnapshotsOf;
}

bool KnowsNodeFacet(uint64_t facet) {
  return facet == inode::kControlDirectory || FindField(NodeFields(), facet) != nullptr;
}

std::string NameOf(const VolumePlace& place) {
  if (place.facet == kInfoJson) return std::string(kInfoJsonName);
  if (place.facet == kMap) return std::string(kMapName);
  const VolumeField* field = FindField(VolumeFields(), place.facet);
  return field == nullptr ? place.volume->name() : std::string(field->name);
}

std::string NameOf(const SnapshotPlace& place) {
  if (place.facet == kInfoJson) return std::string(kInfoJsonName);
  if (place.facet == kMap) return std::string(kMapName);
  const SnapshotField* field = FindField(SnapshotFields(), place.facet);
  return field == nullptr ? place.snapshot.name : std::string(field->name);
}

std::string NameOf(const SnapshotsPlace& place) { return place.directory.name; }

std::string NameOf(const NodePlace& place) {
  const NodeField* field = FindField(NodeFields(), place.facet);
  return field == nullptr ? place.node->name() : std::string(field->name);
}

std::string TextOf(const VolumePlace& place, ControlView& view) {
  if (place.facet == inode::kControlDirectory) return "";
  if (place.facet == kMap) return MapText(view.state().store, *place.volume);
  const VolumeInfo& info = view.Info(*place.volume);
  if (place.facet == kInfoJson) return InfoJson(info);
  if (place.facet == kVolumeWatch) return info.status + '\n';
  return FieldText(*FindField(VolumeFields(), place.facet), info);
}

std::string TextOf(const SnapshotPlace& place, ControlView& view) {
  if (place.facet == inode::kControlDirectory) return "";
  if (place.facet == kMap) return MapText(view.state().store, place.snapshot);
  const SnapshotInfo& info = view.Info(place.snapshot);
  if (place.facet == kInfoJson) return InfoJson(info);
  return FieldText(*FindField(SnapshotFields(), place.facet), info);
}

std::string TextOf(const SnapshotsPlace& /*place*/, ControlView& /*view*/) { return ""; }

std::string TextOf(const NodePlace& place, ControlView& view) {
  if (place.facet == inode::kControlDirectory) return "";
  return FieldText(*FindField(NodeFields(), place.facet), view.Info(*place.node));
}

bool IsWritable(const VolumePlace& place) {
  const VolumeField* field = FindField(VolumeFields(), place.facet);
  return field != nullptr && field->writable;
}

bool IsWritable(const SnapshotPlace& /*place*/) { return false; }
bool IsWritable(const SnapshotsPlace& /*place*/) { return false; }
bool IsWritable(const NodePlace& /*place*/) { return false; }

uint64_t InoOf(const VolumePlace& place) { return place.volume->id() | place.facet; }
uint64_t InoOf(const SnapshotPlace& place) { return place.snapshot.id | place.facet; }
uint64_t InoOf(const SnapshotsPlace& place) { return place.directory.volume | place.facet; }
uint64_t InoOf(const NodePlace& place) { return place.node->id() | place.facet; }

}  // namespace volfs
