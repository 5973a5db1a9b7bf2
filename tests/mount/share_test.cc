// Goal: copy_file_range through the kernel shares blocks where PROTOCOL.md says so, and copies
// elsewhere.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

constexpr uint64_t kMebibyte = uint64_t{1} << 20;

class CopyFileRangeTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    Mount({"a", "b"}, "allow_shrink");
    // Makes 8 MiB of data, 8 MiB of hole, and an end within a block.
    MustRun("head -c 8388608 /dev/urandom > " + Volume("db"));
    MustRun("truncate -s 16M " + Volume("db") + "; printf end >> " + Volume("db"));
    MustRun("cp " + Volume("db") + " " + Reference());
  }
  std::string Reference() { return directory() + "/reference"; }
  bool IsReference(const std::string& path) {
    return RunShell("cmp " + Reference() + " " + path).exit_code == 0;
  }
  // Returns the space that all layers of node a take.
  uint64_t BytesOfA() {
    return std::stoull(RunShell("du -sB1 " + NodePath("a") + "/layers | cut -f1").output);
  }
  // Copies as cp of coreutils 9.10 does: one extent at a time, the size at the end.
  static std::string Cp(const std::string& from, const std::string& to) {
    return "python3 - " + from + " " + to + R"( <<'P'
import os, sys
s = os.open(sys.argv[1], os.O_RDONLY)
d = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT, 0o600)
size = os.fstat(s).st_size
at = 0
while at < size:
    try:
        at = os.lseek(s, at, os.SEEK_DATA)
    except OSError:
        break
    end = os.lseek(s, at, os.SEEK_HOLE)
    while at < end:
        at += os.copy_file_range(s, d, end - at, at, at)
os.ftruncate(d, size)
P)";
  }
};

// `cp a b` and `cp snapshots/V/S b` give the right bytes and take no space.
TEST_F(CopyFileRangeTest, SharesWithAnEmptyVolumeOfTheSameNode) {
  MustAsk("snapshot", "db s");
  const uint64_t before = BytesOfA();
  MustRun(Cp(Volume("db"), Volume("copy")));
  MustRun(Cp(Path("snapshots/db/s"), Volume("restored")));
  EXPECT_TRUE(IsReference(Volume("copy")));
  EXPECT_TRUE(IsReference(Volume("restored")));
  EXPECT_LT(BytesOfA(), before + kMebibyte);
  // Copies are volumes like any other.
  MustRun("dd if=/dev/zero of=" + Volume("copy") + " bs=1M count=8 conv=notrunc status=none");
  EXPECT_TRUE(IsReference(Volume("db")));
  MustRun("rm " + Volume("db") + " " + Path("snapshots/db/s"));
  Remount();
  EXPECT_TRUE(IsReference(Volume("restored")));
  EXPECT_EQ(RunShell("cmp -n 8388608 /dev/zero " + Volume("copy")).exit_code, 0);
}

// kill -9 right after an fsync of the copy loses nothing.
TEST_F(CopyFileRangeTest, IsDurableAfterItsFsync) {
  MustRun(Cp(Volume("db"), Volume("copy")));
  MustRun("sync " + Volume("copy"));
  MustRun("dd if=/dev/zero of=" + Volume("db") + " bs=1M count=16 conv=notrunc,fsync status=none");
  (void)KillAndMount();
  EXPECT_TRUE(IsReference(Volume("copy")));
}

// Onto another node, at other offsets, and onto a range that is not empty the kernel copies. The
// bytes are the same.
TEST_F(CopyFileRangeTest, CopiesForRealElsewhere) {
  MustRun(Cp(Volume("db"), Path("nodes/b/far")));
  EXPECT_TRUE(IsReference(Volume("far")));
  EXPECT_EQ(Field("far", "node"), "b");

  MustRun("truncate -s 32M " + Volume("odd"));
  MustRun("xfs_io -c 'copy_range -s 4096 -d 12288 -l 40960 " + Volume("db") + "' " + Volume("odd"));
  EXPECT_EQ(RunShell("cmp -n 40960 -i 4096:12288 " + Volume("db") + " " + Volume("odd")).output,
            "");
  MustRun("xfs_io -c 'copy_range -s 5 -d 5 -l 77777 " + Volume("db") + "' " + Volume("odd"));
  EXPECT_EQ(RunShell("cmp -n 77777 -i 5:5 " + Volume("db") + " " + Volume("odd")).output, "");

  MustRun("head -c 17M /dev/urandom > " + Volume("full"));
  MustRun(Cp(Volume("db"), Volume("full")));
  EXPECT_EQ(RunShell("cmp -n 8388608 " + Volume("db") + " " + Volume("full")).output, "");
}

// While a clone of the source is being copied, the source can give no snapshot point.
TEST_F(CopyFileRangeTest, CopiesForRealWhileTheSourceIsLocked) {
  SetCopyRate("0");
  MustAsk("clone", "db x");
  MustRun(Cp(Volume("db"), Volume("copy")));
  EXPECT_TRUE(IsReference(Volume("copy")));
  EXPECT_EQ(Ask("snapshot", "db s"), EBUSY);
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("x", "available"));
}

// A descriptor may outlive a copy, as in a file server. The next copy has the contents of its own
// time.
TEST_F(CopyFileRangeTest, ShowsEachCopyItsOwnInstant) {
  const TestFile source(Volume("db"), O_RDWR);
  const std::vector<std::byte> newer(kMebibyte, std::byte{'n'});
  for (const char* name : {"first", "second"}) {
    const TestFile target(Volume(name), O_RDWR | O_CREAT);
    off64_t from = 0;
    off64_t to = 0;
    ASSERT_EQ(::copy_file_range(source.fd(), &from, target.fd(), &to, 2 * kMebibyte, 0),
              static_cast<ssize_t>(2 * kMebibyte));
    const CommandResult same = RunShell("cmp -n 2097152 " + Volume("db") + " " + Volume(name));
    EXPECT_EQ(same.exit_code, 0) << name << same.output;
    ASSERT_EQ(source.WriteAt(kMebibyte, newer), 0);
    ASSERT_EQ(source.Sync(), 0);
  }
}

// T14: a request shrinks a volume and another grows it again. The bytes cut off are not in the page
// cache either.
TEST_F(CopyFileRangeTest, ShrinkingByRequestLeavesNothingInThePageCache) {
  const TestFile reader(Volume("db"), O_RDONLY);
  MustRun("cat " + Volume("db") + " > /dev/null");
  MustAsk("resize", "db 1M");
  MustAsk("resize", "db 16777220");
  MustRun("truncate -s 1M " + Reference() + "; truncate -s 16777220 " + Reference());
  EXPECT_TRUE(IsReference(Volume("db")));
}

// With -o allow_shrink a volume can be cut and emptied like any file. The bytes cut off do not come
// back.
TEST_F(CopyFileRangeTest, ShrinksWhereTheMountAllowsIt) {
  MustRun(Cp(Volume("db"), Volume("copy")));
  for (const char* command : {"truncate -s 1000001 ", "truncate -s 9000000 "}) {
    MustRun(command + Volume("copy"));
    MustRun(command + Reference());
    EXPECT_TRUE(IsReference(Volume("copy"))) << command;
  }
  Remount();
  EXPECT_TRUE(IsReference(Volume("copy")));
  MustRun(": > " + Volume("copy"));
  EXPECT_EQ(StatOf(Volume("copy")).st_size, 0);
  EXPECT_EQ(StatOf(Volume("copy")).st_blocks, 0);
  const CommandResult resized = VolfsHere("resize db 1M");
  EXPECT_EQ(resized.exit_code, 0) << resized.output;
  EXPECT_EQ(StatOf(Volume("db")).st_size, static_cast<off_t>(kMebibyte));
}

}  // namespace
}  // namespace volfs
