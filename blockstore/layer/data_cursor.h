#pragma once

#include <cstdint>
#include <optional>

#include "blockstore/base/error.h"
#include "blockstore/base/units.h"
#include "blockstore/io/node_directory.h"

namespace volfs {

class Layer;

// Where the file of a layer has data, for one walk that goes up its offsets. The host is asked once
// for each range of data: to tell where one ends, SEEK_HOLE may walk all of it (tmpfs page by page,
// XFS extent by extent), so a walk that asked anew for each piece or for each extent of a map would
// take time with the square of the file's size.
//
// The last answer is remembered, so a walk is over files that do not change under it, or that only
// it changes below where it is: frozen layers. Data that was punched meanwhile is still called
// data, which is harmless. A walk over a file that others write begins a new cursor for each call.
//
// Thread-safety: none. Cost: one look at two numbers where the answer is known; else Layer's.
class DataCursor {
 public:
  // What the walk wants to know of a range of data. kStart: only where it begins, which the host
  // tells without a walk; the range is then as long as 1 byte, whatever follows.
  enum class Wanted : uint8_t { kRange, kStart };
  explicit DataCursor(Wanted wanted = Wanted::kRange) : wanted_(wanted) {}

  // As Layer::NextData.
  Result<std::optional<ByteRange>> NextData(Layer& layer, uint64_t offset_bytes);

 private:
  [[nodiscard]] bool Knows(const Layer& layer, uint64_t offset_bytes) const;

  const Wanted wanted_;
  // Of this layer, the first data at or after asked_ is data_; nothing: none follows.
  Id layer_ = kNoId;
  uint64_t asked_ = 0;
  std::optional<ByteRange> data_;
};

}  // namespace volfs
