#include "blockstore/store/tables/name_table.h"

#include <algorithm>

namespace volfs {

std::shared_ptr<Volume> NameTable::Find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

std::shared_ptr<Volume> NameTable::Find(Id id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Volume>> NameTable::Volumes() const {
  std::vector<std::shared_ptr<Volume>> volumes;
  volumes.reserve(by_name_.size());
  for (const auto& [name, volume] : by_name_) volumes.push_back(volume);
  return volumes;
}

void NameTable::Add(const std::string& name, const std::shared_ptr<Volume>& volume) {
  by_name_[name] = volume;
  by_id_[volume->id()] = volume;
  tombstones_.erase(volume->id());
}

void NameTable::Remove(const std::string& name, Id id) {
  by_name_.erase(name);
  by_id_.erase(id);
}

void NameTable::Rename(const std::string& from, const std::string& to) {
  const auto found = by_name_.find(from);
  by_name_[to] = found->second;
  by_name_.erase(found);
}

bool NameTable::InUse(const std::string& name) const {
  return by_name_.contains(name) || reserved_.contains(name);
}

bool NameTable::Taken(const std::string& name) const {
  return InUse(name) ||
         std::any_of(tombstones_.begin(), tombstones_.end(),
                     [&](const auto& tombstone) { return tombstone.second.record.name == name; });
}

std::vector<Id> NameTable::Ids(const std::string& name) const {
  std::vector<Id> ids;
  const auto volume = by_name_.find(name);
  if (volume != by_name_.end()) ids.push_back(volume->second->id());
  for (const auto& [id, tombstone] : tombstones_) {
    if (tombstone.record.name == name) ids.push_back(id);
  }
  return ids;
}

std::string NameTable::NameOf(Id volume) const {
  const auto found = by_id_.find(volume);
  if (found != by_id_.end()) return found->second->name();
  const auto tombstone = tombstones_.find(volume);
  return tombstone == tombstones_.end() ? "" : tombstone->second.record.name;
}

Attributes NameTable::AttributesOf(Id volume) const {
  const auto found = by_id_.find(volume);
  return found != by_id_.end() ? found->second->attributes()
                               : tombstones_.at(volume).record.attributes;
}

VolumeRecord NameTable::RecordOf(Id volume) const {
  const auto found = by_id_.find(volume);
  return found != by_id_.end() ? found->second->record() : tombstones_.at(volume).record;
}

std::vector<Tombstone> NameTable::Tombstones() const {
  std::vector<Tombstone> tombstones;
  for (const auto& [id, tombstone] : tombstones_) tombstones.push_back(tombstone);
  return tombstones;
}

}  // namespace volfs
