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

// Newcomers must be on the other parity, else this might never end. One stripe after the other is
// enough: a Reader lowers the counter that it raised, so one that was there when we came and is
// not at some later instant has left.
void Epoch::WaitUntilEmpty(uint32_t parity) {
  Nanoseconds pause = kFirstPause;
  for (const Stripe& stripe : stripes_) {
    while (stripe.readers[parity].load(std::memory_order_seq_cst) != 0) {
      SleepFor(pause);
      pause = std::min(2 * pause, kLongestPause);
    }
  }
}

// Twice, as a reader may be counted under either parity. It reads the parity and raises the counter
// in two steps: with one flip in between it is counted under the old one, after that flip's wait
// was over. The next Synchronize must wait for it, and if it flipped only once would wait for the
// other parity alone.
void Epoch::Synchronize() {
  MutexLock lock(mu_);
  for (int flip = 0; flip < 2; ++flip) {
    const uint32_t old_parity = parity_.load(std::memory_order_relaxed);
    parity_.store(old_parity ^ 1, std::memory_order_seq_cst);
    WaitUntilEmpty(old_parity);
  }
}

}  // namespace volfs
