// Goal: the progress bar is right at its ends and fits terminals of any width.
#include "control/cli/progress.h"

#include <gtest/gtest.h>

namespace volfs::cli {
namespace {

Progress Half() {
  Progress progress;
  progress.per_cent = 50;
  progress.copied_bytes = uint64_t{1} << 30;
  progress.total_bytes = uint64_t{2} << 30;
  progress.rate_bytes = uint64_t{100} << 20;
  progress.eta_seconds = 11;
  return progress;
}

TEST(ProgressTest, TellsBarPercentBytesRateAndTime) {
  EXPECT_EQ(RenderProgress("db-clone", Half(), 64),
            "db-clone [========>        ]  50.00%  1G of 2G  100M/s  eta 0:11");
}

TEST(ProgressTest, IsFullOnlyWhenWhole) {
  Progress progress = Half();
  progress.per_cent = 99.99;
  EXPECT_EQ(RenderProgress("c", progress, 200).find("=]"), std::string::npos);
  progress.per_cent = 100;
  EXPECT_NE(RenderProgress("c", progress, 200).find("=]"), std::string::npos);
  EXPECT_EQ(RenderProgress("c", progress, 200).find('>'), std::string::npos);
}

TEST(ProgressTest, NothingToCopyYetHasNoBytes) {
  EXPECT_EQ(RenderProgress("c", Progress{}, 20), "c   0.00%  0/s  eta ");
  EXPECT_EQ(RenderProgress("c", Progress{}, 30), "c   0.00%  0/s  eta unknown");
}

TEST(ProgressTest, AReasonStandsInThePlaceOfRateAndTime) {
  Progress progress = Half();
  progress.error = "no space on node b";
  const std::string line = RenderProgress("c", progress, 120);
  EXPECT_NE(line.find("no space on node b"), std::string::npos);
  EXPECT_EQ(line.find("eta"), std::string::npos);
}

TEST(ProgressTest, FitsEveryWidth) {
  for (size_t width = 0; width < 130; ++width) {
    EXPECT_LE(RenderProgress("a-rather-long-name.img", Half(), width).size(), width);
  }
}

TEST(ProgressTest, Seconds) {
  EXPECT_EQ(FormatSeconds(0), "0:00");
  EXPECT_EQ(FormatSeconds(65), "1:05");
  EXPECT_EQ(FormatSeconds(3599), "59:59");
  EXPECT_EQ(FormatSeconds(3700), "1:01:40");
  EXPECT_EQ(FormatSeconds(UINT64_MAX).empty(), false);
}

}  // namespace
}  // namespace volfs::cli
