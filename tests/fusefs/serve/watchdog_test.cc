// Goal: each request is answered once, by its work or by the watchdog. An abandoned request keeps
// its file open and holds back later writes until its work has ended (contract.md 7.7, traps T54,
// T63).
#include "fusefs/serve/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>

namespace volfs {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr Nanoseconds kLimit = milliseconds(80);
constexpr Id kVolume = 256;

// Requests and handles are identified by their addresses.
const void* Name(int number) { return reinterpret_cast<const void*>(intptr_t{number}); }

class WatchdogTest : public ::testing::Test {
 protected:
  WatchdogTest() {
    watchdog_.emplace(nodes_, kLimit,
                      Watchdog::Hooks{.answer =
                                          [this](const Watch&, const Error& error) {
                                            MutexLock lock(mu_);
                                            code_ = error.code;
                                            ++answers_;
                                          },
                                      .interrupted = [this](const void*) { return killed_.load(); },
                                      .close =
                                          [this](const void* handle) {
                                            if (handle == Name(7)) ++closed_;
                                          }});
  }

  static Watch AWatch(Id changes = kNoId) {
    return {.request = Name(1), .what = "write", .handle = Name(7), .changes = changes};
  }
  int answers() {
    MutexLock lock(mu_);
    return answers_;
  }
  bool IsAnswered() {
    for (int i = 0; i < 5000 && answers() == 0; ++i) SleepFor(milliseconds(1));
    return answers() == 1;
  }

  std::vector<std::unique_ptr<Node>> nodes_;
  std::atomic<bool> killed_{false};
  std::atomic<int> closed_{0};
  Mutex mu_;
  int answers_ = 0;
  Errc code_ = Errc::kBusy;
  std::optional<Watchdog> watchdog_;
};

TEST_F(WatchdogTest, WorkThatEndsInTimeAnswersItself) {
  for (int i = 0; i < 2000; ++i) {  // more than the watchdog watches at once
    Watchdog::Guard guard(*watchdog_, AWatch());
    EXPECT_TRUE(guard.Admit().ok());
    EXPECT_TRUE(guard.Finish());
  }
  EXPECT_EQ(answers(), 0);
  EXPECT_FALSE(watchdog_->Trouble());
}

// Work is abandoned after several times the limit, whichever node it waits for, and only once.
TEST_F(WatchdogTest, WorkThatDoesNotEndIsAbandoned) {
  Watchdog::Guard guard(*watchdog_, AWatch());
  ASSERT_TRUE(IsAnswered());
  EXPECT_EQ(code_, Errc::kIo);
  EXPECT_TRUE(watchdog_->Trouble());
  SleepFor(kLimit);
  EXPECT_FALSE(guard.Finish());
  EXPECT_EQ(answers(), 1);
  EXPECT_FALSE(watchdog_->Trouble());
}

// The caller may close the file. The daemon closes it once, when the work has ended.
TEST_F(WatchdogTest, TheFileOfWhatWasAbandonedStaysOpen) {
  EXPECT_FALSE(watchdog_->KeepOpen(Name(7)));
  {
    Watchdog::Guard guard(*watchdog_, AWatch());
    EXPECT_FALSE(watchdog_->KeepOpen(Name(7))) << "the kernel does not close what is in use";
    ASSERT_TRUE(IsAnswered());
    EXPECT_TRUE(watchdog_->KeepOpen(Name(7)));
    EXPECT_FALSE(watchdog_->KeepOpen(Name(8)));
    EXPECT_EQ(closed_, 0);
  }
  EXPECT_EQ(closed_, 1);
}

// W2: an abandoned write may still reach the disk, over later data.
TEST_F(WatchdogTest, NoWriteBeginsWhileOneThatWasAbandonedIsOut) {
  std::optional<Watchdog::Guard> late;
  late.emplace(*watchdog_, AWatch(kVolume));
  ASSERT_TRUE(IsAnswered());
  Watchdog::Guard other(*watchdog_, AWatch(kVolume + 256));
  EXPECT_TRUE(other.Admit().ok());
  Watchdog::Guard read(*watchdog_, AWatch());
  EXPECT_TRUE(read.Admit().ok());
  Watchdog::Guard write(*watchdog_, AWatch(kVolume));
  const Status refused = write.Admit();
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(refused.error().message, HasSubstr("may still land"));
  late.reset();
  EXPECT_TRUE(write.Admit().ok());
}

// errno/EINTR: a request that has not begun is answered at once, and not done.
TEST_F(WatchdogTest, WhatIsInterruptedBeforeItBeginsIsNotDone) {
  Watchdog::Guard guard(*watchdog_, AWatch(), Watchdog::Guard::Place::kQueued);
  killed_ = true;
  EXPECT_FALSE(guard.Begin());
  EXPECT_EQ(answers(), 1);
  EXPECT_EQ(code_, Errc::kInterrupted);
  EXPECT_FALSE(guard.Finish());
}

TEST_F(WatchdogTest, WhatIsInterruptedInTheQueueIsAnsweredThere) {
  Watchdog::Guard guard(*watchdog_, AWatch(), Watchdog::Guard::Place::kQueued);
  killed_ = true;
  ASSERT_TRUE(IsAnswered());
  EXPECT_EQ(code_, Errc::kInterrupted);
  EXPECT_FALSE(guard.Begin());
}

}  // namespace
}  // namespace volfs
