#include "blockstore/sync/foreground_load.h"

#include <algorithm>

namespace volfs {
namespace {

// The wait for the step of another job: about as long as a step takes.
constexpr Nanoseconds kAnothersStep = std::chrono::milliseconds(1);

}  // namespace

bool ForegroundLoad::BusyLocked(Nanoseconds now) {
  uint64_t requests = 0;
  for (const Stripe& stripe : stripes_) requests += stripe.requests.load(std::memory_order_relaxed);
  if (requests != seen_) quiet_at_ = now + kQuiet;
  seen_ = requests;
  return now < quiet_at_;
}

bool ForegroundLoad::Busy() {
  MutexLock lock(mu_);
  return BusyLocked(MonotonicNow());
}

Nanoseconds ForegroundLoad::TryStep() {
  MutexLock lock(mu_);
  const Nanoseconds now = MonotonicNow();
  if (BusyLocked(now)) {
    if (now < next_step_) return next_step_ - now;
    if (stepping_ > 0) return kAnothersStep;
  }
  ++stepping_;
  return Nanoseconds{0};
}

void ForegroundLoad::EndStep(Nanoseconds taken) {
  MutexLock lock(mu_);
  --stepping_;
  RestLocked(taken);
}

void ForegroundLoad::Rest(Nanoseconds taken) {
  MutexLock lock(mu_);
  RestLocked(taken);
}

void ForegroundLoad::RestLocked(Nanoseconds taken) {
  const Nanoseconds rest = std::min<Nanoseconds>(kRests * taken, kLongestRest);
  next_step_ = std::max(next_step_, MonotonicNow() + rest);
}

}  // namespace volfs
