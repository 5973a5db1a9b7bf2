#include "fusefs/log_place.h"

#include <gtest/gtest.h>

namespace volfs {
namespace {

TEST(LogPlaceTest, EscapedPathsAreOneNameEach) {
  EXPECT_EQ(EscapePath("/mnt/vol"), "mnt-vol");
  EXPECT_EQ(EscapePath("/mnt/vol-a"), "mnt-vol\\x2da");
  EXPECT_EQ(EscapePath("/mnt/vol/a"), "mnt-vol-a");
  EXPECT_EQ(EscapePath("/"), "-");
  EXPECT_EQ(EscapePath("/.hidden"), "\\x2ehidden");
  EXPECT_EQ(EscapePath("/a b\n"), "a\\x20b\\x0a");
}

}  // namespace
}  // namespace volfs
