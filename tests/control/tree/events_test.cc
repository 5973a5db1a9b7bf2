// Goal: each reader of watch/events gets every event once and in order, or learns how many it lost.
// A removed callback does not run any more.
#include "control/tree/events.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

namespace volfs {
namespace {

constexpr size_t kMuch = size_t{1} << 20;

StoreEvent Event(uint64_t seq) {
  return {seq, 1738324800'123'000'000, "created", "db", 0x1234567890abcd00, "available"};
}

std::string Line(uint64_t seq) {
  return "{\"seq\":" + std::to_string(seq) +
         R"(,"time":"2025-01-31T12:00:00.123Z","event":"created","volume":"db",)"
         R"("id":"1234567890abcd00","status":"available"})"
         "\n";
}

TEST(EventRingTest, AReaderSeesWhatComesAfterItsOpen) {
  EventRing ring;
  ring.Add(Event(1));
  EventRing::Cursor cursor = ring.End();
  EXPECT_FALSE(ring.Readable(cursor));
  EXPECT_EQ(ring.Read(cursor, kMuch), std::nullopt);
  ring.Add(Event(2));
  EXPECT_TRUE(ring.Readable(cursor));
  EXPECT_EQ(ring.Read(cursor, kMuch), Line(2));
  EXPECT_EQ(ring.Read(cursor, kMuch), std::nullopt);
  EXPECT_EQ(ring.added(), 2U);
}

TEST(EventRingTest, ReadersDoNotDisturbEachOther) {
  EventRing ring;
  EventRing::Cursor a = ring.End();
  EventRing::Cursor b = ring.End();
  ring.Add(Event(1));
  EXPECT_EQ(ring.Read(a, kMuch), Line(1));
  ring.Add(Event(2));
  EXPECT_EQ(ring.Read(b, kMuch), Line(1) + Line(2));
  EXPECT_EQ(ring.Read(a, kMuch), Line(2));
}

TEST(EventRingTest, AReadGivesWholeLinesWherePossible) {
  EventRing ring;
  EventRing::Cursor cursor = ring.End();
  for (uint64_t seq = 1; seq <= 3; ++seq) ring.Add(Event(seq));
  EXPECT_EQ(ring.Read(cursor, 2 * Line(1).size() + 5), Line(1) + Line(2));
  EXPECT_EQ(ring.Read(cursor, kMuch), Line(3));
}

TEST(EventRingTest, ALongLineComesInParts) {
  EventRing ring;
  EventRing::Cursor cursor = ring.End();
  ring.Add(Event(1));
  ring.Add(Event(2));
  std::string all;
  for (int i = 0; i < 1000 && ring.Readable(cursor); ++i) {
    const auto part = ring.Read(cursor, 7);
    ASSERT_TRUE(part.has_value());
    ASSERT_FALSE(part->empty());
    ASSERT_LE(part->size(), 7U);
    all += *part;
  }
  EXPECT_EQ(all, Line(1) + Line(2));
}

TEST(EventRingTest, ASlowReaderIsToldWhatItLost) {
  EventRing ring;
  EventRing::Cursor cursor = ring.End();
  for (uint64_t seq = 1; seq <= EventRing::kKept + 5; ++seq) ring.Add(Event(seq));
  const std::string lost =
      R"({"seq":5,"time":"2025-01-31T12:00:00.123Z","event":"lost","volume":null,"id":null,)"
      R"("status":null,"lost":5})"
      "\n";
  EXPECT_EQ(ring.Read(cursor, lost.size()), lost);
  EXPECT_EQ(ring.Read(cursor, Line(6).size()), Line(6)) << "then the newer ones";
}

TEST(EventFeedTest, CallsBothCallbacksInOrder) {
  EventFeed feed;
  std::string calls;
  feed.SetEventCallback([&](const StoreEvent& event) { calls += std::to_string(event.seq); });
  feed.SetActivityCallback([&] { calls += "!"; });
  EventRing::Cursor cursor = feed.ring().End();
  feed.Deliver(Event(1));
  feed.Deliver(Event(2));
  EXPECT_EQ(calls, "1!2!");
  EXPECT_EQ(feed.ring().Read(cursor, kMuch), Line(1) + Line(2));
}

TEST(EventFeedTest, ACallbackThatWasTakenAwayIsOver) {
  EventFeed feed;
  std::atomic<bool> inside{false};
  std::atomic<int> calls{0};
  feed.SetActivityCallback([&] {
    inside = true;
    SleepFor(std::chrono::milliseconds(50));
    ++calls;
  });
  Thread thread("deliver", [&] { feed.Deliver(Event(1)); });
  while (!inside) YieldThread();
  feed.SetActivityCallback(nullptr);
  EXPECT_EQ(calls, 1) << "it was waited for";
  thread.Join();
  feed.Deliver(Event(2));
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace volfs
