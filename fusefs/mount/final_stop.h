#pragma once

#include <atomic>

#include "blockstore/base/runtime.h"
#include "blockstore/store/store.h"
#include "fusefs/mount/session.h"
#include "fusefs/serve/watchdog.h"

namespace volfs {

// Ends the process when the mount is over but a node that hangs keeps the daemon from ending: its
// threads cannot be joined, as the kernel does not let go of them. The volumes of the other nodes
// are committed first. The next mount finds the node that hung as after a crash.
//
//   serving --the session ends--> ending --all threads joined--> the destructor
//                                    |
//                                    +--a node hangs for kPatience--> commit the others, exit
//
// Thread-safety: all methods from any thread. Locks: mu_, held over the commits of the end, after
// which there is nothing.
class FinalStop {
 public:
  FinalStop(Store& store, const Watchdog& watchdog);
  ~FinalStop();  // the daemon ends in order after all
  FinalStop(const FinalStop&) = delete;
  FinalStop& operator=(const FinalStop&) = delete;

  // Watches from here on whether `session` has ended; null: it has.
  void Follow(Session* session) VOLFS_EXCLUDES(mu_);
  // Commits nothing from here on: the store does so by itself.
  void LeaveStoreAlone() VOLFS_EXCLUDES(mu_);

 private:
  static constexpr Nanoseconds kPatience = std::chrono::seconds(2);
  static constexpr Nanoseconds kTick = std::chrono::milliseconds(100);

  void Work() VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool EndingLocked() const VOLFS_REQUIRES(mu_);

  const Watchdog& watchdog_;
  Mutex mu_;
  Condition changed_;
  Store* store_ VOLFS_GUARDED_BY(mu_);
  bool serving_ VOLFS_GUARDED_BY(mu_) = true;
  Session* session_ VOLFS_GUARDED_BY(mu_) = nullptr;
  bool ended_ VOLFS_GUARDED_BY(mu_) = false;
  Thread thread_;
};

}  // namespace volfs
