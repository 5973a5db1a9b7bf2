#pragma once

#include <cstdint>
#include <optional>

#include "blockstore/layer/data_cursor.h"
#include "blockstore/layer/image.h"
#include "blockstore/map/map_diff.h"

namespace volfs {

// A range of bytes in which an image may differ from an earlier one.
struct ChangedRange {
  ByteRange bytes;
  bool zero = false;  // the later image reads as zeros there
};

// Walks the ranges in which the image `after` differs from the image `before`: ascending, disjoint,
// and neighbours of one kind merged. It compares maps and reads no data.
//
// Each byte that differs is in a range. Bytes that are the same may be in one too, where a layer
// was rewritten between the two images (map_diff.h). All bytes of `after` past the end of `before`
// are in a range. The ranges end where `after` does.
//
// With Holes::kAsked the host is asked where the flat layers of the two images have holes, which
// read as zeros. A hole of `after` is then zero, and a hole of both is no change.
// If the host cannot tell, as the file is damaged or its node is not mounted, it counts as data.
// With Holes::kIgnored a flat layer counts as data everywhere. That is right for a layer that is
// still written, and quicker for a caller that reads the bytes anyway.
//
// Requires: both images outlive this object, and so do the layers that they name (with kIgnored:
// the layers of one of them, NextDifference). Thread-safety: none. Memory: some hundred bytes.
// Cost of all calls of Next together: O(log n) for each extent of the two maps, and with kAsked one
// question for each range of data and holes of a flat layer that differs.
class ImageDiff {
 public:
  enum class Holes : uint8_t { kAsked, kIgnored };
  // Compares what both images have in `range`.
  ImageDiff(const FrozenImage& before, const FrozenImage& after, Holes holes,
            const ByteRange& range = {0, UINT64_MAX});

  // Returns the next range, clipped to `range`; nothing after the last one.
  std::optional<ChangedRange> Next();

 private:
  // A part of a difference: of one layer in each image, and of one kind.
  struct Piece {
    ByteRange bytes;
    Extent before;
    Extent after;
  };
  [[nodiscard]] std::optional<Piece> NextPiece() const;
  std::optional<ChangedRange> NextChange();
  [[nodiscard]] ByteRange DataIn(const FrozenImage& image, const Extent& extent,
                                 const ByteRange& bytes, DataCursor& cursor) const;

  const FrozenImage& before_;
  const FrozenImage& after_;
  const Holes holes_;
  const uint64_t end_;
  uint64_t at_;                       // everything below is told
  std::optional<ChangedRange> next_;  // ... but for this one
  DataCursor before_data_;
  DataCursor after_data_;
};

}  // namespace volfs
