#pragma once

#include <atomic>
#include <cstdint>

#include "blockstore/base/runtime.h"

namespace volfs {

// Counts the requests of users to the volumes of one node, and makes background copying give way to
// them. While requests come, all copying from and to the node together takes one small step at a
// time, and then rests for kRests times as long as the step took. So copying keeps a share of the
// time under any load, and always ends. kQuiet after the last request it has all of the time.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf. Cost of Note, which every read
// and write calls: one relaxed addition to a counter that few threads share.
class ForegroundLoad {
 public:
  // The size of a step while requests come. It is small because the host holds the file's lock for
  // each write.
  static constexpr uint64_t kStepBytes = 64 * 1024;
  static constexpr Nanoseconds kQuiet = std::chrono::milliseconds(50);
  static constexpr int kRests = 9;
  static constexpr Nanoseconds kLongestRest = std::chrono::seconds(1);

  void Note() { stripes_[ThreadSlot(kStripes)].requests.fetch_add(1, std::memory_order_relaxed); }

  [[nodiscard]] bool Busy() VOLFS_EXCLUDES(mu_);

  // Returns 0 if a step may begin; the caller then calls EndStep after it. Else returns how long to
  // wait before asking again.
  [[nodiscard]] Nanoseconds TryStep() VOLFS_EXCLUDES(mu_);
  void EndStep(Nanoseconds taken) VOLFS_EXCLUDES(mu_);
  // Tells that copying has used the node for something other than a step (a commit).
  void Rest(Nanoseconds taken) VOLFS_EXCLUDES(mu_);

 private:
  static constexpr uint32_t kStripes = 16;
  struct alignas(64) Stripe {  // a cache line of its own: threads do not take it from each other
    std::atomic<uint64_t> requests{0};
  };

  bool BusyLocked(Nanoseconds now) VOLFS_REQUIRES(mu_);
  void RestLocked(Nanoseconds taken) VOLFS_REQUIRES(mu_);

  Stripe stripes_[kStripes];
  alignas(64) Mutex mu_;
  uint64_t seen_ VOLFS_GUARDED_BY(mu_) = 0;        // requests at the last count
  Nanoseconds quiet_at_ VOLFS_GUARDED_BY(mu_){0};  // unless more requests come
  Nanoseconds next_step_ VOLFS_GUARDED_BY(mu_){0};
  int stepping_ VOLFS_GUARDED_BY(mu_) = 0;
};

}  // namespace volfs
