#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "blockstore/base/error.h"
#include "blockstore/layer/image_diff.h"
#include "blockstore/store/open_snapshot.h"

namespace volfs {

// The difference between a snapshot and a later image of the store, as of the moment when it was
// opened. Keeps the layers of both for as long as it lives.
//
// It is shown as ranges (Ranges), or as a sparse image as large as the later one. The data of that
// image are the changed ranges, with the later image's bytes; the rest is a hole.
//
// Thread-safety: immutable; any number of threads, no lock.
class OpenDiff {
 public:
  // `after` is pinned by `after_pin`, or, if that is null, only its map may be used, except in a
  // store that takes no changes.
  OpenDiff(std::shared_ptr<OpenSnapshot> before, std::shared_ptr<OpenSnapshot> after_pin,
           std::shared_ptr<const FrozenImage> after)
      : before_(std::move(before)), after_pin_(std::move(after_pin)), after_(std::move(after)) {}

  [[nodiscard]] uint64_t size_bytes() const { return after_->size_bytes(); }
  // Returns the node that reads go to first.
  [[nodiscard]] const Node* node() const { return before_->layer()->node(); }

  // Returns a walk over the changed ranges. Requires: this object outlives it.
  [[nodiscard]] ImageDiff Ranges() const;

  // Reads bytes of the sparse image. Requires: the range ends at size_bytes() at most, and the
  // later image is pinned.
  Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) const;
  // SEEK_DATA and SEEK_HOLE over the sparse image. Return kNoData past the last change (SeekData),
  // or past the end.
  [[nodiscard]] Result<uint64_t> SeekData(uint64_t offset_bytes) const;
  [[nodiscard]] Result<uint64_t> SeekHole(uint64_t offset_bytes) const;

 private:
  [[nodiscard]] ImageDiff Walk(const ByteRange& range) const;

  const std::shared_ptr<OpenSnapshot> before_;
  const std::shared_ptr<OpenSnapshot> after_pin_;
  const std::shared_ptr<const FrozenImage> after_;
};

}  // namespace volfs
