#include "fusefs/serve/parked_reads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <vector>

namespace volfs {
namespace {

enum class Answer { kNone, kGiven, kAbandoned };

// A reader, the text that it would read, and its answer. Answers are counted.
struct Reader {
  std::atomic<bool> available{false};
  std::atomic<bool> interrupted_before{false};
  std::atomic<int> given{0};
  std::atomic<int> abandoned{0};

  ParkedReads::Read AsRead() {
    return {.request = this,
            .try_answer =
                [this] {
                  if (!available) return false;
                  ++given;
                  return true;
                },
            .abandon = [this] { ++abandoned; },
            .interrupted = [this] { return interrupted_before.load(); }};
  }

  [[nodiscard]] Answer WaitForAnswer() const {
    const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(20);
    while (given + abandoned == 0 && MonotonicNow() < deadline) {
      SleepFor(std::chrono::milliseconds(1));
    }
    if (given + abandoned != 1) return Answer::kNone;
    return given == 1 ? Answer::kGiven : Answer::kAbandoned;
  }
};

void LetItRun() { SleepFor(std::chrono::milliseconds(20)); }

TEST(ParkedReadsTest, AnswersWhenThereIsSomething) {
  Reader reader;
  ParkedReads parked;
  ASSERT_TRUE(parked.Park(reader.AsRead()));
  parked.Wake();
  LetItRun();
  EXPECT_EQ(reader.given + reader.abandoned, 0) << "there was nothing to read";
  reader.available = true;
  parked.Wake();
  EXPECT_EQ(reader.WaitForAnswer(), Answer::kGiven);
}

// An event may come after the reader's look and before it parks, when no wake reaches it. So
// parking looks once more.
TEST(ParkedReadsTest, LooksOnceMoreWhenItParks) {
  Reader reader;
  reader.available = true;
  ParkedReads parked;
  ASSERT_TRUE(parked.Park(reader.AsRead()));
  EXPECT_EQ(reader.WaitForAnswer(), Answer::kGiven);
}

// T55: a blocked reader can be interrupted, before it is parked and after.
TEST(ParkedReadsTest, InterruptGivesUpThatReadOnly) {
  Reader one;
  Reader other;
  ParkedReads parked;
  ASSERT_TRUE(parked.Park(one.AsRead()));
  ASSERT_TRUE(parked.Park(other.AsRead()));
  parked.Interrupt(&one);
  EXPECT_EQ(one.WaitForAnswer(), Answer::kAbandoned);
  LetItRun();
  EXPECT_EQ(other.given + other.abandoned, 0);
  other.available = true;
  parked.Wake();
  EXPECT_EQ(other.WaitForAnswer(), Answer::kGiven);
}

TEST(ParkedReadsTest, AnInterruptBeforeParkingCounts) {
  Reader reader;
  reader.interrupted_before = true;
  ParkedReads parked;
  ASSERT_TRUE(parked.Park(reader.AsRead()));
  EXPECT_EQ(reader.WaitForAnswer(), Answer::kAbandoned);
}

TEST(ParkedReadsTest, StopAnswersEverybodyOnce) {
  std::vector<std::unique_ptr<Reader>> readers;
  ParkedReads parked;
  for (int i = 0; i < 100; ++i) {
    readers.push_back(std::make_unique<Reader>());
    ASSERT_TRUE(parked.Park(readers.back()->AsRead()));
  }
  parked.Stop();
  for (const auto& reader : readers) EXPECT_EQ(reader->WaitForAnswer(), Answer::kAbandoned);
  Reader late;
  EXPECT_FALSE(parked.Park(late.AsRead()));
  EXPECT_EQ(late.given + late.abandoned, 0);
}

TEST(ParkedReadsTest, TooManyAreRefused) {
  Reader reader;
  ParkedReads parked;
  for (size_t i = 0; i < ParkedReads::kMaxOfOthers; ++i) {
    ASSERT_TRUE(parked.Park(reader.AsRead()));
  }
  EXPECT_FALSE(parked.Park(reader.AsRead()));
}

TEST(ParkedReadsTest, RootFindsRoomWhenOthersHaveTakenTheirs) {
  Reader reader;
  ParkedReads parked;
  for (size_t i = 0; i < ParkedReads::kMaxOfOthers; ++i) {
    ASSERT_TRUE(parked.Park(reader.AsRead()));
  }
  ParkedReads::Read of_owner = reader.AsRead();
  of_owner.of_owner = true;
  for (size_t i = ParkedReads::kMaxOfOthers; i < ParkedReads::kMaxReads; ++i) {
    ASSERT_TRUE(parked.Park(of_owner));
  }
  EXPECT_FALSE(parked.Park(of_owner));
}

// Interrupts, wakes and parking race; every reader must be answered exactly once.
TEST(ParkedReadsTest, EachIsAnsweredOnceWhateverRaces) {
  constexpr int kReaders = 400;
  std::vector<std::unique_ptr<Reader>> readers;
  for (int i = 0; i < kReaders; ++i) readers.push_back(std::make_unique<Reader>());
  ParkedReads parked;
  std::atomic<bool> over{false};
  Thread waker("waker", [&] {
    while (!over) {
      parked.Wake();
      YieldThread();
    }
  });
  Thread interrupter("interrupter", [&] {
    for (int i = 0; i < kReaders; i += 2) parked.Interrupt(readers[static_cast<size_t>(i)].get());
  });
  for (const auto& reader : readers) ASSERT_TRUE(parked.Park(reader->AsRead()));
  for (int i = 1; i < kReaders; i += 2) readers[static_cast<size_t>(i)]->available = true;
  interrupter.Join();
  parked.InterruptAll();
  parked.Stop();
  over = true;
  waker.Join();
  for (const auto& reader : readers) EXPECT_EQ(reader->given + reader->abandoned, 1);
}

// T60: a poll is notified once, and not at all after its file was closed.
TEST(ParkedReadsTest, PollIsToldOnceAndNotAfterUnwatch) {
  const int file = 0;
  const int closed_file = 0;
  const auto readable = std::make_shared<std::atomic<bool>>(false);
  const auto told = std::make_shared<std::atomic<int>>(0);
  const auto told_closed = std::make_shared<std::atomic<int>>(0);
  ParkedReads parked;
  parked.Watch(
      &file, {.readable = [readable] { return readable->load(); }, .notify = [told] { ++*told; }});
  parked.Watch(&closed_file, {.readable = [readable] { return readable->load(); },
                              .notify = [told_closed] { ++*told_closed; }});
  parked.Unwatch(&closed_file);
  LetItRun();
  EXPECT_EQ(*told, 0);
  *readable = true;
  parked.Wake();
  parked.Wake();
  LetItRun();
  parked.Wake();
  parked.Stop();
  EXPECT_EQ(*told, 1);
  EXPECT_EQ(*told_closed, 0);
  EXPECT_EQ(told.use_count(), 1) << "the function, and what it owns, was dropped";
}

TEST(ParkedReadsTest, APollerMayPollAgainFromItsNotification) {
  const int file = 0;
  std::atomic<int> told{0};
  ParkedReads parked;
  parked.Watch(&file, {.readable = [] { return true; },
                       .notify =
                           [&] {
                             ++told;
                             parked.Watch(&file, {.readable = [] { return true; },
                                                  .notify = [&] { ++told; }});
                           }});
  const Nanoseconds deadline = MonotonicNow() + std::chrono::seconds(20);
  while (told < 2 && MonotonicNow() < deadline) SleepFor(std::chrono::milliseconds(1));
  EXPECT_EQ(told, 2);
}

}  // namespace
}  // namespace volfs
