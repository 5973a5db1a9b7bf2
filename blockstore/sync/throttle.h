#pragma once

#include <cstdint>
#include <functional>

#include "blockstore/base/runtime.h"

namespace volfs {

// A limit on bytes per second that several jobs share (hydration, merging): a token bucket.
//
// Units: bytes. A request passes when all earlier requests and itself are paid for, so requests
// pass in the order in which they came. Nothing passes on credit: an unmount would forget the debt,
// and each mount would grant one request more. Idle time is worth burst_bytes() at most. Over any
// time t at most rate * t + burst_bytes() pass. The bucket is empty when the process starts, and
// when a limit is set where there was none. A caller that is alone and asks for no more than
// burst_bytes() at once waits kBurst at most.
//
// Invariants: T1  paid_ <= booked_ + the larger of the burst and the request that asked last;
//             T2  unless the rate is kUnlimited, a request whose end is e passes only once paid_ >=
//                 e.
//
// Thread-safety: all methods from any thread. Locks: mu_ is a leaf; `stop` is called without it.
// Cost: one lock a request when it need not wait.
class Throttle {
 public:
  static constexpr uint64_t kUnlimited = UINT64_MAX;
  static constexpr Nanoseconds kBurst = std::chrono::milliseconds(100);

  explicit Throttle(uint64_t bytes_per_second = kUnlimited);
  Throttle(const Throttle&) = delete;
  Throttle& operator=(const Throttle&) = delete;

  // Sets the limit; with 0 nothing passes until the next change. Takes effect at once, for waiting
  // callers too. A debt remains, except when the old rate was kUnlimited, which leaves neither debt
  // nor credit.
  void SetRate(uint64_t bytes_per_second) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] uint64_t rate() const VOLFS_EXCLUDES(mu_);
  // Returns the bytes that the limit grants in kBurst; kUnlimited without a limit.
  [[nodiscard]] uint64_t burst_bytes() const VOLFS_EXCLUDES(mu_);

  // Waits until `bytes` may pass, takes them and returns true. Takes nothing and returns false if
  // `stop()` returns true first. `stop` is called before each wait, at least every 0.2 s, and after
  // Interrupt.
  [[nodiscard]] bool Take(uint64_t bytes, const std::function<bool()>& stop) VOLFS_EXCLUDES(mu_);

  // Takes `bytes` and returns 0 if they may pass now. Else takes nothing, and returns how long to
  // wait before asking again, at most 0.2 s. For callers that have other work meanwhile.
  [[nodiscard]] Nanoseconds TryTake(uint64_t bytes) VOLFS_EXCLUDES(mu_);
  // Gives back `bytes` that were taken and have not passed after all.
  void GiveBack(uint64_t bytes) VOLFS_EXCLUDES(mu_);

  // Makes all waiting callers ask their `stop` again, now. Call it after a change that `stop` looks
  // at.
  void Interrupt() VOLFS_EXCLUDES(mu_);

 private:
  void PayLocked(uint64_t wanted_bytes) VOLFS_REQUIRES(mu_);
  [[nodiscard]] Nanoseconds PauseLocked(uint64_t end) const VOLFS_REQUIRES(mu_);

  mutable Mutex mu_;
  Condition changed_;  // the rate, or interrupts_
  uint64_t rate_ VOLFS_GUARDED_BY(mu_);
  // Totals since the beginning. A request's end is booked_ after it was added.
  uint64_t booked_ VOLFS_GUARDED_BY(mu_) = 0;
  uint64_t paid_ VOLFS_GUARDED_BY(mu_) = 0;
  uint64_t remainder_ VOLFS_GUARDED_BY(mu_) = 0;  // of paid_, in 1e-9 bytes
  Nanoseconds paid_at_ VOLFS_GUARDED_BY(mu_);     // the time up to which paid_ counts
  uint64_t interrupts_ VOLFS_GUARDED_BY(mu_) = 0;
};

}  // namespace volfs
