// Reverts a volume to a snapshot: puts a new head over the snapshot's layer, in one commit.
#include "blockstore/base/str_cat.h"
#include "blockstore/store/heads.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/snapshots.h"
#include "blockstore/store/store.h"
#include "blockstore/store/tables/tree_lock.h"

namespace volfs {
namespace {

Status RevertTo(StoreParts& parts, Volume& volume, const SnapshotRecord& snapshot) {
  MutexLock naming(parts.naming_mu);  // the snapshot is not deleted meanwhile
  ASSIGN_OR_RETURN(const std::shared_ptr<const FrozenImage> image,
                   SnapshotImage(parts, snapshot.id));
  Layer* const frozen = parts.layers.Find(snapshot.layer);
  const auto make = [&](LayerRecord& layer, ExtentMap& map) -> Status {
    layer.parent_bytes = layer.size_bytes = image->size_bytes();
    map = image->map();
    map.Resize(BlocksFor(image->size_bytes(), parts.block_size));
    return OkStatus();
  };
  return PutHeadOver(parts, volume, frozen, make,
                     Room::kFree);  // kFree: a revert frees newer blocks
}

}  // namespace

Status Store::Revert(const std::string& name, const std::string& snapshot, const Caller& caller) {
  const std::string words = StrCat(name, "@", snapshot);
  const TreeLock tree = LockTreeOf(parts_.tables, name, snapshot);
  Reservation reservation(parts_.tables);
  std::shared_ptr<Volume> volume;
  SnapshotRecord record;
  {
    MutexLock lock(parts_.tables.mu);
    const SnapshotEntry* const found = parts_.tables.FindSnapshot(name, snapshot);
    if (found == nullptr) return Error{Errc::kNotFound, StrCat(words, ": no such snapshot")};
    record = found->record;
    volume = parts_.tables.names.Find(name);
    if (volume == nullptr) {
      return Error{Errc::kNotFound, StrCat(name, ": it was deleted; `restore ", words, ' ', name,
                                           "` brings it back")};
    }
    RETURN_IF_ERROR(CheckMayDestroy(caller, *volume, "revert"));
    RETURN_IF_ERROR(parts_.tables.CheckUnlocked(volume->id(), name));
    RETURN_IF_ERROR(parts_.tables.CheckSource(*volume));
    if (found->node != &volume->node()) {
      return Error{
          Errc::kWrongRegion,
          StrCat(words, ": the snapshot is on node ", found->node->name(), ", the volume on ",
                 volume->node().name(), "; restore it under another name")};
    }
    RETURN_IF_ERROR(CheckSameNode(tree.node, volume->node(), name));
    parts_.tables.ReserveSource(reservation, volume->id());
  }
  RETURN_IF_ERROR(CheckNotFenced(volume->node()));
  RETURN_IF_ERROR(RetryFor([&] { return volume->opens().BeginRevert(); }));
  const Status done = RevertTo(parts_, *volume, record);
  volume->opens().EndRevert();
  RETURN_IF_ERROR(done);
  parts_.events.Emit("reverted", volume->name(), volume->id(), snapshot);
  return OkStatus();
}

}  // namespace volfs
