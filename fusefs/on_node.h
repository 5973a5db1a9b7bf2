#pragma once

#include <fuse3/fuse_lowlevel.h>

#include <memory>
#include <utility>

#include "fusefs/filesystem.h"
#include "fusefs/reply.h"

namespace volfs {

// A place on the lanes of all nodes that a request on `handle` may wait for.
class LanePlace {
 public:
  explicit LanePlace(const Handle& handle) : handle_(handle), taken_(Take()) {}
  ~LanePlace() {
    if (taken_) Leave();
  }
  LanePlace(const LanePlace&) = delete;
  LanePlace& operator=(const LanePlace&) = delete;

  [[nodiscard]] bool taken() const { return taken_; }

 private:
  [[nodiscard]] bool Take() {
    if (handle_.lane != nullptr && !handle_.lane->Enter(Lane::kMost)) return false;
    if (handle_.source_lane == nullptr) return true;
    if (handle_.source_lane->Enter(Lane::kMostOfClones)) return true;
    if (handle_.lane != nullptr) handle_.lane->Leave();
    return false;
  }
  void Leave() {
    if (handle_.lane != nullptr) handle_.lane->Leave();
    if (handle_.source_lane != nullptr) handle_.source_lane->Leave();
  }

  const Handle& handle_;
  const bool taken_;
};

// Does `work`, a function of a Watchdog::Guard&, for a request on `handle`: at once, or, if the
// lanes of its nodes are full, when there is room. `keep` gives the work that may be done later, if
// `work` uses what belongs to the calling thread.
template <typename Work, typename Keep>
void OnNode(fuse_req_t req, const char* what, Handle& handle, Id changes, const Work& work,
            const Keep& keep) {
  Filesystem& fs = FilesystemOf(req);
  const Watch watch{.request = req,
                    .what = what,
                    .handle = &handle,
                    .node = handle.node,
                    .source = handle.source,
                    .changes = changes};
  if (const LanePlace place(handle); place.taken()) {
    Watchdog::Guard guard(fs.watchdog, watch);
    work(guard);
    return;
  }
  Lane& lane = handle.lane != nullptr ? *handle.lane : *handle.source_lane;
  InPool(lane.overflow(), req, watch, keep());
}

template <typename Work>
void OnNode(fuse_req_t req, const char* what, Handle& handle, Id changes, const Work& work) {
  OnNode(req, what, handle, changes, work, [&work] { return work; });
}

}  // namespace volfs
