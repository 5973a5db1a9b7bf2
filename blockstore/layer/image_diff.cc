#include "blockstore/layer/image_diff.h"

#include <algorithm>
#include <utility>

#include "blockstore/base/sabotage.h"

namespace volfs {
namespace {

uint64_t EndWithin(const ByteRange& range, uint64_t size_bytes) {
  return range.length_bytes > size_bytes ? size_bytes : std::min(range.end(), size_bytes);
}

}  // namespace

ImageDiff::ImageDiff(const FrozenImage& before, const FrozenImage& after, Holes holes,
                     const ByteRange& range)
    : before_(before),
      after_(after),
      holes_(holes),
      end_(EndWithin(range, after.size_bytes())),
      at_(range.offset_bytes) {}

std::optional<ChangedRange> ImageDiff::Next() {
  std::optional<ChangedRange> range = std::exchange(next_, std::nullopt);
  while (const std::optional<ChangedRange> more = NextChange()) {
    if (!range) {
      range = more;
    } else if (range->bytes.end() == more->bytes.offset_bytes && range->zero == more->zero) {
      range->bytes.length_bytes += more->bytes.length_bytes;
    } else {
      next_ = more;
      break;
    }
  }
  return range;
}

std::optional<ChangedRange> ImageDiff::NextChange() {
  while (const std::optional<Piece> piece = NextPiece()) {
    const ByteRange& bytes = piece->bytes;
    const ByteRange data = DataIn(after_, piece->after, bytes, after_data_);
    if (data.offset_bytes == bytes.offset_bytes) {
      at_ = data.end();
      return ChangedRange{data, false};
    }
    // Zeros that were zeros before are no change, but past the old end they are.
    const ByteRange zeros{bytes.offset_bytes, data.offset_bytes - bytes.offset_bytes};
    ByteRange changed = zeros;
    if (bytes.offset_bytes < before_.size_bytes()) {
      changed = DataIn(before_, piece->before, zeros, before_data_);
    }
    at_ = changed.end();
    if (Sabotaged(Sabotage::kDiffForgetsZeros)) continue;
    if (changed.length_bytes > 0) return ChangedRange{changed, true};
  }
  return std::nullopt;
}

// Returns the next bytes that the images read from different places, or that `before` does not
// have.
std::optional<ImageDiff::Piece> ImageDiff::NextPiece() const {
  const uint64_t bs = after_.block_size();
  const uint64_t old_end = std::min(before_.size_bytes(), end_);
  if (at_ < old_end) {
    const auto found = NextDifference(before_.map(), after_.map(), at_ / bs);
    const uint64_t first = found ? std::max(at_, found->blocks.first * bs) : old_end;
    if (first < old_end) {
      const BlockRange& blocks = found->blocks;
      return Piece{{first, std::min(blocks.end() * bs, old_end) - first},
                   {blocks.first, blocks.count, found->before},
                   {blocks.first, blocks.count, found->after}};
    }
  }
  const uint64_t first = std::max(at_, old_end);
  if (first >= end_ || Sabotaged(Sabotage::kDiffForgetsTail)) return std::nullopt;
  const Extent after = after_.map().Find(first / bs);
  return Piece{{first, std::min(after.end() * bs, end_) - first},
               {after.first, after.count, LayerRef::kHole},
               after};
}

// Returns the first data of `image` within `bytes`, a part of `extent`. Without any it is empty and
// at their end.
ByteRange ImageDiff::DataIn(const FrozenImage& image, const Extent& extent, const ByteRange& bytes,
                            DataCursor& cursor) const {
  if (extent.layer == LayerRef::kHole) return {bytes.end(), 0};
  if (holes_ == Holes::kIgnored) return bytes;
  const Result<std::optional<ByteRange>> data =
      DataInExtent(image.layers(), extent, image.block_size(), bytes.offset_bytes, cursor);
  if (!data.ok()) return bytes;
  if (!data.value() || data.value()->offset_bytes >= bytes.end()) return {bytes.end(), 0};
  const uint64_t first = data.value()->offset_bytes;
  return {first, std::min(data.value()->end(), bytes.end()) - first};
}

}  // namespace volfs
