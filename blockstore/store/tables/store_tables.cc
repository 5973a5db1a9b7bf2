#include "blockstore/store/tables/store_tables.h"

#include <array>
#include <cstdio>

#include "blockstore/base/str_cat.h"

namespace volfs {

std::shared_ptr<Volume> StoreTables::Find(const std::string& name) const {
  MutexLock lock(mu);
  return names.Find(name);
}

std::shared_ptr<Volume> StoreTables::Find(Id id) const {
  MutexLock lock(mu);
  return names.Find(id);
}

std::vector<std::shared_ptr<Volume>> StoreTables::Volumes() const {
  MutexLock lock(mu);
  return names.Volumes();
}

bool StoreTables::IsClone(Id id) const {
  MutexLock lock(mu);
  const CloneEntry* const clone = clones.Find(id);
  return clone != nullptr && clone->creating();
}

const SnapshotEntry* StoreTables::FindSnapshot(const std::string& volume,
                                               const std::string& name) const {
  for (const Id id : names.Ids(volume)) {
    if (const SnapshotEntry* const found = snapshots.Find(id, name)) return found;
  }
  return nullptr;
}

Status StoreTables::CheckUnlocked(Id key, const std::string& what) const {
  if (!clones.Locked(key)) return OkStatus();
  const Id id = clones.HolderOf(key);
  const CloneEntry* const clone = clones.Find(id);
  if (clone == nullptr) {
    return Error{Errc::kBusy, StrCat(what, ": another clone or snapshot of it is being made")};
  }
  const std::shared_ptr<Volume> volume = names.Find(id);
  const std::string name = volume == nullptr ? clone->record.name : volume->name();
  const double percent = clone->job == nullptr ? 0 : clone->job->progress().percent();
  std::array<char, 16> hydrated{};
  std::snprintf(hydrated.data(), hydrated.size(), "%.2f", percent);
  return Error{
      Errc::kBusy,
      StrCat(what, ": a clone of it (", name, ", ", hydrated.data(),
             " per cent) is still being copied; wait for it, or `volfs cancel ", name, "`")};
}

Status StoreTables::CheckSource(const Volume& source) const {
  const CloneEntry* const clone = clones.Find(source.id());
  if (clone != nullptr && !clone->owed) {
    return Error{Errc::kBusy, StrCat(source.name(),
                                     ": it is itself a clone that is still being "
                                     "copied; wait until it is available")};
  }
  if (source.opens().deleting())
    return Error{Errc::kBusy, StrCat(source.name(), ": it is being deleted")};
  if (const std::string why = source.state().failure(); !why.empty()) {
    return Error{Errc::kBusy, StrCat(source.name(), ": it is in error: ", why)};
  }
  return OkStatus();
}

std::string StoreTables::SourceNameOf(const CloneEntry& entry) const {
  const SnapshotEntry* const snapshot = snapshots.Find(entry.lock);
  const std::string name = names.NameOf(snapshot != nullptr ? snapshot->record.volume : entry.lock);
  if (name.empty()) return entry.record.source_name;
  return snapshot != nullptr ? StrCat(name, "@", snapshot->record.name) : name;
}

void StoreTables::ReserveName(Reservation& reservation, const std::string& name) {
  names.Reserve(name);
  reservation.HasName(name);
}

void StoreTables::ReserveSource(Reservation& reservation, Id source) {
  clones.Lock(source, kNoId);
  reservation.HasSource(source);
}

Reservation::~Reservation() {
  MutexLock lock(tables_.mu);
  if (!name_.empty()) tables_.names.GiveBack(name_);
  if (source_ != kNoId) tables_.clones.Unlock(source_);
}

}  // namespace volfs
