#include "fusefs/serve/request_pool.h"

#include <cassert>
#include <utility>

namespace volfs {

RequestPool::RequestPool(std::string name, int least, int most)
    : name_(std::move(name)), min_(static_cast<size_t>(least)), max_(static_cast<size_t>(most)) {
  assert(least >= 1 && least <= most);
  MutexLock lock(mu_);
  while (threads_.size() < min_) {
    const uint64_t number = ++last_number_;
    threads_.emplace(number, Thread(name_, [this, number] { Work(number); }));
  }
}

RequestPool::~RequestPool() { Stop(); }

// At a limit of the host's there is none: the task waits for one of those that are there.
void RequestPool::TryToGrowLocked() {
  const uint64_t number = ++last_number_;
  const auto place = threads_.try_emplace(number).first;
  place->second = Thread::TryStart(name_, [this, number] { Work(number); });
  if (!place->second.joinable()) threads_.erase(place);
}

void RequestPool::Submit(std::function<void()> task) {
  std::vector<Thread> ended;
  {
    MutexLock lock(mu_);
    if (!stopping_) {
      queue_.push_back(std::move(task));
      task = nullptr;  // else a function that was moved from may be anything
      if (queue_.size() > idle_ && threads_.size() < max_) TryToGrowLocked();
      changed_.NotifyAll();
      ended.swap(ended_);
    }
  }
  for (Thread& thread : ended) thread.Join();
  if (task) task();
}

void RequestPool::Stop() {
  std::vector<Thread> threads;
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
    threads.swap(ended_);
    for (auto& [number, thread] : threads_) threads.push_back(std::move(thread));
    threads_.clear();
  }
  for (Thread& thread : threads) thread.Join();
  MutexLock lock(mu_);
  assert(queue_.empty());
}

void RequestPool::Work(uint64_t number) {
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(mu_);
      ++idle_;
      while (queue_.empty() && !stopping_ && threads_.size() <= min_) changed_.Wait(mu_);
      --idle_;
      assert(threads_.size() <= max_);
      if (queue_.empty()) {
        const auto self = threads_.find(number);
        if (self == threads_.end()) return;  // Stop joins it
        ended_.push_back(std::move(self->second));
        threads_.erase(self);
        return;
      }
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

}  // namespace volfs
