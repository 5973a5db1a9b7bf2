#pragma once

#include <memory>

#include "blockstore/layer/image.h"
#include "blockstore/layer/reclaim.h"

namespace volfs {

// An open snapshot. Keeps its layers, also when the snapshot is deleted meanwhile.
//
// Thread-safety: all methods from any thread.
class OpenSnapshot {
 public:
  // Requires: the caller has added a pin to `layer`. The destructor removes it.
  OpenSnapshot(Reclaimer& reclaimer, Layer* layer, std::shared_ptr<const FrozenImage> image);
  ~OpenSnapshot();  // may free the space of a deleted snapshot; requires: no lock is held
  OpenSnapshot(const OpenSnapshot&) = delete;
  OpenSnapshot& operator=(const OpenSnapshot&) = delete;
  [[nodiscard]] const FrozenImage& image() const { return *image_; }
  [[nodiscard]] const std::shared_ptr<const FrozenImage>& shared_image() const { return image_; }
  [[nodiscard]] Layer* layer() const { return layer_; }

 private:
  Reclaimer& reclaimer_;
  Layer* const layer_;
  const std::shared_ptr<const FrozenImage> image_;
};

}  // namespace volfs
