#pragma once

#include <fuse3/fuse_lowlevel.h>

#include <memory>
#include <utility>

#include "blockstore/base/memory.h"
#include "fusefs/serve/filesystem.h"
#include "fusefs/serve/reply.h"

namespace volfs {

// A place on the limiters of all nodes that a request on `handle` may wait for. Once the request is
// answered the handle may be gone, so it is not kept here.
class NodePermit {
 public:
  explicit NodePermit(const Handle& handle)
      : limiter_(handle.limiter), source_limiter_(handle.source_limiter), taken_(Take()) {}
  ~NodePermit() {
    if (!taken_) return;
    if (limiter_ != nullptr) limiter_->Leave();
    if (source_limiter_ != nullptr) source_limiter_->Leave();
  }
  NodePermit(const NodePermit&) = delete;
  NodePermit& operator=(const NodePermit&) = delete;

  [[nodiscard]] bool taken() const { return taken_; }

 private:
  [[nodiscard]] bool Take() {
    if (limiter_ != nullptr && !limiter_->Enter(NodeLimiter::kMax)) return false;
    if (source_limiter_ == nullptr || source_limiter_->Enter(NodeLimiter::kMaxOfClones))
      return true;
    if (limiter_ != nullptr) limiter_->Leave();
    return false;
  }

  NodeLimiter* const limiter_;
  NodeLimiter* const source_limiter_;
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
// limiters of its nodes are full, when there is room. `keep` gives the work that may be done later,
// if `work` uses what belongs to the calling thread.
template <typename Work, typename Keep>
void OnNode(fuse_req_t req, const char* what, Handle& handle, Id changes, const Work& work,
            const Keep& keep) {
  Filesystem& fs = FilesystemOf(req);
  const Watch watch = WatchOn(req, what, handle, changes);
  if (const NodePermit place(handle); place.taken()) {
    Watchdog::Guard guard(fs.watchdog, watch);
    work(guard);
    return;
  }
  if (!MemoryToSpare())
    return ReplyError(req, NoMemory());  // `keep` may copy what shall be written
  NodeLimiter& limiter = handle.limiter != nullptr ? *handle.limiter : *handle.source_limiter;
  InPool(limiter.overflow(), req, watch, keep());
}

template <typename Work>
void OnNode(fuse_req_t req, const char* what, Handle& handle, Id changes, const Work& work) {
  OnNode(req, what, handle, changes, work, [&work] { return work; });
}

}  // namespace volfs
