#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/clone/clone_job.h"
#include "blockstore/sync/throttle.h"

namespace volfs {

// Runs the copy jobs of all clones of a store: a few worker threads run the jobs' slices in turn,
// so each job gets its share however many there are. One throttle caps the bytes of all jobs.
//
// Thread-safety: all methods from any thread. Locks: mu_ > a job's and the throttle's. mu_ is not
// held while a slice runs.
class Hydrator {
 public:
  // Called by a worker, with no lock held, when a job leaves the queue: it is done, it has failed
  // (Add puts it back after Resume), or it was stopped.
  using Callback = std::function<void(const std::shared_ptr<CloneJob>&)>;
  // The greatest value of SetJobs. A store has as many workers.
  static constexpr int kMaxJobs = 8;
  Hydrator(int workers, Callback on_over);
  ~Hydrator();  // Stop()

  void Add(std::shared_ptr<CloneJob> job) VOLFS_EXCLUDES(mu_);
  // Stops `job` and returns when no worker runs a slice of it and none will. Not from on_over.
  void Remove(const std::shared_ptr<CloneJob>& job) VOLFS_EXCLUDES(mu_);
  // Ends all slices and joins the workers. The jobs keep their state, for the next mount.
  void Stop() VOLFS_EXCLUDES(mu_);

  Throttle& throttle() { return throttle_; }
  // Sets how many jobs may run at once (limits/copy_jobs), 1 to kMaxJobs.
  void SetJobs(int count) VOLFS_EXCLUDES(mu_);

 private:
  void Work() VOLFS_EXCLUDES(mu_);
  // Takes the next job whose turn it is out of the queue. Null if there is none; then `wake_at` is
  // when to look again.
  std::shared_ptr<CloneJob> NextLocked(Nanoseconds* wake_at) VOLFS_REQUIRES(mu_);

  const Callback on_over_;
  Throttle throttle_;
  Mutex mu_;
  Condition changed_;
  struct Entry {
    std::shared_ptr<CloneJob> job;
    Nanoseconds not_before;
  };
  std::deque<Entry> queue_ VOLFS_GUARDED_BY(mu_);
  std::vector<std::shared_ptr<CloneJob>> running_ VOLFS_GUARDED_BY(mu_);
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
  int limit_ VOLFS_GUARDED_BY(mu_);
  std::vector<Thread> workers_;
};

}  // namespace volfs
