#include "blockstore/store/heads.h"

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/store/request_checks.h"

namespace volfs {

Result<Volume::FrozenHead> FreezeHead(StoreParts& parts, Volume& volume,
                                      const Volume::Extra& extra) {
  Layer* const old = volume.head();
  Result<Volume::FrozenHead> instant = volume.FreezeHead(extra);
  if (!instant.ok() && instant.error().code == Errc::kBusy && volume.native().wanted()) {
    // The program that had it open may have just closed it: close(2) returns before its release
    // reaches the daemon.
    const Status closed = RetryFor([&] { return volume.native().CheckNotActive("this"); });
    if (closed.ok()) instant = volume.FreezeHead(extra);
  }
  AdoptHead(parts, volume, old);
  if (!instant.ok()) {
    if (volume.head() != old) (void)parts.reclaimer.RemoveReference(old);
    return instant;
  }
  if (volume.head() == old) parts.tree.AddReference(instant.value().frozen);
  return instant;
}

void AdoptHead(StoreParts& parts, Volume& volume, Layer* old) {
  Layer* const head = volume.head();
  if (head == old) return;  // the freeze was refused before anything changed
  parts.tree.AddReference(head);
  parts.tree.AddChild(old, head);
}

Status PutHeadOver(StoreParts& parts, Volume& volume, Layer* under, const Volume::NewHead& make,
                   Room room) {
  Layer* const old = volume.head();
  const auto over = [&](LayerRecord& layer, ExtentMap& map) {
    layer.id = NewId();
    layer.parent = under->id();
    return make(layer, map);
  };
  RETURN_IF_ERROR(volume.ReplaceHead(over, room));
  AdoptHead(parts, volume, under);
  if (const Status freed = parts.reclaimer.RemoveReference(old); !freed.ok()) {
    LogWarning(StrCat(
        volume.name(),
        ": space that its former head took is freed at the next mount: ", freed.error().message));
  }
  return OkStatus();
}

}  // namespace volfs
