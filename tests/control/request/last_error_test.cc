// Goal: last_error gives the last refusals of all requests, newest first, one line each (T1).
#include "control/request/last_error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "control/text/name.h"

namespace volfs {
namespace {

using testing::MatchesRegex;

const std::string kTime = "[0-9]+-[0-9]+-[0-9]+T[0-9]+:[0-9]+:[0-9]+[.][0-9]+Z";

TEST(LastErrorTest, IsEmptyAtFirst) { EXPECT_EQ(LastError().Text(), ""); }

TEST(LastErrorTest, ALineHasTimeUserWhatErrnoSentence) {
  LastError errors;
  errors.Add(1000, "unlink", "db", {Errc::kBusy, "db: it is open for writing"});
  EXPECT_THAT(errors.Text(),
              MatchesRegex(kTime + " 1000 unlink:db EBUSY db: it is open for writing\n"));
}

TEST(LastErrorTest, QuotesWhatHasBlanks) {
  LastError errors;
  errors.Add(0, "clone", "db a \"b\"", {Errc::kInvalid, "no"});
  EXPECT_THAT(errors.Text(),
              MatchesRegex(kTime + R"( 0 clone:"db a \\x22b\\x22" EINVAL no)" + "\n"));
}

TEST(LastErrorTest, WithoutAnObjectThereIsNoColon) {
  LastError errors;
  errors.Add(0, "copy_rate", "", {Errc::kInvalid, "no"});
  EXPECT_THAT(errors.Text(), MatchesRegex(kTime + " 0 copy_rate EINVAL no\n"));
}

TEST(LastErrorTest, ASentenceStaysOnItsLine) {
  LastError errors;
  errors.Add(0, "clone", Printable("x\ny"), {Errc::kInvalid, "two\nlines\x1b[2J"});
  const std::string text = errors.Text();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
}

// A user sees only his own refusals, because a message may name a volume that he may not know.
TEST(LastErrorTest, OfOneUserOnlyHisOwnAreTold) {
  LastError errors;
  errors.Add(1000, "clone", "secret", {Errc::kBusy, "mine"});
  errors.Add(1001, "unlink", "other", {Errc::kBusy, "not mine"});
  EXPECT_THAT(errors.Text(1000), MatchesRegex(kTime + " 1000 clone:secret EBUSY mine\n"));
  EXPECT_EQ(errors.Text(1002), "");
}

TEST(LastErrorTest, KeepsTheLastOnesNewestFirst) {
  LastError errors;
  for (size_t i = 0; i < LastError::kKept + 6; ++i) {
    errors.Add(0, "delete", std::to_string(i), {Errc::kNotFound, "gone"});
  }
  const std::string text = errors.Text();
  EXPECT_EQ(static_cast<size_t>(std::count(text.begin(), text.end(), '\n')), LastError::kKept);
  EXPECT_LT(text.find(":69 "), text.find(":68 "));
  EXPECT_EQ(text.find(":5 "), std::string::npos);
  EXPECT_NE(text.find(":6 "), std::string::npos);
}

}  // namespace
}  // namespace volfs
