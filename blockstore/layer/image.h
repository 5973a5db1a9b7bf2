#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "blockstore/base/error.h"
#include "blockstore/io/node_directory.h"
#include "blockstore/layer/data_cursor.h"
#include "blockstore/layer/layer_table.h"
#include "blockstore/map/extent_map.h"

namespace volfs {

using LayerRead = Status (Layer::*)(std::span<std::byte> out, uint64_t offset_bytes);

// A volume as it was at one snapshot point: an immutable map and a size. A snapshot file shows it,
// and a clone is copied from it.
//
// Thread-safety: immutable; any number of threads, no lock. A reference (of a snapshot, a hold, an
// open file) must keep the layers that the map names for as long as this object is used.
class FrozenImage {
 public:
  FrozenImage(const LayerTable& layers, ExtentMap map, uint64_t size_bytes, uint32_t block_size)
      : layers_(layers), map_(std::move(map)), size_bytes_(size_bytes), block_size_(block_size) {}

  [[nodiscard]] uint64_t size_bytes() const { return size_bytes_; }
  [[nodiscard]] const ExtentMap& map() const { return map_; }
  [[nodiscard]] const LayerTable& layers() const { return layers_; }
  [[nodiscard]] uint32_t block_size() const { return block_size_; }

  // Reads bytes at `offset_bytes`. Bytes past size_bytes() read as zeros.
  Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) const;

  // The same for a copy, which reads each byte once (node_directory.h).
  Status ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) const;

  // Returns the layer whose file is this image, byte for byte. Null if there is none.
  [[nodiscard]] Layer* RawLayer() const;

  // Returns the first range at or after `offset_bytes` that may hold something else than zeros, or
  // nothing if only zeros follow. It may call zeros data, but never data zeros. `cursor` belongs to
  // the walk.
  Result<std::optional<ByteRange>> NextData(uint64_t offset_bytes, DataCursor& cursor) const;

 private:
  Status Read(std::span<std::byte> out, uint64_t offset_bytes, LayerRead read) const;

  const LayerTable& layers_;
  const ExtentMap map_;
  const uint64_t size_bytes_;
  const uint32_t block_size_;
};

// The two steps that live and frozen images share.

// Reads the part of `extent` from `offset_bytes` on that fits `out`. Returns how many bytes.
Result<size_t> ReadExtent(const LayerTable& layers, const Extent& extent, uint32_t block_size,
                          std::span<std::byte> out, uint64_t offset_bytes,
                          LayerRead read = &Layer::ReadAt);

// Returns the first range of data within `extent`, at or after `offset_bytes`. Holes of the backing
// file count only where the layer is flat (FORMAT.md). Elsewhere a present block is data.
Result<std::optional<ByteRange>> DataInExtent(const LayerTable& layers, const Extent& extent,
                                              uint32_t block_size, uint64_t offset_bytes,
                                              DataCursor& cursor);

}  // namespace volfs
