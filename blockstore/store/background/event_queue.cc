#include "blockstore/store/background/event_queue.h"

#include <utility>

namespace volfs {

EventQueue::~EventQueue() { Stop(); }

void EventQueue::SetListener(Listener listener) {
  MutexLock lock(mu_);
  listener_ = std::move(listener);
}

void EventQueue::Start() {
  notifier_ = Thread("notify", [this] { Notify(); });
}

void EventQueue::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (notifier_.joinable()) notifier_.Join();
}

void EventQueue::Emit(std::string event, const std::string& volume, Id id, std::string status) {
  Emit({.event = std::move(event), .volume = volume, .id = id, .status = std::move(status)});
}

void EventQueue::Emit(StoreEvent event) {
  event.time_ns = WallNow().count();
  MutexLock lock(mu_);
  event.seq = ++seq_;
  events_.push_back(std::move(event));
  changed_.NotifyAll();
}

void EventQueue::Notify() {
  for (;;) {
    StoreEvent event;
    Listener listener;
    {
      MutexLock lock(mu_);
      while (events_.empty() && !stopping_) changed_.Wait(mu_);
      if (events_.empty()) return;
      event = std::move(events_.front());
      events_.pop_front();
      listener = listener_;
    }
    if (listener) listener(event);
  }
}

}  // namespace volfs
