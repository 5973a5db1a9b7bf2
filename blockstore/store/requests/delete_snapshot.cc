#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/store.h"
#include "blockstore/store/tables/tree_lock.h"

namespace volfs {
namespace {

Result<Id> DropSnapshot(StoreParts& parts, const std::string& volume_name, const std::string& name,
                        const Caller& caller) {
  const TreeLock tree = LockTreeOf(parts.tables, volume_name, name);
  MutexLock naming(
      parts.naming_mu);  // a deletion of the volume must know whether snapshots are left
  SnapshotEntry entry;
  bool last_of_tombstone = false;
  {
    MutexLock lock(parts.tables.mu);
    const SnapshotEntry* const found = parts.tables.FindSnapshot(volume_name, name);
    if (found == nullptr) {
      return Error{Errc::kNotFound, StrCat(volume_name, "@", name, ": no such snapshot")};
    }
    RETURN_IF_ERROR(CheckSameNode(tree.node, *found->node, volume_name));
    const Id volume = found->record.volume;
    if (!Allowed(caller, parts.tables.names.AttributesOf(volume), Right::kWrite)) {
      return NoRight(volume_name, "delete");
    }
    RETURN_IF_ERROR(parts.tables.CheckUnlocked(found->record.id, StrCat(volume_name, "@", name)));
    if (parts.tables.clones.Needs(found->record.id)) {
      return Error{Errc::kBusy, StrCat(volume_name, "@", name, ": a clone of it still needs it")};
    }
    entry = *found;
    last_of_tombstone =
        parts.tables.names.HasTombstone(volume) && parts.tables.snapshots.CountOf(volume) == 1;
    // Off the table first, so that no request opens or clones it from here on.
    parts.tables.snapshots.Remove(entry.record.id);
  }
  CatalogChange change{volfs::DeleteSnapshot{entry.record.id}};
  if (last_of_tombstone) change.emplace_back(DeleteVolume{entry.record.volume});
  const Status done = entry.node->catalog().Commit(change, Room::kFree);
  if (!done.ok()) {
    MutexLock lock(parts.tables.mu);
    parts.tables.snapshots.Add(entry);
    return done.error();
  }
  if (last_of_tombstone) {
    MutexLock lock(parts.tables.mu);
    parts.tables.names.RemoveTombstone(entry.record.volume);
  }
  parts.events.Emit("snapshot-deleted", volume_name, entry.record.id, name);
  Layer* const layer = parts.layers.Find(entry.record.layer);
  if (layer != nullptr) parts.tree.DropReference(layer);
  return entry.record.layer;
}

}  // namespace

Status Store::DeleteSnapshot(const std::string& volume_name, const std::string& name,
                             const Caller& caller) {
  ASSIGN_OR_RETURN(const Id layer, DropSnapshot(parts_, volume_name, name, caller));
  // The deletion is durable, even if freeing its space fails. All locks are left: this waits for
  // the merger, and no other request may wait for it.
  if (const Status freed = parts_.reclaimer.Reclaim(layer); !freed.ok()) {
    LogWarning(StrCat(volume_name, "@", name,
                      ": its space is freed at the next mount: ", freed.error().message));
  }
  return OkStatus();
}

}  // namespace volfs
