#include "fusefs/serve/errno_map.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "control/text/errno_name.h"

namespace volfs {
namespace {

constexpr int kLastCode = static_cast<int>(Errc::kNoFiles);

// Goal: what a reply and last_error print is the errno that the write(2) returns (T1).
TEST(ErrnoMapTest, EveryCodeHasTheNumberOfItsName) {
  for (int i = 0; i <= kLastCode; ++i) {
    const auto code = static_cast<Errc>(i);
    SCOPED_TRACE(std::string(ErrcName(code)));
    ASSERT_NE(strerrorname_np(ErrnoOf(code)), nullptr);
    EXPECT_EQ(ErrcName(code), strerrorname_np(ErrnoOf(code)));
  }
}

// ENOSYS makes the kernel never ask again and report success for ever.
TEST(ErrnoMapTest, NeverSuccessAndNeverEnosys) {
  for (int i = 0; i <= kLastCode; ++i) {
    EXPECT_GT(ErrnoOf(static_cast<Errc>(i)), 0);
    EXPECT_NE(ErrnoOf(static_cast<Errc>(i)), ENOSYS);
  }
}

TEST(ErrnoMapTest, CorruptionAndLocksLookOrdinaryToUsers) {
  EXPECT_EQ(ErrnoOf(Errc::kCorrupt), EIO);
  EXPECT_EQ(ErrnoOf(Errc::kLocked), EBUSY);
  EXPECT_EQ(ErrnoOf(Errc::kNoData), ENXIO);
  EXPECT_EQ(ErrnoOf(Errc::kNodeDown), EHOSTDOWN);
}

}  // namespace
}  // namespace volfs
