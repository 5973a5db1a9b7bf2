#pragma once

#include <fuse3/fuse_lowlevel.h>

#include <cassert>
#include <functional>
#include <type_traits>
#include <utility>

#include "blockstore/base/memory.h"
#include "fusefs/serve/filesystem.h"
#include "fusefs/serve/reply.h"

namespace volfs {

// Serve(req, place, work, reply) serves one request, at a place, in four steps:
//
//   admit   The watchdog refuses the request if its node is hung, and lets a write that was given
//           up return first (Watchdog::Guard::Admit).
//   work    `work()` does it and returns a Result<T>. It must not use `req`, which the watchdog may
//           answer meanwhile. A refused request skips this step.
//   finish  The watchdog says whether the request is still open. If it is not, nobody waits for the
//           result any more; its destructor undoes what nobody shall have (NewHandle).
//   reply   `reply(Result<T>)` answers the request, or calls Serve again to go on at another place.
//
// Thread-safety: from any thread.

// At once, on the calling thread: for requests that wait for nothing but the disk, if for that.
// Cost: that of a Watchdog::Guard.
struct AtOnce {
  Watch watch;  // Serve fills `request` in, here and below
};

// On a thread of `pool`: for requests that may wait. One that is interrupted before its turn comes
// is not begun. Cost: three allocations, and that of RequestPool::Submit. `work` and `reply` are
// copied, so they must not refer to what belongs to the caller.
struct InPool {
  RequestPool& pool;
  Watch watch;
};

// On the calling thread if the limiters of the handle's nodes have room, else in the pool of the
// limiter, so that a node that hangs takes no more than its share of the threads. Cost on the
// calling thread: that of a Guard and of one NodeLimiter::Permit; no lock, no allocation, no system
// call, and neither `work` nor its result is copied.
struct OnNode {
  const Handle& handle;
  const char* what;
  Id changes = kNoId;  // as Watch::changes
};

// The watch of a request on `handle`.
inline Watch WatchOn(const Handle& handle, const char* what, Id changes = kNoId) {
  return {.what = what,
          .handle = &handle,
          .node = handle.node,
          .source = handle.source,
          .changes = changes};
}

namespace internal {

inline Watch WatchOf(fuse_req_t req, Watch watch) {
  watch.request = req;
  return watch;
}

// Has `task` called on a thread of `pool` when its turn comes; a request that is over by then, or
// that there is no memory for, is not begun.
void Queue(RequestPool& pool, const Watch& watch, std::function<void(Watchdog::Guard&)> task);

template <typename Work, typename Reply>
void ServeUnder(Watchdog::Guard& guard, const Work& work, const Reply& reply) {
  auto result = [&]() -> std::invoke_result_t<const Work&> {
    RETURN_IF_ERROR(guard.Admit());
    return work();
  }();
  if (guard.Finish()) reply(std::move(result));
}

}  // namespace internal

template <typename Work, typename Reply>
void Serve(fuse_req_t req, const AtOnce& place, const Work& work, const Reply& reply) {
  Watchdog::Guard guard(FilesystemOf(req).watchdog, internal::WatchOf(req, place.watch));
  internal::ServeUnder(guard, work, reply);
}

template <typename Work, typename Reply>
void Serve(fuse_req_t req, const InPool& place, Work work, Reply reply) {
  internal::Queue(place.pool, internal::WatchOf(req, place.watch),
                  [work = std::move(work), reply = std::move(reply)](Watchdog::Guard& guard) {
                    internal::ServeUnder(guard, work, reply);
                  });
}

// `later` makes of `work`, which may refer to what belongs to the calling thread, one that does
// not. It is called if there is no room.
template <typename Work, typename Reply, typename Later>
void Serve(fuse_req_t req, const OnNode& place, const Work& work, const Reply& reply,
           const Later& later) {
  const Handle& handle = place.handle;
  const Watch watch = internal::WatchOf(req, WatchOn(handle, place.what, place.changes));
  if (const NodeLimiter::Permit room(handle.limiter, handle.source_limiter); room.taken()) {
    Watchdog::Guard guard(FilesystemOf(req).watchdog, watch);
    return internal::ServeUnder(guard, work, reply);
  }
  if (!MemoryToSpare()) return ReplyError(req, NoMemory());  // `later` may copy what is written
  assert(handle.limiter != nullptr || handle.source_limiter != nullptr);  // one had no room
  NodeLimiter& limiter = handle.limiter != nullptr ? *handle.limiter : *handle.source_limiter;
  Serve(req, InPool{limiter.overflow(), watch}, later(), reply);
}

template <typename Work, typename Reply>
void Serve(fuse_req_t req, const OnNode& place, const Work& work, const Reply& reply) {
  Serve(req, place, work, reply, [&work] { return work; });
}

}  // namespace volfs
