// Sharing by copy_file_range: a volume that was never written to gets a head over a frozen layer of
// its source, and each call shows some more of that layer.
#include "blockstore/base/str_cat.h"
#include "blockstore/store/heads.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/store.h"

namespace volfs {

bool Store::MayShare(const Volume& source, Volume& target) {
  {
    MutexLock lock(parts_.tables.mu);
    if (parts_.tables.clones.Locked(target.id()) ||
        parts_.tables.clones.Find(target.id()) != nullptr)
      return false;
  }
  const Epoch::Reader reader = target.node().epoch().Enter();  // its head may be replaced meanwhile
  return &source.node() == &target.node() && source.id() != target.id() &&
         !target.native().active() && target.Untouched();
}

Result<std::shared_ptr<OpenSnapshot>> Store::PinSnapshotPoint(
    const std::shared_ptr<Volume>& source) {
  // Else the host would share the whole file, for a copy of perhaps a few blocks.
  RETURN_IF_ERROR(source->native().CheckNotActive("sharing its blocks with another volume"));
  const Gate::Passage tree = source->node().tree_gate().Enter();
  Reservation reservation(parts_.tables);
  {
    MutexLock lock(parts_.tables.mu);
    RETURN_IF_ERROR(parts_.tables.CheckUnlocked(source->id(), source->name()));
    RETURN_IF_ERROR(parts_.tables.CheckSource(*source));
    parts_.tables.ReserveSource(reservation, source->id());
  }
  RETURN_IF_ERROR(CheckNotFenced(source->node()));
  RETURN_IF_ERROR(source->node().catalog().CheckMayGrow());
  ASSIGN_OR_RETURN(const Volume::FrozenHead instant,
                   FreezeHead(parts_, *source, [](const Layer&) { return CatalogChange{}; }));
  parts_.tree.ReferenceIsPin(instant.frozen);
  // shared_ptr: kept by the source's descriptor and by each target.
  return std::make_shared<OpenSnapshot>(parts_.reclaimer, instant.frozen, instant.image);
}

Status Store::Share(const std::shared_ptr<OpenSnapshot>& source,
                    const std::shared_ptr<Volume>& target, const ByteRange& range) {
  const Gate::Passage tree = target->node().tree_gate().Enter();
  Layer* const frozen = source->layer();
  const Error apart{Errc::kWrongRegion,
                    StrCat(target->name(), ": it cannot share blocks with that source")};
  if (frozen->node() != &target->node() || parts_.tables.IsClone(target->id())) return apart;
  RETURN_IF_ERROR(target->node().catalog().CheckReserve());
  if (target->head()->record().parent != frozen->id()) {
    Reservation reservation(parts_.tables);
    {
      MutexLock lock(parts_.tables.mu);
      if (parts_.tables.clones.Locked(target->id())) return apart;
      parts_.tables.ReserveSource(reservation, target->id());
    }
    const auto make = [&](LayerRecord& layer, ExtentMap& map) -> Status {
      if (!target->Untouched()) return apart;
      layer.size_bytes = target->size_bytes();
      map.Resize(BlocksFor(layer.size_bytes, parts_.block_size));
      return OkStatus();
    };
    RETURN_IF_ERROR(PutHeadOver(parts_, *target, frozen, make, Room::kGrow));
  }
  return target->ShowThrough(frozen->id(), source->image(), range, source);
}

}  // namespace volfs
