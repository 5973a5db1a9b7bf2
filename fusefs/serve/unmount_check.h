#pragma once

#include <optional>
#include <string>

#include "blockstore/base/runtime.h"
#include "blockstore/store/store.h"
#include "fusefs/serve/request_pool.h"

namespace volfs {

// What `volfs umount` asks before it unmounts: all is committed, and what could not be made durable
// is told while the mount is still there. Asked for by reading the attribute `user.volfs.unsaved`
// of the mount's root.
//
// One run of commits at a time, on a thread of `pool`. A caller waits for it for kPatience at most
// and asks again, so that no request of the kernel waits for a node that hangs.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; not held over commits.
class UnmountCheck {
 public:
  static constexpr Nanoseconds kPatience = std::chrono::milliseconds(500);

  UnmountCheck(Store& store, RequestPool& pool) : store_(store), pool_(pool) {}

  // "saved", or "unsaved" and a line for each thing that is not durable, or "pending": ask again.
  std::string Ask() VOLFS_EXCLUDES(mu_);

 private:
  static constexpr Nanoseconds kStale = std::chrono::seconds(2);

  void StartLocked() VOLFS_REQUIRES(mu_);
  // Of the last run, if it has ended just now.
  std::optional<std::string> TakeResultLocked() VOLFS_REQUIRES(mu_);
  [[nodiscard]] std::string SilentNodes() const;

  Store& store_;
  RequestPool& pool_;
  Mutex mu_;
  Condition ended_;
  bool running_ VOLFS_GUARDED_BY(mu_) = false;
  std::optional<std::string> result_ VOLFS_GUARDED_BY(mu_);
  Nanoseconds result_at_ VOLFS_GUARDED_BY(mu_){0};
};

}  // namespace volfs
