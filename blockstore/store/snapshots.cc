// Lists the snapshots of the store, and opens them.
#include "blockstore/store/snapshots.h"

#include <algorithm>
#include <map>

#include "blockstore/base/str_cat.h"
#include "blockstore/layer/map_loader.h"
#include "blockstore/store/store.h"

namespace volfs {

std::vector<SnapshotDirectory> Store::SnapshotDirectories() {
  MutexLock lock(parts_.tables.mu);
  std::map<std::string, Id> directories;
  for (const Id volume : parts_.tables.snapshots.VolumesWithSnapshots()) {
    const std::string name = parts_.tables.names.NameOf(volume);
    if (!name.empty()) directories[name] = parts_.tables.names.Ids(name).front();
  }
  std::vector<SnapshotDirectory> by_name;
  by_name.reserve(directories.size());
  for (const auto& [name, id] : directories)
    by_name.push_back({id, name, parts_.tables.names.AttributesOf(id)});
  return by_name;
}

namespace {

template <typename Matches>
std::optional<SnapshotDirectory> FindIn(std::vector<SnapshotDirectory> directories,
                                        const Matches& matches) {
  const auto found = std::find_if(directories.begin(), directories.end(), matches);
  if (found == directories.end()) return std::nullopt;
  return std::move(*found);
}

}  // namespace

std::optional<SnapshotDirectory> Store::FindSnapshotDirectory(Id volume) {
  return FindIn(SnapshotDirectories(),
                [&](const SnapshotDirectory& directory) { return directory.volume == volume; });
}

std::optional<SnapshotDirectory> Store::FindSnapshotDirectory(std::string_view volume) {
  return FindIn(SnapshotDirectories(),
                [&](const SnapshotDirectory& directory) { return directory.name == volume; });
}

std::vector<SnapshotInfo> Store::Snapshots(Id volume) {
  std::map<std::string, Id> snapshots;
  {
    MutexLock lock(parts_.tables.mu);
    // While the volume is being renamed its name may lead nowhere yet.
    std::vector<Id> ids = parts_.tables.names.Ids(parts_.tables.names.NameOf(volume));
    if (std::find(ids.begin(), ids.end(), volume) == ids.end()) ids.push_back(volume);
    for (const Id id : ids) snapshots.merge(parts_.tables.snapshots.NamesOf(id));
  }
  std::vector<SnapshotInfo> infos;
  for (const auto& [name, id] : snapshots) {
    if (auto info = FindSnapshot(id)) infos.push_back(std::move(*info));
  }
  return infos;
}

Id Store::SnapshotId(const std::string& volume, const std::string& snapshot) {
  MutexLock lock(parts_.tables.mu);
  const SnapshotEntry* const found = parts_.tables.FindSnapshot(volume, snapshot);
  return found == nullptr ? kNoId : found->record.id;
}

std::vector<Id> Store::SnapshotIds() {
  MutexLock lock(parts_.tables.mu);
  return parts_.tables.snapshots.Ids();
}

std::optional<SnapshotInfo> Store::FindSnapshot(Id id) {
  Epoch::Reader reader;
  SnapshotInfo info;
  Layer* layer = nullptr;
  {
    MutexLock lock(parts_.tables.mu);
    const SnapshotEntry* const found = parts_.tables.snapshots.Find(id);
    if (found == nullptr) return std::nullopt;
    // Under the lock, because a deletion takes the snapshot off the table before it frees the
    // layer.
    reader = found->node->epoch().Enter();
    const SnapshotRecord& r = found->record;
    info.volume = parts_.tables.names.NameOf(r.volume);
    info.id = r.id;
    info.volume_id = r.volume;
    info.name = r.name;
    info.size_bytes = r.size_bytes;
    info.created_ns = r.created_ns;
    info.attributes = r.attributes;
    layer = parts_.layers.Find(r.layer);
  }
  // A snapshot that cannot be counted shows its size, and no reader of it waits for a node that
  // hangs.
  info.allocated_bytes = info.size_bytes;
  if (layer == nullptr || layer->node() == nullptr) return info;
  if (layer->node()->directory().calls()->slow()) return info;
  const Result<uint64_t> bytes =
      ChainBytes(parts_.layers, layer, info.size_bytes, parts_.block_size);
  if (bytes.ok()) info.allocated_bytes = bytes.value();
  return info;
}

Result<std::shared_ptr<const FrozenImage>> SnapshotImage(StoreParts& parts, Id id) {
  SnapshotRecord record;
  {
    MutexLock lock(parts.tables.mu);
    const SnapshotEntry* const found = parts.tables.snapshots.Find(id);
    if (found == nullptr) return Error{Errc::kNotFound, "no such snapshot"};
    if (auto image = found->image.lock()) return image;
    record = found->record;
    if (const std::string& why = found->refused; !why.empty()) {
      return Error{Errc::kCorrupt, StrCat("snapshot ", record.name,
                                          ": its catalog rows contradict each other: ", why,
                                          "; unmount, then run `volfs check`")};
    }
  }
  Layer* const layer = parts.layers.Find(record.layer);
  if (layer == nullptr) {
    return Error{Errc::kCorrupt, StrCat("snapshot ", record.name, ": its layer is not there")};
  }
  ASSIGN_OR_RETURN(ExtentMap map, LoadMap(parts.layers, layer, parts.block_size));
  // shared_ptr: all opens of the snapshot share one map.
  auto image = std::make_shared<const FrozenImage>(parts.layers, std::move(map), record.size_bytes,
                                                   parts.block_size);
  MutexLock lock(parts.tables.mu);
  parts.tables.snapshots.SetImage(id, image);
  return image;
}

Result<std::shared_ptr<OpenSnapshot>> Store::OpenSnapshotImage(Id id) {
  const Error none{Errc::kNotFound, "no such snapshot"};
  Node* node = nullptr;
  {
    MutexLock lock(parts_.tables.mu);
    const SnapshotEntry* const found = parts_.tables.snapshots.Find(id);
    if (found == nullptr) return none;
    node = found->node;
  }
  const Gate::Passage tree = node->tree_gate().Enter();
  Layer* layer = nullptr;
  {
    MutexLock lock(parts_.tables.mu);
    const SnapshotEntry* const found = parts_.tables.snapshots.Find(id);
    if (found == nullptr) return none;
    layer = parts_.layers.Find(found->record.layer);
    // Under the lock, because a deletion takes the snapshot off the table before it drops its
    // reference.
    if (layer != nullptr) parts_.tree.AddPin(layer);
  }
  if (layer == nullptr) return Error{Errc::kCorrupt, "the snapshot's layer is not there"};
  Result<std::shared_ptr<const FrozenImage>> image = SnapshotImage(parts_, id);
  if (!image.ok()) {
    (void)parts_.reclaimer.RemovePin(layer);
    return image.error();
  }
  return std::make_shared<OpenSnapshot>(parts_.reclaimer, layer, image.value());
}

}  // namespace volfs
