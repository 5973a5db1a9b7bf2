#include "fusefs/serve/invalidator.h"

#include <fuse3/fuse_lowlevel.h>

#include <algorithm>
#include <cassert>

namespace volfs {

Invalidator::~Invalidator() { Stop(); }

void Invalidator::Start(fuse_session* session) {
  assert(!thread_.joinable());  // started once
  thread_ = Thread("volfs-inval", [this, session] { Work(session); });
}

void Invalidator::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    queue_.clear();
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.Join();
}

void Invalidator::Attributes(uint64_t ino) { Queue({.ino = ino, .data = false}); }

void Invalidator::AttributesAndData(uint64_t ino) { Queue({.ino = ino, .data = true}); }

void Invalidator::Queue(Item item) {
  MutexLock lock(mu_);
  if (stopping_) return;
  // Once for each inode: while the kernel keeps us waiting for one of a node that hangs, the others
  // go on changing.
  const auto same = std::find_if(queue_.begin(), queue_.end(),
                                 [&](const Item& queued) { return queued.ino == item.ino; });
  if (same != queue_.end()) {
    same->data |= item.data;
    return;
  }
  queue_.push_back(item);
  changed_.NotifyAll();
}

// Failures mean that the kernel does not know the inode, or is gone: nothing to be done.
void Invalidator::Work(fuse_session* session) {
  while (true) {
    Item item;
    {
      MutexLock lock(mu_);
      while (queue_.empty() && !stopping_) changed_.Wait(mu_);
      if (stopping_) return;
      item = queue_.front();
      queue_.pop_front();
    }
    const off_t from = item.data ? 0 : -1;  // below 0: attributes only
    fuse_lowlevel_notify_inval_inode(session, item.ino, from, 0);
  }
}

}  // namespace volfs
