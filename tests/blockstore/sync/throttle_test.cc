#include "blockstore/sync/throttle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/standing_time.h"

namespace volfs {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

bool Never() { return false; }

// A clock that also advances while the thread waits, so that times are exact.
class VirtualTime final : public StandingTime {
 public:
  // Calls `action` in the middle of the wait that spans `time`.
  void At(Nanoseconds time, std::function<void()> action) { actions_[time] = std::move(action); }

  bool Wait(const void*, const void*, Nanoseconds deadline) override {
    if (!actions_.empty() && actions_.begin()->first <= deadline) {
      auto action = actions_.extract(actions_.begin());
      now_ = std::max(now_, action.key());
      action.mapped()();
      return true;
    }
    now_ = std::max(now_, deadline);
    return false;
  }

 private:
  std::map<Nanoseconds, std::function<void()>> actions_;
};

class ThrottleTest : public testing::Test {
 protected:
  // Returns the duration of Take.
  Nanoseconds Took(Throttle& throttle, uint64_t bytes) {
    const Nanoseconds before = MonotonicNow();
    EXPECT_TRUE(throttle.Take(bytes, Never));
    return MonotonicNow() - before;
  }
  static void ExpectNear(Nanoseconds a, Nanoseconds b) {
    EXPECT_LT(a < b ? b - a : a - b, milliseconds(1)) << a.count() << " ns";
  }

  VirtualTime time_;
};

// Without a limit nothing waits.
TEST_F(ThrottleTest, IsUnlimitedAtFirst) {
  Throttle throttle;
  EXPECT_EQ(throttle.rate(), Throttle::kUnlimited);
  EXPECT_EQ(Took(throttle, UINT64_MAX), Nanoseconds(0));
  EXPECT_EQ(Took(throttle, UINT64_MAX), Nanoseconds(0));
}

// A request passes once it is paid for, however large it is. No debt is left that an unmount would
// forget.
TEST_F(ThrottleTest, LetsNothingPassOnCredit) {
  Throttle throttle(1'000'000);
  ExpectNear(Took(throttle, 10'000'000), seconds(10));
  ExpectNear(Took(throttle, 1'000'000), seconds(1));
}

// A new throttle, as after each mount, is empty. So is one that had no limit or stood still. (A
// free first request would exceed the limit by mounting again and again.)
TEST_F(ThrottleTest, BeginsEmpty) {
  Throttle fresh(1'000'000);
  ExpectNear(Took(fresh, 50'000), milliseconds(50));
  Throttle unlimited;
  SleepFor(seconds(10));
  unlimited.SetRate(1'000'000);
  ExpectNear(Took(unlimited, 50'000), milliseconds(50));
  Throttle paused(0);
  SleepFor(seconds(10));
  paused.SetRate(1'000'000);
  ExpectNear(Took(paused, 50'000), milliseconds(50));
  EXPECT_NE(Throttle(1'000'000).TryTake(1), Nanoseconds(0));
}

// Changing the limit again and again grants nothing either.
TEST_F(ThrottleTest, ChangesGrantNothing) {
  Throttle throttle(1'000'000);
  const Nanoseconds before = MonotonicNow();
  for (const uint64_t rate : {1'000'000U, 2'000'000U, 0U, 1'000'000U, 500'000U, 1'000'000U}) {
    throttle.SetRate(rate);
    EXPECT_NE(throttle.TryTake(1000), Nanoseconds(0));
  }
  EXPECT_EQ(MonotonicNow(), before);
}

// A request that is larger than the burst is paid for in the end, also if its caller gives up and
// asks again, as the slices of a copy do.
TEST_F(ThrottleTest, LargeRequestsAreNotStarved) {
  Throttle throttle(1000);
  const Nanoseconds before = MonotonicNow();
  int tries = 0;
  Nanoseconds until = before;
  const auto over = [&] { return MonotonicNow() >= until; };
  do {
    until = MonotonicNow() + milliseconds(100);
    ++tries;
  } while (!throttle.Take(4096, over));
  EXPECT_GT(tries, 1);
  ExpectNear(MonotonicNow() - before, milliseconds(4096));
  const Nanoseconds then = MonotonicNow();
  while (throttle.TryTake(4096) != Nanoseconds(0)) SleepFor(milliseconds(1));
  EXPECT_LT(MonotonicNow() - then, milliseconds(4100));
}

// In the long run the rate is kept to a thousandth, with rates from bytes to many gigabytes.
TEST_F(ThrottleTest, KeepsTheRate) {
  for (const uint64_t rate : {uint64_t{3}, uint64_t{999'983}, uint64_t{50'000'000'000}}) {
    Throttle throttle(rate);
    const Nanoseconds before = MonotonicNow();
    const uint64_t piece = rate / 7 + 1;
    uint64_t bytes = 0;
    for (; bytes < 100 * rate; bytes += piece) EXPECT_TRUE(throttle.Take(piece, Never));
    const double elapsed = std::chrono::duration<double>(MonotonicNow() - before).count();
    EXPECT_NEAR(elapsed, static_cast<double>(bytes) / static_cast<double>(rate), 0.1);
  }
}

// An idle time of any length is worth no more than kBurst (T1).
TEST_F(ThrottleTest, BoundsTheBurst) {
  Throttle throttle(1'000'000);
  EXPECT_EQ(throttle.burst_bytes(), 100'000U);
  SleepFor(seconds(3600));
  EXPECT_EQ(Took(throttle, 100'000), Nanoseconds(0));
  ExpectNear(Took(throttle, 100'000), Throttle::kBurst);
}

// A changed rate holds at once for waiting threads too: slower, faster, and without limit.
TEST_F(ThrottleTest, ChangesTheRateOfWaiters) {
  Throttle throttle(1000);
  time_.At(MonotonicNow() + seconds(10), [&] { throttle.SetRate(90'000); });
  ExpectNear(Took(throttle, 100'000), seconds(11));
  time_.At(MonotonicNow() + milliseconds(300), [&] { throttle.SetRate(Throttle::kUnlimited); });
  ExpectNear(Took(throttle, 90'000), milliseconds(300));
  throttle.SetRate(1);  // and the debt from before "unlimited" is forgotten
  ExpectNear(Took(throttle, 1), seconds(1));
}

// At rate 0 nothing passes, not even on credit; it goes on when the rate is set again.
TEST_F(ThrottleTest, Pauses) {
  Throttle throttle(1000);
  SleepFor(seconds(10));
  throttle.SetRate(0);
  time_.At(MonotonicNow() + seconds(500), [&] { throttle.SetRate(1000); });
  ExpectNear(Took(throttle, 1), seconds(500) + milliseconds(1));  // the savings are gone
}

// A Take that is stopped returns false within 0.2 s, and its bytes are not charged.
TEST_F(ThrottleTest, StopsWithoutCharging) {
  Throttle throttle(1000);
  bool stop = false;
  const Nanoseconds before = MonotonicNow();
  time_.At(before + milliseconds(500), [&] { stop = true; });
  EXPECT_FALSE(throttle.Take(1'000'000, [&] { return stop; }));
  EXPECT_LE(MonotonicNow() - before, milliseconds(700));
  (void)Took(throttle, 1000);
  ExpectNear(MonotonicNow() - before, seconds(1));
}

// Interrupt makes waiting threads look at their stop flags without delay, in real threads.
TEST(ThrottleThreadsTest, Interrupts) {
  Throttle throttle(0);
  std::atomic<bool> stop{false};
  std::atomic<int> refused{0};
  std::vector<Thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back("taker", [&] {
      if (!throttle.Take(1, [&] { return stop.load(); })) ++refused;
    });
  }
  SleepFor(milliseconds(5));
  throttle.Interrupt();  // nothing to stop for yet
  SleepFor(milliseconds(5));
  EXPECT_EQ(refused, 0);
  stop = true;
  throttle.Interrupt();
  for (Thread& thread : threads) thread.Join();
  EXPECT_EQ(refused, 3);
}

// The rate holds for all threads together, not for each of them.
TEST(ThrottleThreadsTest, SharesTheRate) {
  Throttle throttle(10'000'000);
  const Nanoseconds before = MonotonicNow();
  std::vector<Thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back("taker", [&] {
      for (int k = 0; k < 10; ++k) EXPECT_TRUE(throttle.Take(100'000, Never));
    });
  }
  for (Thread& thread : threads) thread.Join();
  EXPECT_GE(MonotonicNow() - before, milliseconds(295));  // 30 payments of 10 ms
}

// A caller that does not wait gets the same rate, and is told exactly when to come again. Bytes
// given back count as never taken.
TEST_F(ThrottleTest, TellsWhoDoesNotWaitWhenToComeAgain) {
  Throttle throttle(1'000'000);
  const Nanoseconds wait = throttle.TryTake(100'000);
  ExpectNear(wait, milliseconds(100));
  EXPECT_EQ(throttle.TryTake(100'000), wait) << "asking costs nothing";
  SleepFor(wait);
  EXPECT_EQ(throttle.TryTake(100'000), Nanoseconds(0));
  EXPECT_EQ(throttle.TryTake(500'000), milliseconds(200)) << "half a second, in steps";
  throttle.GiveBack(100'000);
  EXPECT_EQ(throttle.TryTake(100'000), Nanoseconds(0));
  throttle.SetRate(0);
  EXPECT_EQ(throttle.TryTake(1), milliseconds(200));
  throttle.SetRate(Throttle::kUnlimited);
  EXPECT_EQ(throttle.TryTake(UINT64_MAX), Nanoseconds(0));
}

}  // namespace
}  // namespace volfs
