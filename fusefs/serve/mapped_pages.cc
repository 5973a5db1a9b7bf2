#include "fusefs/serve/mapped_pages.h"

#include <fuse3/fuse_lowlevel.h>

#include <cassert>

namespace volfs {

void MappedPages::Start(fuse_session* session) {
  MutexLock lock(mu_);
  session_ = session;
}

// A failure means that the kernel does not know the inode, or is gone, or that a WRITE was refused,
// of which msync(2) tells the process that has the mapping.
void MappedPages::WriteOut(uint64_t ino, const ByteRange& range) {
  fuse_session* session = nullptr;
  {
    MutexLock lock(mu_);
    if (session_ == nullptr) return;
    session = session_;
    ++under_way_;
  }
  fuse_lowlevel_notify_inval_inode(session, ino, static_cast<off_t>(range.offset_bytes),
                                   static_cast<off_t>(range.length_bytes));
  MutexLock lock(mu_);
  --under_way_;
  assert(under_way_ >= 0);
  changed_.NotifyAll();
}

void MappedPages::Stop() {
  MutexLock lock(mu_);
  session_ = nullptr;
  const Nanoseconds deadline = MonotonicNow() + kPatience;
  while (under_way_ > 0 && MonotonicNow() < deadline) (void)changed_.WaitUntil(mu_, deadline);
}

}  // namespace volfs
