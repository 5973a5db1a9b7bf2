#include "fusefs/ops/serve.h"

#include <memory>
#include <utility>

namespace volfs::internal {

void Queue(RequestPool& pool, const Watch& watch, std::function<void(Watchdog::Guard&)> task) {
  auto* const req = static_cast<fuse_req_t>(const_cast<void*>(watch.request));
  // shared_ptr: a std::function can be copied.
  auto guard = std::make_shared<Watchdog::Guard>(FilesystemOf(req).watchdog, watch,
                                                 Watchdog::Guard::Place::kQueued);
  pool.Submit([req, guard = std::move(guard), task = std::move(task)] {
    if (!guard->Begin()) return;
    if (MemoryToSpare()) return task(*guard);
    if (guard->Finish()) ReplyError(req, NoMemory());
  });
}

}  // namespace volfs::internal
