#include "blockstore/sync/range_lock.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <random>
#include <utility>
#include <vector>

namespace volfs {
namespace {

constexpr Nanoseconds kAWhile = std::chrono::milliseconds(20);

void WaitFor(const std::atomic<int>& value, int wanted) {
  while (value.load() != wanted) SleepFor(std::chrono::microseconds(100));
}

// Ranges that do not overlap are locked side by side. held() is true of parts of a held range.
TEST(RangeLockTest, LetsDisjointRangesIn) {
  RangeLock lock;
  const auto low = lock.Lock({0, 10});
  const auto high = lock.Lock({10, 10});
  EXPECT_TRUE(lock.held({0, 10}));
  EXPECT_TRUE(lock.held({12, 3}));
  EXPECT_FALSE(lock.held({9, 2})) << "nobody holds both blocks";
  EXPECT_FALSE(lock.held({20, 1}));
}

// TryLock refuses a range that overlaps a held one by one block, and locks a free range.
TEST(RangeLockTest, TriesWithoutWaiting) {
  RangeLock lock;
  auto guard = lock.Lock({5, 5});
  EXPECT_FALSE(lock.TryLock({0, 6}).holds());
  EXPECT_FALSE(lock.TryLock({9, 1}).holds());
  EXPECT_TRUE(lock.TryLock({0, 5}).holds());
  EXPECT_TRUE(lock.TryLock({10, 1}).holds());
  guard.Release();
  EXPECT_TRUE(lock.TryLock({9, 1}).holds());
}

// A Guard may be moved; the lock goes with the last owner.
TEST(RangeLockTest, MovesGuards) {
  RangeLock lock;
  RangeLock::Guard outer;
  {
    auto inner = lock.Lock({1, 1});
    outer = std::move(inner);
  }
  EXPECT_EQ(outer.range(), (BlockRange{1, 1}));
  EXPECT_TRUE(lock.held({1, 1}));
  outer = RangeLock::Guard();
  EXPECT_FALSE(lock.held({1, 1}));
}

// Overlapping ranges are locked in the order of arrival (L2). A small range does not overtake a
// large one that waits, and a range that overlaps neither does not wait at all.
TEST(RangeLockTest, ServesInTheOrderOfArrival) {
  RangeLock lock;
  auto first = lock.Lock({0, 1});
  std::atomic<int> came{0};
  std::atomic<int> order{0};
  int large_was = -1;
  int small_was = -1;
  Thread large("large", [&] {
    came = 1;
    const auto guard = lock.Lock({0, 1'000'000});
    large_was = order++;
  });
  WaitFor(came, 1);
  SleepFor(kAWhile);
  Thread small("small", [&] {
    came = 2;
    const auto guard = lock.Lock({500, 1});  // free, but the large one came earlier
    small_was = order++;
  });
  WaitFor(came, 2);
  SleepFor(kAWhile);
  EXPECT_EQ(order, 0);
  EXPECT_TRUE(lock.TryLock({2'000'000, 1}).holds());
  first.Release();
  large.Join();
  small.Join();
  EXPECT_EQ(large_was, 0);
  EXPECT_EQ(small_was, 1);
}

// However the threads interleave, no block is ever held twice (L1), and each Lock returns.
TEST(RangeLockTest, ExcludesUnderLoad) {
  constexpr uint64_t kRangeBlocks = 32;
  RangeLock lock;
  std::array<int, kRangeBlocks> owner{};  // plain: the thread sanitizer sees any overlap
  std::vector<Thread> threads;
  for (int self = 1; self <= 4; ++self) {
    threads.emplace_back("locker", [&, self] {
      std::mt19937_64 random(static_cast<uint64_t>(self));
      for (int i = 0; i < 3000; ++i) {
        const uint64_t first = random() % kRangeBlocks;
        const BlockRange range{first, 1 + random() % std::min<uint64_t>(8, kRangeBlocks - first)};
        const auto guard = lock.Lock(range);
        for (uint64_t b = range.first; b < range.end(); ++b) ASSERT_EQ(owner[b], 0);
        for (uint64_t b = range.first; b < range.end(); ++b) owner[b] = self;
        if (i % 8 == 0) YieldThread();
        for (uint64_t b = range.first; b < range.end(); ++b) owner[b] = 0;
      }
    });
  }
  for (Thread& thread : threads) thread.Join();
  EXPECT_TRUE(lock.TryLock({0, kRangeBlocks}).holds());
}

}  // namespace
}  // namespace volfs
