#include "blockstore/layer/data_cursor.h"

#include <algorithm>

#include "blockstore/layer/layer.h"

namespace volfs {

bool DataCursor::Knows(const Layer& layer, uint64_t offset_bytes) const {
  if (layer_ != layer.id() || offset_bytes < asked_) return false;
  return !data_ || offset_bytes < data_->end();
}

Result<std::optional<ByteRange>> DataCursor::NextData(Layer& layer, uint64_t offset_bytes) {
  if (!Knows(layer, offset_bytes)) {
    if (wanted_ == Wanted::kRange) {
      ASSIGN_OR_RETURN(data_, layer.NextData(offset_bytes));
    } else {
      ASSIGN_OR_RETURN(const std::optional<uint64_t> start, layer.FirstData(offset_bytes));
      data_ = start ? std::optional(ByteRange{*start, 1}) : std::nullopt;
    }
    layer_ = layer.id();
    asked_ = offset_bytes;
  }
  if (!data_) return data_;
  const uint64_t first = std::max(data_->offset_bytes, offset_bytes);
  return std::optional(ByteRange{first, data_->end() - first});
}

}  // namespace volfs
