#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/store/store.h"
#include "fusefs/serve/request_pool.h"

namespace volfs {

// The question of `volfs umount` before it unmounts: everything is committed, and a volume that
// could not be made durable is named while the mount is still there. The command asks by reading
// the attribute `user.volfs.unsaved` of the mount's root.
//
// One run of commits at a time, on a thread of `pool`. A caller waits for it for kPatience at most
// and asks again, so that no request of the kernel waits for a node that hangs.
//
// A sync of much takes long, and must not be mistaken for one that hangs. So a node counts as
// silent when one call has not returned for kSilent and its disk has done nothing meanwhile
// (NodeDirectory::Pulse), long before the limit after which its callers are answered. A run that
// waits for such a node goes on, its caller is told, and the next caller gets a run of its own.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; not held over commits or looks.
class UnmountCheck {
 public:
  static constexpr Nanoseconds kPatience = std::chrono::milliseconds(500);
  static constexpr Nanoseconds kSilent = std::chrono::seconds(3);

  UnmountCheck(Store& store, RequestPool& pool);

  // Returns "saved", or "unsaved" and a line for each thing that is not durable, or "pending": ask
  // again.
  std::string Ask() VOLFS_EXCLUDES(mu_);

 private:
  static constexpr Nanoseconds kStale = std::chrono::seconds(2);

  struct Watched {
    Node* node = nullptr;
    bool looking = false;  // a look is under way, and hangs if the node does
    uint64_t pulse = 0;
    Nanoseconds changed_at{0};
  };

  // What is begun under mu_ and submitted without it: a pool that has stopped runs a task at once.
  using Tasks = std::vector<std::function<void()>>;

  void StartLocked(Tasks& tasks) VOLFS_REQUIRES(mu_);
  void LookLocked(size_t place, Tasks& tasks) VOLFS_REQUIRES(mu_);
  void Submit(Tasks tasks) VOLFS_EXCLUDES(mu_);
  void Look(size_t place) VOLFS_EXCLUDES(mu_);
  // Takes the report of the last run, if it has ended.
  std::optional<std::string> TakeResultLocked() VOLFS_REQUIRES(mu_);
  [[nodiscard]] std::string SilentNodesLocked(Tasks& looks) VOLFS_REQUIRES(mu_);
  // Waits for the run that is under way, for kPatience at most, and says what it found.
  std::string AwaitRun(Tasks& looks) VOLFS_EXCLUDES(mu_);

  Store& store_;
  RequestPool& pool_;
  Mutex mu_;
  Condition ended_;
  bool running_ VOLFS_GUARDED_BY(mu_) = false;
  bool awaited_ VOLFS_GUARDED_BY(mu_) = false;  // else what it finds is of an earlier moment
  std::optional<std::string> result_ VOLFS_GUARDED_BY(mu_);
  Nanoseconds result_at_ VOLFS_GUARDED_BY(mu_){0};
  std::vector<Watched> watched_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
