#pragma once

#include <fuse3/fuse_lowlevel.h>

#include <memory>
#include <utility>

#include "blockstore/base/memory.h"
#include "fusefs/serve/filesystem.h"
#include "fusefs/serve/reply.h"

namespace volfs {

// A place on the lanes of all nodes that a request on `handle` may wait for. Once the request is
// answered the handle may be gone, so it is not kept here.
class LanePlace {
 public:
  explicit LanePlace(const Handle& handle)
      : lane_(handle.lane), source_lane_(handle.source_lane), taken_(Take()) {}
  ~LanePlace() {
    if (!taken_) return;
    if (lane_ != nullptr) lane_->Leave();
    if (source_lane_ != nullptr) source_lane_->Leave();
  }
  LanePlace(const LanePlace&) = delete;
  LanePlace& operator=(const LanePlace&) = delete;

  [[nodiscard]] bool taken() const { return taken_; }

 private:
  [[nodiscard]] bool Take() {
    if (lane_ != nullptr && !lane_->Enter(Lane::kMost)) return false;
    if (source_lane_ == nullptr || source_lane_->Enter(Lane::kMostOfClones)) return true;
    if (lane_ != nullptr) lane_->Leave();
    return false;
  }

  Lane* const lane_;
  Lane* const source_lane_;
  const bool taken_;
};

inline Watch WatchOn(fuse_req_t req, const char* what, const Handle& handle, Id changes = kNoId) {
  return {.request = req,
          .what = what,
          .handle = &handle,
          .node = handle.node,
          .source = handle.source,
          .changes = changes};
}

// Does `work`, a function of a Watchdog::Guard&, for a request on `handle`: at once, or, if the
// lanes of its nodes are full, when there is room. `keep` gives the work that may be done later, if
// `work` uses what belongs to the calling thread.
template <typename Work, typename Keep>
void OnNode(fuse_req_t req, const char* what, Handle& handle, Id changes, const Work& work,
            const Keep& keep) {
  Filesystem& fs = FilesystemOf(req);
  const Watch watch = WatchOn(req, what, handle, changes);
  if (const LanePlace place(handle); place.taken()) {
    Watchdog::Guard guard(fs.watchdog, watch);
    work(guard);
    return;
  }
  if (!MemoryToSpare())
    return ReplyError(req, NoMemory());  // `keep` may copy what shall be written
  Lane& lane = handle.lane != nullptr ? *handle.lane : *handle.source_lane;
  InPool(lane.overflow(), req, watch, keep());
}

template <typename Work>
void OnNode(fuse_req_t req, const char* what, Handle& handle, Id changes, const Work& work) {
  OnNode(req, what, handle, changes, work, [&work] { return work; });
}

}  // namespace volfs
