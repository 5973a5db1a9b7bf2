#include "blockstore/layer/image.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace volfs {

Result<size_t> ReadExtent(const LayerTable& layers, const Extent& extent, uint32_t block_size,
                          std::span<std::byte> out, uint64_t offset_bytes, LayerRead read) {
  const uint64_t end_bytes = extent.end() * block_size;
  assert(offset_bytes >= extent.first * block_size && offset_bytes < end_bytes);
  const auto part = out.first(std::min<uint64_t>(out.size(), end_bytes - offset_bytes));
  if (extent.layer == LayerRef::kHole) {
    std::memset(part.data(), 0, part.size());
  } else {
    RETURN_IF_ERROR((layers.Get(extent.layer)->*read)(part, offset_bytes));
  }
  return part.size();
}

Result<std::optional<ByteRange>> DataInExtent(const LayerTable& layers, const Extent& extent,
                                              uint32_t block_size, uint64_t offset_bytes,
                                              DataCursor& cursor) {
  if (extent.layer == LayerRef::kHole) return std::optional<ByteRange>();
  const uint64_t end_bytes = extent.end() * block_size;
  const uint64_t start_bytes = std::max(offset_bytes, extent.first * block_size);
  assert(start_bytes < end_bytes);
  Layer* const layer = layers.Get(extent.layer);
  if (!layer->flat()) return std::optional(ByteRange{start_bytes, end_bytes - start_bytes});
  ASSIGN_OR_RETURN(const std::optional<ByteRange> data, cursor.NextData(*layer, start_bytes));
  if (!data || data->offset_bytes >= end_bytes) return std::optional<ByteRange>();
  const uint64_t first = std::max(data->offset_bytes, start_bytes);
  return std::optional(ByteRange{first, std::min(data->end(), end_bytes) - first});
}

Status FrozenImage::ReadAt(std::span<std::byte> out, uint64_t offset_bytes) const {
  return Read(out, offset_bytes, &Layer::ReadAt);
}

Status FrozenImage::ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) const {
  return Read(out, offset_bytes, &Layer::ReadOnce);
}

Status FrozenImage::Read(std::span<std::byte> out, uint64_t offset_bytes, LayerRead read) const {
  while (!out.empty()) {
    if (offset_bytes >= size_bytes_) {
      std::memset(out.data(), 0, out.size());
      return OkStatus();
    }
    const auto part = out.first(std::min<uint64_t>(out.size(), size_bytes_ - offset_bytes));
    const Extent extent = map_.Find(offset_bytes / block_size_);
    ASSIGN_OR_RETURN(const size_t got,
                     ReadExtent(layers_, extent, block_size_, part, offset_bytes, read));
    out = out.subspan(got);
    offset_bytes += got;
  }
  return OkStatus();
}

Layer* FrozenImage::RawLayer() const {
  if (map_.size() == 0) return nullptr;
  const Extent all = map_.Find(0);
  if (all.layer == LayerRef::kHole || all.end() < map_.size()) return nullptr;
  Layer* const layer = layers_.Get(all.layer);
  return layer->flat() && layer->record().size_bytes == size_bytes_ ? layer : nullptr;
}

Result<std::optional<ByteRange>> FrozenImage::NextData(uint64_t offset_bytes,
                                                       DataCursor& cursor) const {
  while (offset_bytes < size_bytes_) {
    const Extent extent = map_.Find(offset_bytes / block_size_);
    ASSIGN_OR_RETURN(std::optional<ByteRange> data,
                     DataInExtent(layers_, extent, block_size_, offset_bytes, cursor));
    if (data && data->offset_bytes < size_bytes_) {
      data->length_bytes = std::min(data->end(), size_bytes_) - data->offset_bytes;
      return data;
    }
    offset_bytes = extent.end() * block_size_;
  }
  return std::optional<ByteRange>();
}

}  // namespace volfs
