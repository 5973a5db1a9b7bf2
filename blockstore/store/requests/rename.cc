#include "blockstore/base/str_cat.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/store.h"
#include "blockstore/store/tables/tree_lock.h"

namespace volfs {

Status Store::Rename(const std::string& from, const std::string& to) {
  MutexLock naming(parts_.naming_mu);
  Reservation reservation(parts_.tables);
  std::shared_ptr<Volume> volume;
  {
    MutexLock lock(parts_.tables.mu);
    volume = parts_.tables.names.Find(from);
    if (volume == nullptr) return NoSuchVolume(from);
    if (from == to) return OkStatus();
    if (parts_.tables.names.Taken(to)) return NameTaken(to);
    parts_.tables.ReserveName(reservation, to);
  }
  if (volume->opens().deleting()) return NoSuchVolume(from);
  RETURN_IF_ERROR(CheckNotFenced(volume->node()));
  if (const Status done = volume->commits().Rename(to); !done.ok()) {
    if (!RefusedCleanly(done.error())) reservation.Abandon();  // the record may have either name
    return done;
  }
  {
    MutexLock lock(parts_.tables.mu);
    parts_.tables.names.Rename(from, to);
  }
  parts_.events.Emit("renamed", to, volume->id(), from);
  return OkStatus();
}

Status Store::RenameSnapshot(const std::string& volume, const std::string& from,
                             const std::string& to) {
  const TreeLock tree = LockTreeOf(parts_.tables, volume, from);  // no merge changes its layer
  MutexLock naming(parts_.naming_mu);
  SnapshotEntry entry;
  {
    MutexLock lock(parts_.tables.mu);
    const SnapshotEntry* const found = parts_.tables.FindSnapshot(volume, from);
    if (found == nullptr) {
      return Error{Errc::kNotFound, StrCat(volume, "@", from, ": no such snapshot")};
    }
    RETURN_IF_ERROR(CheckSameNode(tree.node, *found->node, volume));
    if (from == to) return OkStatus();
    if (parts_.tables.FindSnapshot(volume, to) != nullptr)
      return NameTaken(StrCat(volume, "@", to));
    entry = *found;
  }
  entry.record.name = to;
  RETURN_IF_ERROR(CheckNotFenced(*entry.node));
  // If a snapshot of that name is being made, the catalog refuses the second of both.
  RETURN_IF_ERROR(entry.node->catalog().Commit({PutSnapshot{entry.record}}));
  {
    MutexLock lock(parts_.tables.mu);
    parts_.tables.snapshots.Rename(entry.record.id, to);
  }
  parts_.events.Emit("snapshot-renamed", volume, entry.record.id, to);
  return OkStatus();
}

}  // namespace volfs
