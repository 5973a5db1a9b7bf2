// Goal: `volfs prune` keeps what restic's `forget` would, in local time; names come from templates.
#include "control/cli/retention.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

namespace volfs::cli {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class RetentionTest : public testing::Test {
 protected:
  RetentionTest() { SetZone("UTC"); }
  ~RetentionTest() override { SetZone("UTC"); }

  static void SetZone(const char* zone) {
    ::setenv("TZ", zone, 1);
    ::tzset();
  }
  void Keep(size_t rule, uint64_t count) { rules_[rule].count = count; }

  // Returns the indices of the times that are kept.
  [[nodiscard]] std::vector<size_t> Kept(const std::vector<std::string>& newest_first) const {
    std::vector<time_t> times;
    for (const std::string& text : newest_first) times.push_back(ParseUtcSeconds(text).value());
    const auto reasons = ReasonsToKeep(times, rules_);
    std::vector<size_t> kept;
    for (size_t i = 0; i < reasons.size(); ++i) {
      if (!reasons[i].empty()) kept.push_back(i);
    }
    return kept;
  }

  enum Rule : size_t { kLast, kHourly, kDaily, kWeekly, kMonthly };
  KeepRules rules_ = NoKeepRules();
};

const std::vector<std::string> kTimes = {
    "2026-03-02T10:30:00Z", "2026-03-02T10:10:00Z", "2026-03-02T09:00:00Z",  // a Monday
    "2026-03-01T23:00:00Z", "2026-03-01T01:00:00Z",                          // the Sunday before
    "2026-02-23T00:00:00Z", "2026-01-31T00:00:00Z", "2025-03-02T10:00:00Z"};

TEST_F(RetentionTest, NothingIsKeptWithoutARule) { EXPECT_THAT(Kept(kTimes), IsEmpty()); }

TEST_F(RetentionTest, TheNewestOfEachPeriodIsKept) {
  Keep(kLast, 2);
  EXPECT_THAT(Kept(kTimes), ElementsAre(0, 1));
  Keep(kLast, 0);
  Keep(kHourly, 2);
  EXPECT_THAT(Kept(kTimes), ElementsAre(0, 2));
  Keep(kHourly, 0);
  Keep(kDaily, 3);
  EXPECT_THAT(Kept(kTimes), ElementsAre(0, 3, 5));
  Keep(kDaily, 0);
  Keep(kWeekly, 2);
  EXPECT_THAT(Kept(kTimes), ElementsAre(0, 3));
  Keep(kWeekly, 0);
  Keep(kMonthly, 9);
  EXPECT_THAT(Kept(kTimes), ElementsAre(0, 5, 6, 7));
}

// A snapshot may serve several rules: each counts for itself.
TEST_F(RetentionTest, RulesAddUp) {
  Keep(kLast, 1);
  Keep(kDaily, 2);
  Keep(kMonthly, 2);
  EXPECT_THAT(Kept(kTimes), ElementsAre(0, 3, 5));
  const std::vector<time_t> one = {0};
  EXPECT_THAT(ReasonsToKeep(one, rules_), ElementsAre(ElementsAre("last", "daily", "monthly")));
}

TEST_F(RetentionTest, DaysAreLocal) {
  Keep(kDaily, 9);
  const std::vector<std::string> times = {"2026-03-02T01:00:00Z", "2026-03-01T23:30:00Z"};
  EXPECT_THAT(Kept(times), ElementsAre(0, 1));
  SetZone("UTC-2");  // two hours ahead
  EXPECT_THAT(Kept(times), ElementsAre(0));
}

TEST_F(RetentionTest, NamesComeFromTemplates) {
  EXPECT_EQ(NameFromTemplate("auto-%Y%m%dT%H%M", 0).value(), "auto-19700101T0000");
  EXPECT_EQ(NameFromTemplate("monday", 0).value(), "monday");
  SetZone("UTC-2");
  EXPECT_EQ(NameFromTemplate("%H", 0).value(), "02");
}

TEST_F(RetentionTest, ATimeThatIsNoneIsRefused) {
  EXPECT_FALSE(ParseUtcSeconds("monday").ok());
  EXPECT_FALSE(ParseUtcSeconds("2026-03-02T01:00:00Z ").ok());
}

}  // namespace
}  // namespace volfs::cli
