#pragma once

#include <memory>

#include "blockstore/layer/image.h"
#include "blockstore/layer/reclaim.h"

namespace volfs {

// A snapshot that somebody has open: keeps its layers, also when it is deleted meanwhile.
class OpenSnapshot {
 public:
  // The caller has added a use to `layer`; it is taken away at the end.
  OpenSnapshot(Reclaimer& reclaimer, Layer* layer, std::shared_ptr<const FrozenImage> image);
  ~OpenSnapshot();  // may free the space of a deleted snapshot: no lock may be held
  OpenSnapshot(const OpenSnapshot&) = delete;
  OpenSnapshot& operator=(const OpenSnapshot&) = delete;
  [[nodiscard]] const FrozenImage& image() const { return *image_; }
  [[nodiscard]] Layer* layer() const { return layer_; }

 private:
  Reclaimer& reclaimer_;
  Layer* const layer_;
  const std::shared_ptr<const FrozenImage> image_;
};

}  // namespace volfs
