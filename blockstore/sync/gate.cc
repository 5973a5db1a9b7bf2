#include "blockstore/sync/gate.h"

#include <cassert>

namespace volfs {

Gate::Passage& Gate::Passage::operator=(Passage&& other) noexcept {
  if (this == &other) return *this;
  Leave();
  gate_ = std::exchange(other.gate_, nullptr);
  stripe_ = other.stripe_;
  return *this;
}

Gate::~Gate() {
  assert(!closed_.load());
  for (const Stripe& stripe : stripes_) {
    assert(stripe.inside.load() == 0);
    (void)stripe;
  }
}

// The closer may have counted this thread already, so it is woken to look again.
Gate::Passage Gate::EnterSlowly(Stripe* stripe) {
  for (;;) {
    {
      MutexLock lock(mu_);
      stripe->inside.fetch_sub(1, std::memory_order_seq_cst);
      left_.NotifyAll();
      while (closed_.load()) opened_.Wait(mu_);
    }
    // Without mu_, so another closer may have closed the gate meanwhile: look again.
    stripe->inside.fetch_add(1, std::memory_order_seq_cst);
    if (!closed_.load(std::memory_order_seq_cst)) return Passage(this, stripe);
  }
}

// Notifies under mu_, so that the wake-up cannot come between the closer's look at the counters and
// its wait.
void Gate::WakeCloser() {
  MutexLock lock(mu_);
  left_.NotifyAll();
}

void Gate::OpenLocked() {
  closed_.store(false, std::memory_order_seq_cst);
  opened_.NotifyAll();
}

Gate::Closure Gate::Close(Nanoseconds deadline) {
  MutexLock lock(mu_);
  while (closed_.load()) {
    if (!opened_.WaitUntil(mu_, deadline) && closed_.load()) return Closure();
  }
  closed_.store(true, std::memory_order_seq_cst);
  // Looking at one stripe after the other is enough: a stripe that was 0 after closed_ was set
  // stays empty, except for threads in Enter that lower it again.
  for (const Stripe& stripe : stripes_) {
    while (stripe.inside.load(std::memory_order_seq_cst) != 0) {
      if (!left_.WaitUntil(mu_, deadline) && stripe.inside.load() != 0) {
        OpenLocked();
        return Closure();
      }
    }
  }
  return Closure(this);
}

void Gate::Open() {
  MutexLock lock(mu_);
  assert(closed_.load());
  OpenLocked();
}

}  // namespace volfs
