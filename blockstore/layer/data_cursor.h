#pragma once

#include <cstdint>
#include <optional>

#include "blockstore/base/error.h"
#include "blockstore/base/units.h"
#include "blockstore/io/node_directory.h"

namespace volfs {

class Layer;

// Finds where the file of a layer has data, for one walk that goes up its offsets. The host is
// asked once for each range of data. To tell where a range ends, SEEK_HOLE may walk all of it
// (tmpfs page by page, XFS extent by extent), so a walk that asked anew for each piece or for each
// extent of a map would take time with the square of the file's size.
//
// The last answer is remembered. A walk therefore needs files that do not change under it (frozen
// layers), or that only the walk itself changes below its position. Data that was punched meanwhile
// is still called data, which is harmless. A walk over a file that others write begins a new cursor
// for each call.
//
// Thread-safety: none. Cost: two comparisons where the answer is known, else that of
// Layer::NextData.
class DataCursor {
 public:
  // How much the walk needs of a range of data. kStart asks only where the range begins, which the
  // host tells without a walk. The returned range is then 1 byte long, however much data follows.
  enum class Wanted : uint8_t { kRange, kStart };
  explicit DataCursor(Wanted wanted = Wanted::kRange) : wanted_(wanted) {}

  // As Layer::NextData.
  Result<std::optional<ByteRange>> NextData(Layer& layer, uint64_t offset_bytes);

 private:
  [[nodiscard]] bool Knows(const Layer& layer, uint64_t offset_bytes) const;

  const Wanted wanted_;
  // For this layer, the first data at or after asked_ is data_. An empty data_: none follows.
  Id layer_ = kNoId;
  uint64_t asked_ = 0;
  std::optional<ByteRange> data_;
};

}  // namespace volfs
