#include "blockstore/store/open_snapshot.h"

#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"

namespace volfs {

OpenSnapshot::OpenSnapshot(Reclaimer& reclaimer, Layer* layer,
                           std::shared_ptr<const FrozenImage> image)
    : reclaimer_(reclaimer), layer_(layer), image_(std::move(image)) {}

OpenSnapshot::~OpenSnapshot() {
  if (const Status freed = reclaimer_.RemovePin(layer_); !freed.ok()) {
    LogWarning(
        StrCat("space of a deleted snapshot is freed at the next mount: ", freed.error().message));
  }
}

}  // namespace volfs
