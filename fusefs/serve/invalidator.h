#pragma once

#include <cstdint>
#include <deque>

#include "blockstore/base/runtime.h"

struct fuse_session;

namespace volfs {

// Tells the kernel which attributes and contents it must not believe any more, from a thread of its
// own: the kernel takes locks for it that a request in one of our handlers may hold, so calling it
// from a handler, or under a lock, can stand still for ever.
//
// Names need none of this: the kernel asks for each anew (reply.h). Dropping one by force would
// also make losetup(8) call a file that has been made anew under the same name "(deleted)".
//
// Thread-safety: all methods from any thread, with any lock held. Locks: mu_, a leaf.
class Invalidator {
 public:
  Invalidator() = default;
  ~Invalidator();  // Stop()
  Invalidator(const Invalidator&) = delete;
  Invalidator& operator=(const Invalidator&) = delete;

  // Starts the thread. Once.
  void Start(fuse_session* session);
  // Drops the queue and joins the thread. Requires: the session still exists.
  void Stop() VOLFS_EXCLUDES(mu_);

  // Queue the message for one inode; once for each inode that is queued.
  void Attributes(uint64_t ino) VOLFS_EXCLUDES(mu_);
  void AttributesAndData(uint64_t ino) VOLFS_EXCLUDES(mu_);

 private:
  struct Item {
    uint64_t ino = 0;
    bool data = false;  // the contents as well
  };

  void Queue(Item item) VOLFS_EXCLUDES(mu_);
  void Work(fuse_session* session) VOLFS_EXCLUDES(mu_);

  Mutex mu_;
  Condition changed_;
  std::deque<Item> queue_ VOLFS_GUARDED_BY(mu_);
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
  Thread thread_;
};

}  // namespace volfs
