// Putting a volume back to what a snapshot shows: a new head over the snapshot's layer, one commit.
#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/store/clone_plan.h"
#include "blockstore/store/store.h"

namespace volfs {
Status Store::Revert(const std::string& name, const std::string& snapshot, const Caller& caller) {
  const std::string words = StrCat(name, "@", snapshot);
  const TreeLock tree = LockTreeOf(name, snapshot);
  Reservation reservation(*this);
  std::shared_ptr<Volume> volume;
  SnapshotRecord record;
  {
    MutexLock lock(mu_);
    const SnapshotEntry* const found = FindSnapshotLocked(name, snapshot);
    if (found == nullptr) return Error{Errc::kNotFound, StrCat(words, ": no such snapshot")};
    record = found->record;
    const auto named = by_name_.find(name);
    if (named == by_name_.end()) {
      return Error{Errc::kNotFound, StrCat(name, ": it was deleted; `restore ", words, ' ', name,
                                           "` brings it back")};
    }
    volume = named->second;
    RETURN_IF_ERROR(CheckMayDestroy(caller, *volume, "revert"));
    RETURN_IF_ERROR(CheckUnlockedLocked(volume->id(), name));
    RETURN_IF_ERROR(CheckSourceLocked(*volume));
    if (found->node != &volume->node()) {
      return Error{
          Errc::kWrongRegion,
          StrCat(words, ": the snapshot is on node ", found->node->name(), ", the volume on ",
                 volume->node().name(), "; restore it under another name")};
    }
    RETURN_IF_ERROR(CheckSameNode(tree.node, volume->node(), name));
    ReserveSourceLocked(reservation, volume->id());
  }
  RETURN_IF_ERROR(CheckNotFenced(volume->node()));
  RETURN_IF_ERROR(RetryFor([&] { return volume->opens().BeginRevert(); }));
  const Status done = RevertTo(*volume, record);
  volume->opens().EndRevert();
  RETURN_IF_ERROR(done);
  Emit("reverted", volume->name(), volume->id(), snapshot);
  return OkStatus();
}

Status Store::RevertTo(Volume& volume, const SnapshotRecord& snapshot) {
  MutexLock naming(naming_mu_);  // the snapshot is not deleted meanwhile
  ASSIGN_OR_RETURN(const std::shared_ptr<const FrozenImage> image, SnapshotImage(snapshot.id));
  Layer* const frozen = layers_.Find(snapshot.layer);
  const auto make = [&](LayerRecord& layer, ExtentMap& map) -> Status {
    layer.parent_bytes = layer.size_bytes = image->size_bytes();
    map = image->map();
    map.Resize(BlocksFor(image->size_bytes(), block_size_));
    return OkStatus();
  };
  return PutHeadOver(volume, frozen, make, Room::kFree);  // it frees what was written since
}

Status Store::PutHeadOver(Volume& volume, Layer* under, const Volume::NewHead& make, Room room) {
  Layer* const old = volume.head();
  const auto over = [&](LayerRecord& layer, ExtentMap& map) {
    layer.id = NewId();
    layer.parent = under->id();
    return make(layer, map);
  };
  RETURN_IF_ERROR(volume.ReplaceHead(over, room));
  AdoptHead(volume, under);
  if (const Status freed = reclaimer_->RemoveReference(old); !freed.ok()) {
    LogWarning(StrCat(
        volume.name(),
        ": space that its former head took is freed at the next mount: ", freed.error().message));
  }
  return OkStatus();
}

}  // namespace volfs
