#include "blockstore/store/tables/snapshot_table.h"

#include <utility>

namespace volfs {

const SnapshotEntry* SnapshotTable::Find(Id id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &found->second;
}

const SnapshotEntry* SnapshotTable::Find(Id volume, const std::string& name) const {
  const auto names = by_name_.find(volume);
  if (names == by_name_.end()) return nullptr;
  const auto found = names->second.find(name);
  return found == names->second.end() ? nullptr : &by_id_.at(found->second);
}

void SnapshotTable::Add(SnapshotEntry entry) {
  const Id id = entry.record.id;
  by_name_[entry.record.volume][entry.record.name] = id;
  by_id_[id] = std::move(entry);
}

void SnapshotTable::Remove(Id id) {
  const auto found = by_id_.find(id);
  const auto names = by_name_.find(found->second.record.volume);
  names->second.erase(found->second.record.name);
  if (names->second.empty()) by_name_.erase(names);
  by_id_.erase(found);
}

void SnapshotTable::Rename(Id id, const std::string& to) {
  SnapshotRecord& record = by_id_.at(id).record;
  auto& names = by_name_.at(record.volume);
  names.erase(record.name);
  names[to] = id;
  record.name = to;
}

void SnapshotTable::SetImage(Id id, const std::shared_ptr<const FrozenImage>& image) {
  const auto found = by_id_.find(id);
  if (found != by_id_.end()) found->second.image = image;
}

void SnapshotTable::SetFreed(Id id, const SnapshotEntry::Freed& freed) {
  const auto found = by_id_.find(id);
  if (found != by_id_.end()) found->second.freed = freed;
}

size_t SnapshotTable::CountOf(Id volume) const {
  const auto names = by_name_.find(volume);
  return names == by_name_.end() ? 0 : names->second.size();
}

std::map<std::string, Id> SnapshotTable::NamesOf(Id volume) const {
  const auto names = by_name_.find(volume);
  return names == by_name_.end() ? std::map<std::string, Id>{} : names->second;
}

std::vector<Id> SnapshotTable::VolumesWithSnapshots() const {
  std::vector<Id> volumes;
  for (const auto& [volume, names] : by_name_) volumes.push_back(volume);
  return volumes;
}

std::vector<Id> SnapshotTable::Ids() const {
  std::vector<Id> ids;
  ids.reserve(by_id_.size());
  for (const auto& [id, entry] : by_id_) ids.push_back(id);
  return ids;
}

std::vector<SnapshotRecord> SnapshotTable::OnLayer(Id layer) const {
  std::vector<SnapshotRecord> records;
  for (const auto& [id, entry] : by_id_) {
    if (entry.record.layer == layer) records.push_back(entry.record);
  }
  return records;
}

void SnapshotTable::ForgetImages(const std::unordered_set<Id>& layers) {
  for (auto& [id, entry] : by_id_) {
    if (layers.contains(entry.record.layer)) entry.image.reset();
  }
}

}  // namespace volfs
