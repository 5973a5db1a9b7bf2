#include "blockstore/sync/throttle.h"

#include <algorithm>
#include <cassert>

namespace volfs {
namespace {

constexpr uint64_t kNanosPerSecond = 1'000'000'000;
constexpr Nanoseconds kLongestWait = std::chrono::milliseconds(200);
__extension__ using Wide = unsigned __int128;  // bytes per second times nanoseconds

uint64_t BurstBytes(uint64_t rate) {
  return rate / (kNanosPerSecond / static_cast<uint64_t>(Throttle::kBurst.count()));
}

}  // namespace

Throttle::Throttle(uint64_t bytes_per_second) : rate_(bytes_per_second), paid_at_(MonotonicNow()) {}

// Brings paid_ up to now, at most to a burst or `wanted_bytes` beyond booked_, whichever is more. A
// request that is larger than the burst must get paid for in the end, even if its caller only asks
// again and again (TryTake). Requires: the rate is a limit.
void Throttle::PayLocked(uint64_t wanted_bytes) {
  assert(rate_ != kUnlimited);
  const Nanoseconds now = std::max(MonotonicNow(), paid_at_);
  const auto elapsed_ns = static_cast<uint64_t>((now - paid_at_).count());
  const Wide total = Wide{rate_} * elapsed_ns + remainder_;
  const Wide bytes = total / kNanosPerSecond;
  const uint64_t limit = booked_ + std::max(BurstBytes(rate_), wanted_bytes);
  const uint64_t most = limit - std::min(paid_, limit);
  remainder_ = bytes < most ? static_cast<uint64_t>(total % kNanosPerSecond) : 0;
  paid_ += bytes < most ? static_cast<uint64_t>(bytes) : most;
  paid_at_ = now;
}

// Returns how long it takes until everything up to `end` is paid for, at most kLongestWait.
Nanoseconds Throttle::PauseLocked(uint64_t end) const {
  assert(paid_ < end);
  if (rate_ == 0) return kLongestWait;
  const Wide owed = Wide{end - paid_} * kNanosPerSecond - remainder_;
  const Wide pause_ns = owed / rate_ + 1;
  const auto longest_ns = static_cast<uint64_t>(kLongestWait.count());
  if (pause_ns >= longest_ns) return kLongestWait;
  return Nanoseconds(static_cast<int64_t>(pause_ns));
}

void Throttle::SetRate(uint64_t bytes_per_second) {
  MutexLock lock(mu_);
  if (rate_ == kUnlimited) {
    paid_ = booked_;
    remainder_ = 0;
    paid_at_ = MonotonicNow();
  } else {
    PayLocked(0);
  }
  rate_ = bytes_per_second;
  // The burst of the new rate may be smaller (T1).
  if (rate_ != kUnlimited) paid_ = std::min(paid_, booked_ + BurstBytes(rate_));
  changed_.NotifyAll();
}

uint64_t Throttle::rate() const {
  MutexLock lock(mu_);
  return rate_;
}

uint64_t Throttle::burst_bytes() const {
  MutexLock lock(mu_);
  return rate_ == kUnlimited ? kUnlimited : BurstBytes(rate_);
}

bool Throttle::Take(uint64_t bytes, const std::function<bool()>& stop) {
  MutexLock lock(mu_);
  if (rate_ == kUnlimited) return true;
  PayLocked(bytes);
  booked_ += bytes;
  const uint64_t end = booked_;
  for (;;) {
    // At rate 0 a credit is worth nothing: paused is paused.
    if (rate_ == kUnlimited) return true;
    PayLocked(0);
    if (rate_ != 0 && paid_ >= end) return true;

    const uint64_t seen = interrupts_;
    mu_.Unlock();
    const bool stopped = stop();
    mu_.Lock();
    if (stopped) {
      paid_ += bytes;  // later requests have their ends already, so booked_ stays
      changed_.NotifyAll();
      return false;
    }
    if (seen != interrupts_) continue;
    const Nanoseconds pause = paid_ >= end ? kLongestWait : PauseLocked(end);
    (void)changed_.WaitUntil(mu_, MonotonicNow() + pause);
  }
}

Nanoseconds Throttle::TryTake(uint64_t bytes) {
  MutexLock lock(mu_);
  if (rate_ == kUnlimited) return Nanoseconds{0};
  PayLocked(bytes);
  if (rate_ == 0) return kLongestWait;
  if (paid_ < booked_ + bytes) return PauseLocked(booked_ + bytes);
  booked_ += bytes;
  return Nanoseconds{0};
}

void Throttle::GiveBack(uint64_t bytes) {
  MutexLock lock(mu_);
  if (rate_ == kUnlimited) return;
  paid_ = std::min(paid_ + bytes, booked_ + std::max(bytes, BurstBytes(rate_)));
  changed_.NotifyAll();
}

void Throttle::Interrupt() {
  MutexLock lock(mu_);
  ++interrupts_;
  changed_.NotifyAll();
}

}  // namespace volfs
