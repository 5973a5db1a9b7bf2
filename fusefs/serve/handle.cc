#include "fusefs/serve/handle.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace volfs {
namespace {

bool IsImage(const Handle& handle) {
  using Kind = Handle::Kind;
  return handle.kind == Kind::kVolume || handle.kind == Kind::kSnapshot ||
         handle.kind == Kind::kDiff;
}

}  // namespace

Handle* HandleTable::Add(std::unique_ptr<Handle> handle) {
  Handle* const name = handle.get();
  MutexLock lock(mu_);
  if (IsImage(*name)) images_.emplace(inode::IdOf(name->ino), name);
  const bool added = handles_.emplace(name, std::move(handle)).second;
  assert(added);
  return name;
}

std::unique_ptr<Handle> HandleTable::Remove(Handle* handle) {
  MutexLock lock(mu_);
  const auto it = handles_.find(handle);
  assert(it != handles_.end());
  std::unique_ptr<Handle> owned = std::move(it->second);
  handles_.erase(it);
  if (!IsImage(*owned)) return owned;
  const auto [first, last] = images_.equal_range(inode::IdOf(owned->ino));
  const auto image =
      std::find_if(first, last, [&](const auto& open) { return open.second == handle; });
  assert(image != last);
  images_.erase(image);
  return owned;
}

std::vector<std::unique_ptr<Handle>> HandleTable::RemoveAll() {
  std::vector<std::unique_ptr<Handle>> all;
  MutexLock lock(mu_);
  for (auto& [name, handle] : handles_) all.push_back(std::move(handle));
  handles_.clear();
  images_.clear();
  return all;
}

std::shared_ptr<Volume> HandleTable::FindVolume(Id id) {
  MutexLock lock(mu_);
  const auto it = images_.find(id);
  if (it == images_.end() || it->second->kind != Handle::Kind::kVolume) return nullptr;
  return static_cast<VolumeHandle*>(it->second)->volume;
}

std::optional<SnapshotInfo> HandleTable::FindSnapshot(Id id) {
  MutexLock lock(mu_);
  const auto it = images_.find(id);
  if (it == images_.end() || it->second->kind != Handle::Kind::kSnapshot) return std::nullopt;
  return static_cast<SnapshotHandle*>(it->second)->info;
}

std::optional<ControlEntry> HandleTable::FindDiff(uint64_t ino) {
  MutexLock lock(mu_);
  const auto it = images_.find(inode::IdOf(ino));
  if (it == images_.end() || it->second->ino != ino || it->second->kind != Handle::Kind::kDiff) {
    return std::nullopt;
  }
  return static_cast<DiffHandle*>(it->second)->entry;
}

}  // namespace volfs
