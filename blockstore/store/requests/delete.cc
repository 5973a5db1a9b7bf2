#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/store/clone_jobs.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/store.h"

namespace volfs {
namespace {

// Deletes the volume's record, with `change` in the same commit, and frees its name. Frees its
// space now, or when the last reader closes it.
Status Forget(StoreParts& parts, const std::shared_ptr<Volume>& volume, CatalogChange change,
              Layer* held) {
  Gate::Passage tree = volume->node().tree_gate().Enter();
  MutexLock naming(parts.naming_mu);
  bool has_snapshots = false;
  {
    MutexLock lock(parts.tables.mu);
    has_snapshots = parts.tables.snapshots.CountOf(volume->id()) != 0;
    // Another request may have locked it as a source since Delete looked.
    RETURN_IF_ERROR(parts.tables.CheckUnlocked(volume->id(), volume->name()));
  }
  Tombstone tombstone{volume->record(), &volume->node()};
  tombstone.record.head = kNoId;
  if (has_snapshots) {
    change.emplace_back(PutVolume{tombstone.record});
  } else {
    change.emplace_back(DeleteVolume{volume->id()});
  }
  RETURN_IF_ERROR(volume->commits().CommitDeletion(change));
  {
    MutexLock lock(parts.tables.mu);
    parts.tables.names.Remove(volume->name(), volume->id());
    if (has_snapshots) parts.tables.names.AddTombstone(tombstone);
  }
  parts.tree.ReferenceIsPin(volume->head());
  tree.Leave();  // a pin keeps it from being merged, and the merger would hold up RemovePin
  volume->opens().FinishDelete([&parts, held, raw = volume.get()] {
    Status freed = parts.reclaimer.RemovePin(raw->head());
    if (freed.ok() && held != nullptr) {
      // Readers of the clone may still be in the source's layers.
      if (!Sabotaged(Sabotage::kFreeUnderReaders)) raw->node().epoch().Synchronize();
      freed = parts.reclaimer.RemovePin(held);
    }
    if (!freed.ok()) {
      LogWarning(
          StrCat(raw->name(), ": its space is freed at the next mount: ", freed.error().message));
    }
  });
  parts.events.Emit("deleted", tombstone.record.name, tombstone.record.id, "deleted");
  return OkStatus();
}

// Deletes a clone that is being copied, or, if the copy has just ended, as any other volume.
// Requires: BeginDelete has succeeded. Once kDeleting is durable an error is never a clean refusal:
// the next mount finishes the deletion.
Status CancelClone(StoreParts& parts, const std::shared_ptr<Volume>& volume) {
  const Id id = volume->id();
  CloneEntry entry;
  {
    MutexLock lock(parts.tables.mu);
    const CloneEntry* const found = parts.tables.clones.Find(id);
    if (found != nullptr) entry = *found;
  }
  if (entry.job != nullptr) parts.hydrator.Remove(entry.job);
  if (!parts.tables.IsClone(id)) return Forget(parts, volume, {}, nullptr);
  if (entry.job != nullptr) {
    entry.job->Cancel();
    entry.record = entry.job->record();
  }
  entry.record.state = CloneState::kDeleting;
  entry.record.name = volume->name();
  if (const Status begun = volume->node().catalog().Commit({PutClone{entry.record}}, Room::kFree);
      !begun.ok()) {
    // The old job has ended for good, so a new one goes on.
    if (RefusedCleanly(begun.error()) && entry.job != nullptr) StartJob(parts, id);
    return begun;
  }
  Status done = OkStatus();
  if (entry.source_node != nullptr)
    done = entry.source_node->catalog().Commit({DeleteHold{id}}, Room::kFree);
  // The held layer keeps its reference until the last reader of the clone is gone.
  if (done.ok()) done = Forget(parts, volume, {volfs::DeleteClone{id}}, entry.held);
  if (!done.ok()) {
    return Error{Errc::kIo, StrCat(volume->name(),
                                   ": it is being deleted, but that could not be finished; the "
                                   "next mount does it: ",
                                   done.error().message)};
  }
  MutexLock lock(parts.tables.mu);
  parts.tables.clones.Remove(id);
  parts.tables.clones.UnlockOf(entry.lock, id);
  return OkStatus();
}

}  // namespace

Status Store::Delete(const std::string& name, const Caller& caller) {
  std::shared_ptr<Volume> volume;
  {
    MutexLock lock(parts_.tables.mu);
    volume = parts_.tables.names.Find(name);
    if (volume == nullptr) return NoSuchVolume(name);
    RETURN_IF_ERROR(CheckMayDestroy(caller, *volume, "delete"));
    RETURN_IF_ERROR(parts_.tables.CheckUnlocked(volume->id(), name));
    if (parts_.tables.clones.Needs(volume->id())) {
      return Error{Errc::kBusy, StrCat(name,
                                       ": a clone of it still needs it; resume, cancel or "
                                       "delete that first")};
    }
  }
  RETURN_IF_ERROR(CheckNotFenced(volume->node()));
  if (const Node* source = SourceNodeOf(volume->id())) RETURN_IF_ERROR(source->CheckAnswers());
  RETURN_IF_ERROR(RetryFor([&] { return volume->opens().BeginDelete(); }));
  const Status done = parts_.tables.IsClone(volume->id()) ? CancelClone(parts_, volume)
                                                          : Forget(parts_, volume, {}, nullptr);
  // After another error the deletion may be durable: the volume stays `deleting` until the next
  // mount.
  if (!done.ok() && RefusedCleanly(done.error())) volume->opens().AbortDelete();
  return done;
}

}  // namespace volfs
