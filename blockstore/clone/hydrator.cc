#include "blockstore/clone/hydrator.h"

#include <algorithm>

namespace volfs {
Hydrator::Hydrator(int workers, Callback on_over) : on_over_(std::move(on_over)), limit_(workers) {
  for (int i = 0; i < workers; ++i) workers_.emplace_back("hydrate", [this] { Work(); });
}

Hydrator::~Hydrator() { Stop(); }

void Hydrator::Add(std::shared_ptr<CloneJob> job) {
  MutexLock lock(mu_);
  queue_.push_back({std::move(job), Nanoseconds{0}});
  changed_.NotifyAll();
}

void Hydrator::Remove(const std::shared_ptr<CloneJob>& job) {
  job->Stop();
  MutexLock lock(mu_);
  std::erase_if(queue_, [&](const Entry& entry) { return entry.job == job; });
  while (std::find(running_.begin(), running_.end(), job) != running_.end()) changed_.Wait(mu_);
}

void Hydrator::SetJobs(int count) {
  MutexLock lock(mu_);
  limit_ = std::max(count, 1);
  changed_.NotifyAll();
}

void Hydrator::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    for (const auto& job : running_) job->Stop();
    for (const Entry& entry : queue_) entry.job->Stop();
    changed_.NotifyAll();
  }
  for (Thread& worker : workers_) {
    if (worker.joinable()) worker.Join();
  }
}

std::shared_ptr<CloneJob> Hydrator::NextLocked(Nanoseconds* wake_at) {
  *wake_at = kForever;
  if (static_cast<int>(running_.size()) >= limit_) return nullptr;
  const Nanoseconds now = MonotonicNow();
  for (auto it = queue_.begin(); it != queue_.end(); ++it) {
    if (it->not_before <= now) {
      std::shared_ptr<CloneJob> job = std::move(it->job);
      queue_.erase(it);
      return job;
    }
    *wake_at = std::min(*wake_at, it->not_before);
  }
  return nullptr;
}

void Hydrator::Work() {
  for (;;) {
    std::shared_ptr<CloneJob> job;
    {
      MutexLock lock(mu_);
      for (Nanoseconds wake_at; !stopping_;) {
        job = NextLocked(&wake_at);
        if (job != nullptr) break;
        (void)changed_.WaitUntil(mu_, wake_at);
      }
      if (stopping_) return;
      running_.push_back(job);
    }
    const CloneJob::Next next = job->RunSlice();
    // Called while the job still counts as running, so that Remove waits for the callback too.
    if (next == CloneJob::Next::kOver) on_over_(job);
    MutexLock lock(mu_);
    std::erase(running_, job);
    if (next != CloneJob::Next::kOver && !stopping_) {
      const bool later = next == CloneJob::Next::kLater;
      queue_.push_back({job, later ? job->resume_at() : Nanoseconds{0}});
    }
    changed_.NotifyAll();
  }
}

}  // namespace volfs
