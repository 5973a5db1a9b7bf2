#include "blockstore/base/log_limiter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace volfs {
namespace {

using std::chrono::seconds;

class LogLimiterTest : public ::testing::Test {
 protected:
  bool Take(const std::string& line) {
    std::vector<LogLimiter::LeftOut> before;
    const bool write = limiter_.Take(line, now_, before);
    for (const auto& left_out : before) told_ += left_out.lines;
    return write;
  }
  int Written(const std::string& line, int times) {
    int written = 0;
    for (int i = 0; i < times; ++i) written += Take(line + std::to_string(i)) ? 1 : 0;
    return written;
  }

  LogLimiter limiter_;
  Nanoseconds now_ = seconds(1000);
  uint64_t told_ = 0;  // suppressed lines that a later line has reported
};

TEST_F(LogLimiterTest, AKindIsALineWithoutItsNumbersAndPaths) {
  EXPECT_EQ(LogLimiter::KindOf("read volumes/db bytes 0 to 4096: pread failed"),
            LogLimiter::KindOf("read volumes/other bytes 8192 to 12288: pread failed"));
  EXPECT_NE(LogLimiter::KindOf("read volumes/db failed"),
            LogLimiter::KindOf("write volumes/db failed"));
}

TEST_F(LogLimiterTest, AFloodBecomesAFewLines) {
  EXPECT_EQ(Written("error at byte ", 100'000), static_cast<int>(LogLimiter::kBurst));
  now_ += seconds(60);
  EXPECT_EQ(Written("error at byte ", 100'000), 6) << "one in ten seconds";
  EXPECT_EQ(told_, 100'000 - LogLimiter::kBurst) << "the next line tells what was left out";
}

TEST_F(LogLimiterTest, TheFirstOfEachKindIsNeverLeftOut) {
  (void)Written("error at byte ", 1000);
  for (int i = 0; i < 1000; ++i) {
    const std::string word(1 + i % 26, static_cast<char>('a' + i / 26 % 26));
    EXPECT_TRUE(Take("another error of " + word + std::string(i / 676, 'x'))) << i;
  }
}

TEST_F(LogLimiterTest, WhatIsLeftOutAtTheEndIsToldWithoutAnotherLine) {
  (void)Written("error at byte ", 15);
  EXPECT_THAT(limiter_.Overdue(now_), testing::IsEmpty()) << "there may be more yet";
  now_ += LogLimiter::kPause;
  const auto told = limiter_.Overdue(now_);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(LogLimiter::Text(told[0]), "5 more like this in 10 s: error at byte 14");
  EXPECT_THAT(limiter_.Overdue(now_ + seconds(60)), testing::IsEmpty()) << "once";
}

// The number of known kinds is bounded, so an attacker who invents kinds gains nothing else. Each
// evicted kind reports its suppressed lines.
TEST_F(LogLimiterTest, KnowsSoManyKindsAndNoMore) {
  (void)Written("first ", 15);
  for (size_t i = 0; i < LogLimiter::kKinds; ++i) {
    now_ += seconds(1);
    EXPECT_TRUE(Take(std::string(1 + i % 100, 'a') + std::string(1 + i / 100, 'b')));
  }
  EXPECT_EQ(told_, 5U);
}

}  // namespace
}  // namespace volfs
