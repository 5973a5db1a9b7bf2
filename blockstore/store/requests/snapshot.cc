#include "blockstore/base/str_cat.h"
#include "blockstore/store/heads.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/store.h"
#include "blockstore/store/tables/tree_lock.h"

namespace volfs {

Result<SnapshotInfo> Store::TakeSnapshot(const std::string& volume_name, const std::string& name,
                                         const Caller& caller) {
  const TreeLock tree = LockTreeOf(parts_.tables, volume_name, "");
  Reservation reservation(parts_.tables);
  std::shared_ptr<Volume> volume;
  SnapshotRecord record;
  {
    MutexLock lock(parts_.tables.mu);
    volume = parts_.tables.names.Find(volume_name);
    if (volume == nullptr) return NoSuchVolume(volume_name);
    RETURN_IF_ERROR(CheckSameNode(tree.node, volume->node(), volume_name));
    if (!Allowed(caller, volume->attributes(), Right::kRead)) return NoRight(volume_name, "read");
    RETURN_IF_ERROR(parts_.tables.CheckUnlocked(volume->id(), volume_name));
    RETURN_IF_ERROR(parts_.tables.CheckSource(*volume));
    if (parts_.tables.FindSnapshot(volume_name, name) != nullptr) {
      return NameTaken(StrCat(volume_name, "@", name));
    }
    parts_.tables.ReserveSource(reservation, volume->id());
  }
  RETURN_IF_ERROR(CheckNotFenced(volume->node()));
  // A refused commit would leave one more layer over the volume, for its next sync to record.
  RETURN_IF_ERROR(volume->node().catalog().CheckMayGrow());
  record.id = NewId();
  record.volume = volume->id();
  record.name = name;
  ASSIGN_OR_RETURN(const Volume::FrozenHead instant,
                   FreezeHead(parts_, *volume, [&](const Layer& frozen) -> CatalogChange {
                     record.layer = frozen.id();
                     record.size_bytes = frozen.record().size_bytes;
                     record.created_ns = WallNow().count();
                     record.attributes = volume->attributes();
                     record.attributes.mode &= 0444;
                     return {PutSnapshot{record}};
                   }));
  {
    MutexLock lock(parts_.tables.mu);
    parts_.tables.snapshots.Add({record, &volume->node(), instant.image});
  }
  parts_.events.Emit("snapshot", volume->name(), record.id, name);
  // Empty if another request has deleted the snapshot already.
  return FindSnapshot(record.id).value_or(SnapshotInfo{});
}

}  // namespace volfs
