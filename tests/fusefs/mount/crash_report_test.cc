#include "fusefs/mount/crash_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cassert>
#include <stdexcept>

#include "blockstore/base/log.h"
#include "blockstore/base/runtime.h"
#include "tests/support/mount_file.h"
#include "tests/support/temp_dir.h"

namespace volfs {
namespace {

// Each crash is in a process of its own.
class CrashReportTest : public ::testing::Test {
 protected:
  void Prepare() {
    ASSERT_TRUE(LogToFile(path_));
    InstallCrashReport();
  }
  // Returns the log. A sanitizer reports in its own way, and then the log is empty.
  [[nodiscard]] std::string Log() const { return Exists(path_) ? ReadText(path_) : ""; }

  TempDir dir_;
  const std::string path_ = dir_ / "mount.log";
};

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

TEST_F(CrashReportTest, AnAssertionIsNamed) {
  const int one = 1;
  EXPECT_EXIT(
      {
        Prepare();
        assert(one == 2);
      },
      testing::KilledBySignal(SIGABRT), "");
  EXPECT_THAT(Log(), testing::ContainsRegex("critical volfs .* dies of SIGABRT in thread .*"
                                            "assertion `one == 2' failed;.* the stack:\n.*\\[0x"));
}

TEST_F(CrashReportTest, AnExceptionThatNothingCatchesIsTold) {
  EXPECT_EXIT(
      {
        Prepare();
        Thread thread("unlucky", [] { throw std::runtime_error("a bad day"); });
        thread.Join();
      },
      testing::KilledBySignal(SIGABRT), "");
  EXPECT_THAT(Log(), testing::ContainsRegex("SIGABRT in thread unlucky: .*a bad day"));
}

TEST_F(CrashReportTest, ABadAddressLeavesAStack) {
  EXPECT_EXIT(
      {
        Prepare();
        ::raise(SIGSEGV);
      },
      testing::KilledBySignal(SIGSEGV), "");
  EXPECT_THAT(Log(), testing::ContainsRegex("SIGSEGV in thread .*stack:\n.*\\[0x"));
}

#endif

}  // namespace
}  // namespace volfs
