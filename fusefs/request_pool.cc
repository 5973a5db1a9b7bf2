#include "fusefs/request_pool.h"

#include <utility>

namespace volfs {

RequestPool::RequestPool(const std::string& name, int threads) {
  threads_.reserve(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) threads_.emplace_back(name, [this] { Work(); });
}

RequestPool::~RequestPool() { Stop(); }

void RequestPool::Submit(std::function<void()> task) {
  {
    MutexLock lock(mu_);
    if (!stopping_) {
      queue_.push_back(std::move(task));
      changed_.NotifyAll();
      return;
    }
  }
  task();
}

void RequestPool::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  for (Thread& thread : threads_) {
    if (thread.joinable()) thread.Join();
  }
}

void RequestPool::Work() {
  while (true) {
    std::function<void()> task;
    {
      MutexLock lock(mu_);
      while (queue_.empty() && !stopping_) changed_.Wait(mu_);
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

}  // namespace volfs
