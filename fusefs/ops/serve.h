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
//   work    `work()` returns a Result<T>. It must not use `req`, which the watchdog may answer
//           meanwhile. A request that was refused skips this step.
//   finish  The watchdog says whether the request is still open. If the watchdog has answered it,
//   the
//           result is destroyed, and undoes itself if it must (NewHandle).
//   reply   `reply(Result<T>)` answers the request, or calls Serve again to go on at another place.
//
// Thread-safety: from any thread.

// At once, on the calling thread: for requests that wait for the disk at most.
// Cost: that of a Watchdog::Guard.
struct AtOnce {
  Watch watch;  // Serve fills `request` in, here and below
};

// On a thread of `pool`: for requests that may wait. A request that is interrupted before its turn
// comes is not begun. `work` and `reply` outlive the call, so they own the objects that they use,
// or use objects that outlive the request. Cost: a few allocations, and that of
// RequestPool::Submit.
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

// Returns the watch of a request on `handle`.
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

// Has a thread of `pool` call `task` in its turn, unless the request is over by then. Without
// memory to spare it answers kNoMemory instead.
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

// If there is no room, `later()` returns the work for the pool: `work` may use a buffer of the
// calling thread, and must not do so later.
template <typename Work, typename Reply, typename Later>
void Serve(fuse_req_t req, const OnNode& place, const Work& work, const Reply& reply,
           const Later& later) {
  const Handle& handle = place.handle;
  const Watch watch = internal::WatchOf(req, WatchOn(handle, place.what, place.changes));
  if (const NodeLimiter::Permit room(handle.limiter, handle.source_limiter); room.taken()) {
    Watchdog::Guard guard(FilesystemOf(req).watchdog, watch);
    return internal::ServeUnder(guard, work, reply);
  }
  if (!MemoryToSpare())
    return ReplyError(req, NoMemory());  // `later` may copy the bytes of a write
  assert(handle.limiter != nullptr || handle.source_limiter != nullptr);  // one had no room
  NodeLimiter& limiter = handle.limiter != nullptr ? *handle.limiter : *handle.source_limiter;
  Serve(req, InPool{limiter.overflow(), watch}, later(), reply);
}

template <typename Work, typename Reply>
void Serve(fuse_req_t req, const OnNode& place, const Work& work, const Reply& reply) {
  Serve(req, place, work, reply, [&work] { return work; });
}

}  // namespace volfs
