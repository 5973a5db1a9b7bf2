#include "blockstore/sync/epoch.h"

#include <algorithm>
#include <cassert>

namespace volfs {
namespace {

using std::chrono::microseconds;
constexpr Nanoseconds kFirstPause = microseconds(20);  // about one 4 KiB read
constexpr Nanoseconds kLongestPause = microseconds(1000);

}  // namespace

Epoch::~Epoch() {
  for (const Stripe& stripe : stripes_) {
    assert(stripe.readers[0].load() == 0 && stripe.readers[1].load() == 0);
    (void)stripe;
  }
}

// Requires: new Readers enter with the other parity, else this might never end. Looking at one
// stripe after the other is enough: a Reader lowers the counter that it raised, so a counter that
// is 0 at any later moment has lost all Readers that it had at the call.
void Epoch::WaitUntilEmpty(uint32_t parity) {
  Nanoseconds pause = kFirstPause;
  for (const Stripe& stripe : stripes_) {
    while (stripe.readers[parity].load(std::memory_order_seq_cst) != 0) {
      SleepFor(pause);
      pause = std::min(2 * pause, kLongestPause);
    }
  }
}

// Flips twice, because a Reader may be counted under either parity: it reads the parity and raises
// the counter in two steps. If a flip comes in between, the Reader is counted under the old parity
// after the wait for that parity is over. The next Synchronize must wait for this Reader, and with
// a single flip it would wait for the other parity alone.
void Epoch::Synchronize() {
  MutexLock lock(mu_);
  for (int flip = 0; flip < 2; ++flip) {
    const uint32_t old_parity = parity_.load(std::memory_order_relaxed);
    parity_.store(old_parity ^ 1, std::memory_order_seq_cst);
    WaitUntilEmpty(old_parity);
  }
}

}  // namespace volfs
