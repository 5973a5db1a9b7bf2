#include "blockstore/sync/gate.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <utility>
#include <vector>

namespace volfs {
namespace {

using std::chrono::milliseconds;

Nanoseconds In(milliseconds duration) { return MonotonicNow() + duration; }
constexpr milliseconds kLong(20'000);  // never reached unless something hangs

// Passages do not hinder one another, and an empty gate closes at once.
TEST(GateTest, IsOpenAtFirst) {
  Gate gate;
  {
    const auto one = gate.Enter();
    const auto two = gate.Enter();
    EXPECT_TRUE(one.inside());
    EXPECT_TRUE(two.inside());
  }
  ASSERT_TRUE(gate.Close(In(milliseconds(0))).holds());
  EXPECT_TRUE(gate.Enter().inside());
}

// Close gives up at its deadline while a passage lasts, and leaves the gate open.
TEST(GateTest, OpensAgainAtTheDeadline) {
  Gate gate;
  auto passage = gate.Enter();
  EXPECT_FALSE(gate.Close(In(milliseconds(5))).holds());
  EXPECT_TRUE(gate.Enter().inside());
  passage.Leave();
  ASSERT_TRUE(gate.Close(In(kLong)).holds());
}

// A Passage may be moved, and ends once.
TEST(GateTest, MovesPassages) {
  Gate gate;
  Gate::Passage outer;
  {
    auto inner = gate.Enter();
    outer = std::move(inner);
  }
  EXPECT_FALSE(gate.Close(In(milliseconds(1))).holds());
  outer = Gate::Passage();
  ASSERT_TRUE(gate.Close(In(kLong)).holds());
}

// A Closure may be moved, and opens the gate once, at its end.
TEST(GateTest, MovesClosures) {
  Gate gate;
  Gate::Closure outer;
  {
    Gate::Closure inner = gate.Close(In(kLong));
    outer = std::move(inner);
  }
  ASSERT_TRUE(outer.holds());
  EXPECT_FALSE(gate.Close(In(milliseconds(1))).holds());
  outer = Gate::Closure();
  EXPECT_TRUE(gate.Enter().inside());
}

// Close returns as soon as the last passage has ended.
TEST(GateTest, WaitsForThoseInside) {
  Gate gate;
  auto passage = gate.Enter();
  std::atomic<bool> left{false};
  Thread leaver("leaver", [&] {
    SleepFor(milliseconds(10));
    left = true;
    passage.Leave();
  });
  Gate::Closure closed = gate.Close(In(kLong));
  ASSERT_TRUE(closed.holds());
  EXPECT_TRUE(left);
  closed.Open();
  leaver.Join();
}

// A thread that arrives while the gate is closed waits until it opens.
TEST(GateTest, HoldsNewcomersBack) {
  Gate gate;
  Gate::Closure closed = gate.Close(In(kLong));
  ASSERT_TRUE(closed.holds());
  std::atomic<bool> entered{false};
  Thread newcomer("newcomer", [&] {
    const auto passage = gate.Enter();
    entered = true;
  });
  SleepFor(milliseconds(10));
  EXPECT_FALSE(entered);
  closed.Open();
  newcomer.Join();
  EXPECT_TRUE(entered);
}

// A second closer waits for the first one's Open, up to its own deadline.
TEST(GateTest, ServesOneCloserAtATime) {
  Gate gate;
  Gate::Closure closed = gate.Close(In(kLong));
  ASSERT_TRUE(closed.holds());
  EXPECT_FALSE(gate.Close(In(milliseconds(5))).holds());
  Thread second("second", [&] { ASSERT_TRUE(gate.Close(In(kLong)).holds()); });
  SleepFor(milliseconds(5));
  closed.Open();
  second.Join();
}

// While many threads pass and some close, no passage overlaps a closed gate (G1), and the closer
// sees the writes of all passages (G2). The counters therefore need no lock.
TEST(GateTest, ExcludesUnderLoad) {
  constexpr int kPassers = 3;
  struct alignas(64) Count {
    uint64_t value = 0;  // plain: the thread sanitizer sees any overlap with the closer
  };
  Gate gate;
  std::atomic<bool> stop{false};
  Count counts[kPassers];
  std::vector<Thread> threads;
  for (Count& count : counts) {
    threads.emplace_back("passer", [&] {
      while (!stop) {
        const auto passage = gate.Enter();
        ++count.value;
      }
    });
  }
  for (int i = 0; i < 300; ++i) {
    Gate::Closure closed = gate.Close(In(kLong));
    ASSERT_TRUE(closed.holds());
    uint64_t before = 0;
    uint64_t after = 0;
    for (const Count& count : counts) before += count.value;
    YieldThread();
    for (const Count& count : counts) after += count.value;
    EXPECT_EQ(before, after);
    closed.Open();
  }
  stop = true;
  for (Thread& thread : threads) thread.Join();
}

}  // namespace
}  // namespace volfs
