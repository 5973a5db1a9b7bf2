#include "control/tree/map.h"

#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

std::string RangesText(const Result<std::vector<MapRange>>& ranges) {
  if (!ranges.ok()) return StrCat("# ", ranges.error().message, "\n");
  std::string text;
  for (const MapRange& range : ranges.value()) {
    text += StrCat(range.bytes.offset_bytes, " ", range.bytes.length_bytes, " ");
    text += range.zero ? "zero - - -\n"
                       : StrCat("data ", range.node, " ", range.layer, " ",
                                range.snapshot.empty() ? "-" : range.snapshot, "\n");
  }
  return text;
}

}  // namespace

std::string MapText(Store& store, Volume& volume) { return RangesText(store.Map(volume)); }

std::string MapText(Store& store, const SnapshotInfo& snapshot) {
  return RangesText(store.MapOfSnapshot(snapshot.id));
}

}  // namespace volfs
