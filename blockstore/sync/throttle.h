#pragma once

#include <cstdint>
#include <functional>

#include "blockstore/base/runtime.h"

namespace volfs {

// A limit on bytes per second that several jobs share (hydration, merging): a token bucket.
//
// Units: bytes. A request passes when everything that was asked for before it, and the request
// itself, is paid for; requests pass in the order in which they came. Nothing passes on credit: the
// debt would be forgotten by an unmount, and each mount would grant one request more. Time in which
// nothing is asked for is worth burst_bytes() at most. Over any time t at most
// rate * t + burst_bytes() pass, in which a process, or a limit where there was none, begins with
// an empty bucket. A caller that asks for no more than burst_bytes() at once waits kBurst at most
// when it is alone.
//
// Invariants: T1  paid_ <= booked_ + the larger of the burst and the request that asked last;
//             T2  a request whose end is e has not passed before paid_ >= e (but for kUnlimited).
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

  // 0: nothing passes until the next change. Takes effect at once, for those who wait too. What is
  // owed remains owed, except when the old rate was kUnlimited: that leaves no debt and no credit.
  void SetRate(uint64_t bytes_per_second) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] uint64_t rate() const VOLFS_EXCLUDES(mu_);
  // The bytes that the limit grants in kBurst; kUnlimited without a limit.
  [[nodiscard]] uint64_t burst_bytes() const VOLFS_EXCLUDES(mu_);

  // Waits until `bytes` may pass, and takes them; then true. False, and nothing taken, if `stop()`
  // said so first: it is asked before each wait, at least every 0.2 s, and after Interrupt.
  [[nodiscard]] bool Take(uint64_t bytes, const std::function<bool()>& stop) VOLFS_EXCLUDES(mu_);

  // For who has something else to do meanwhile: takes `bytes` if they may pass now, and returns 0.
  // Else takes nothing, and returns how long to wait before asking again, at most 0.2 s.
  [[nodiscard]] Nanoseconds TryTake(uint64_t bytes) VOLFS_EXCLUDES(mu_);
  // What was taken has not passed after all.
  void GiveBack(uint64_t bytes) VOLFS_EXCLUDES(mu_);

  // Makes all who wait ask their `stop` again, now. Call it after what `stop` looks at was changed.
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
  Nanoseconds paid_at_ VOLFS_GUARDED_BY(mu_);     // paid_ is what it was at this instant
  uint64_t interrupts_ VOLFS_GUARDED_BY(mu_) = 0;
};

}  // namespace volfs
