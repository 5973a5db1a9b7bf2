// Opens the difference between a snapshot and a later image.
#include <utility>

#include "blockstore/base/sabotage.h"
#include "blockstore/layer/map_loader.h"
#include "blockstore/store/store.h"

namespace volfs {
namespace {

// Returns the volume as it is now. Its layers are not kept.
Result<std::shared_ptr<const FrozenImage>> ImageNow(const StoreParts& parts, Volume& volume) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, volume.map().Acquire());
  RETURN_IF_ERROR(volume.native().LearnSize());
  auto [map, size_bytes] = volume.map().Copy();
  if (Sabotaged(Sabotage::kDiffCommittedOnly)) {
    const Epoch::Reader reader = volume.node().epoch().Enter();
    ASSIGN_OR_RETURN(ExtentMap committed, LoadMap(parts.layers, volume.head(), parts.block_size));
    map = std::move(committed);
    map.Resize(BlocksFor(size_bytes, parts.block_size));
  }
  // shared_ptr: as of a snapshot, so that both are compared in one way.
  return std::make_shared<const FrozenImage>(parts.layers, std::move(map), size_bytes,
                                             parts.block_size);
}

}  // namespace

Result<std::shared_ptr<OpenDiff>> Store::OpenDiffOf(Id before, Id after) {
  ASSIGN_OR_RETURN(std::shared_ptr<OpenSnapshot> older, OpenSnapshotImage(before));
  ASSIGN_OR_RETURN(std::shared_ptr<OpenSnapshot> newer, OpenSnapshotImage(after));
  // shared_ptr: an open file and the requests on it use one diff.
  return std::make_shared<OpenDiff>(std::move(older), newer, newer->shared_image());
}

// The snapshot is kept first: else a layer of it could have the reference number of one that the
// volume's map names, and that is gone (NextDifference).
Result<std::shared_ptr<OpenDiff>> Store::OpenDiffWithNow(Id before,
                                                         const std::shared_ptr<Volume>& volume,
                                                         Bytes bytes) {
  std::shared_ptr<const FrozenImage> now;
  ASSIGN_OR_RETURN(std::shared_ptr<OpenSnapshot> older, OpenSnapshotImage(before));
  std::shared_ptr<OpenSnapshot> newer;
  if (bytes == Bytes::kReadable && !parts_.options.read_only) {
    ASSIGN_OR_RETURN(newer, PinSnapshotPoint(volume));
    now = newer->shared_image();
  } else {
    ASSIGN_OR_RETURN(now, ImageNow(parts_, *volume));
  }
  // shared_ptr: as in OpenDiffOf.
  return std::make_shared<OpenDiff>(std::move(older), std::move(newer), std::move(now));
}

}  // namespace volfs
