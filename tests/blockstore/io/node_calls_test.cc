// Goal: NodeCalls sees from the running calls that a node hangs, and that it answers again
// (contract.md 7.7, traps T54, T63).
#include "blockstore/io/node_calls.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace volfs {
namespace {

using std::chrono::seconds;
using enum NodeCalls::Kind;

constexpr Nanoseconds kLimit = seconds(30);

TEST(NodeCallsTest, ANodeIsHungFromTheLimitUntilTheCallReturns) {
  NodeCalls calls;
  calls.Look(seconds(1000), kLimit);
  auto call = std::make_unique<NodeCalls::Call>(calls, kWrite);
  calls.Look(seconds(1030), kLimit);
  EXPECT_FALSE(calls.hung());
  EXPECT_TRUE(calls.slow());
  calls.Look(seconds(1031), kLimit);
  EXPECT_TRUE(calls.hung());
  EXPECT_EQ(calls.Trouble(), "a write has not returned for 31 s");
  call.reset();
  calls.Look(seconds(1032), kLimit);
  EXPECT_FALSE(calls.hung());
  EXPECT_FALSE(calls.slow());
  EXPECT_EQ(calls.Trouble(), "");
}

// A sync has a longer limit: it writes out the page cache, which many writes have filled.
TEST(NodeCallsTest, ASyncMayTakeLonger) {
  NodeCalls calls;
  calls.Look(seconds(1000), kLimit);
  const NodeCalls::Call call(calls, kSync);
  calls.Look(seconds(1120), kLimit);
  EXPECT_FALSE(calls.hung());
  calls.Look(seconds(1121), kLimit);
  EXPECT_TRUE(calls.hung());
}

// The node stays hung until the last call has returned, because each may still take effect.
TEST(NodeCallsTest, ItIsHungUntilAllHaveReturned) {
  NodeCalls calls;
  calls.Look(seconds(1000), kLimit);
  auto first = std::make_unique<NodeCalls::Call>(calls, kWrite);
  auto second = std::make_unique<NodeCalls::Call>(calls, kRead);
  calls.Look(seconds(1031), kLimit);
  first.reset();
  calls.Look(seconds(1032), kLimit);
  EXPECT_TRUE(calls.hung());
  second.reset();
  calls.Look(seconds(1033), kLimit);
  EXPECT_FALSE(calls.hung());
}

// There is no clock before the first look of the watchdog.
TEST(NodeCallsTest, ACallFromBeforeTheFirstLookCountsFromThere) {
  NodeCalls calls;
  const NodeCalls::Call call(calls, kRead);
  calls.Look(seconds(1000), kLimit);
  EXPECT_FALSE(calls.hung());
  calls.Look(seconds(1031), kLimit);
  EXPECT_TRUE(calls.hung());
}

// There may be more calls than NodeCalls has room to observe.
TEST(NodeCallsTest, MayBeMany) {
  NodeCalls calls;
  calls.Look(seconds(1), kLimit);
  std::vector<std::unique_ptr<NodeCalls::Call>> many;
  for (int i = 0; i < 1000; ++i) many.push_back(std::make_unique<NodeCalls::Call>(calls, kRead));
  calls.Look(seconds(100), kLimit);
  EXPECT_TRUE(calls.hung());
  many.clear();
  calls.Look(seconds(101), kLimit);
  EXPECT_FALSE(calls.hung());
}

}  // namespace
}  // namespace volfs
