#include "blockstore/base/log_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>

#include "tests/support/mount_file.h"
#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

class LogFileTest : public ::testing::Test {
 protected:
  TempDir dir_;
  const std::string path_ = dir_ / "mount.log";
};

TEST_F(LogFileTest, AppendsToAFileOfItsOwner) {
  LogFile(path_).Append("one\n");
  LogFile(path_).Append("two\n");
  EXPECT_EQ(ReadText(path_), "one\ntwo\n");
  EXPECT_EQ(StatOf(path_).st_mode & 0777, 0600U);
}

TEST_F(LogFileTest, OneThatWasRotatedOrRemovedIsMadeAgain) {
  LogFile log(path_);
  log.Append("one\n");
  std::filesystem::rename(path_, path_ + ".1");
  SleepFor(std::chrono::milliseconds(1100));  // the log looks once per second
  log.Append("two\n");
  std::filesystem::remove(path_);
  SleepFor(std::chrono::milliseconds(1100));
  log.Append("three\n");
  EXPECT_EQ(ReadText(path_ + ".1"), "one\n");
  EXPECT_EQ(ReadText(path_), "three\n");
}

// The limit on the size of files stands for a full disk: both cut one line, then refuse the next.
TEST_F(LogFileTest, LinesThatFindNoRoomAreCounted) {
  ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  LogFile log(path_);
  log.Append("one\n");
  const rlimit small{8, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  log.Append("a long line\n");
  log.Append("another\n");
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  log.Append("two\n");
  EXPECT_EQ(ReadText(path_),
            "one\na lo\n(2 lines are missing here, they could not be written: File too large)\n"
            "two\n");
}

TEST_F(LogFileTest, IsNotOkWithoutItsDirectory) {
  EXPECT_FALSE(LogFile(dir_ / "missing/mount.log").ok());
}

}  // namespace
}  // namespace volfs
