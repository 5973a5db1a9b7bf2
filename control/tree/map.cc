#include "control/tree/map.h"

#include "blockstore/base/log.h"

namespace volfs {

std::string MapText(Store& store, Volume& volume) {
  const Result<std::vector<MapRange>> ranges = store.Map(volume);
  if (!ranges.ok()) return Text("# ", ranges.error().message, "\n");
  std::string text;
  for (const MapRange& range : ranges.value()) {
    text += Text(range.bytes.offset_bytes, " ", range.bytes.length_bytes, " ");
    text += range.zero ? "zero - -\n" : Text("data ", range.node, " ", range.layer, "\n");
  }
  return text;
}

}  // namespace volfs
