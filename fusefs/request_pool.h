#pragma once

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "blockstore/runtime.h"

namespace volfs {

// Threads for requests that may wait: writes to control files, creating, deleting, renaming,
// statfs. A request that waits here never occupies a thread that serves data.
//
// Tasks start in the order of Submit and run side by side. They reply to their requests themselves.
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; no task runs under it.
// Cost: one allocation, one lock and one wake-up a task; never on the path of reads and writes.
class RequestPool {
 public:
  RequestPool(const std::string& name, int threads);
  ~RequestPool();  // Stop()
  RequestPool(const RequestPool&) = delete;
  RequestPool& operator=(const RequestPool&) = delete;

  // After Stop, `task` runs at once, in the caller.
  void Submit(std::function<void()> task) VOLFS_EXCLUDES(mu_);

  // Runs what was submitted to its end and joins the threads. Not from a task.
  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  void Work() VOLFS_EXCLUDES(mu_);

  Mutex mu_;
  Condition changed_;
  std::deque<std::function<void()>> queue_ VOLFS_GUARDED_BY(mu_);
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
  std::vector<Thread> threads_;
};

}  // namespace volfs
