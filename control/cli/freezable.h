#pragma once

#include "blockstore/base/error.h"

namespace volfs::cli {

// Something whose filesystems can be frozen: those that are mounted here, or those of a guest.
// Used by one process after another: made by the command, frozen and thawed by the child of Freeze.
class Freezable {
 public:
  Freezable() = default;
  virtual ~Freezable() = default;
  Freezable(const Freezable&) = delete;
  Freezable& operator=(const Freezable&) = delete;

  // Writes most of the dirty data out while programs may still write, so that freezing has little
  // left to wait for.
  virtual void Prepare() {}

  // Freezes all of it, or none if it returns an error. Bounded, but for a disk that hangs.
  virtual Status Freeze() = 0;

  // Thaws it. Returns an error if it was not frozen all the time until now, or cannot be thawed.
  virtual Status Thaw() = 0;
};

}  // namespace volfs::cli
