#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "blockstore/base/runtime.h"

namespace volfs {

// Threads for requests that may wait: writes to control files, creating, deleting, renaming,
// statfs. A request that waits here never occupies a thread that serves data.
//
// Tasks start in the order of Submit and run side by side. They reply to their requests themselves.
// A task that finds no idle thread gets a new one, up to `most`: the others may be waiting for a
// node that hangs. Threads above `least` end when there is nothing to do.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; no task runs under it.
// Cost: one allocation, one lock and one wake-up per task; never on the path of reads and writes.
class RequestPool {
 public:
  // Requires: 1 <= least <= most.
  RequestPool(std::string name, int least, int most);
  ~RequestPool();  // Stop()
  RequestPool(const RequestPool&) = delete;
  RequestPool& operator=(const RequestPool&) = delete;

  // Queues `task`. After Stop, runs it at once, in the caller.
  void Submit(std::function<void()> task) VOLFS_EXCLUDES(mu_);

  // Runs the queued tasks to their end and joins the threads. Not from a task.
  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  void Work(uint64_t number) VOLFS_EXCLUDES(mu_);
  void TryToGrowLocked() VOLFS_REQUIRES(mu_);

  const std::string name_;
  const size_t min_;
  const size_t max_;
  Mutex mu_;
  Condition changed_;
  std::deque<std::function<void()>> queue_ VOLFS_GUARDED_BY(mu_);
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
  size_t idle_ VOLFS_GUARDED_BY(mu_) = 0;
  uint64_t last_number_ VOLFS_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, Thread> threads_ VOLFS_GUARDED_BY(mu_);
  std::vector<Thread> ended_ VOLFS_GUARDED_BY(mu_);  // to be joined: they have nothing left to do
};

}  // namespace volfs
