// Goal: snapshots as files, and reverting volumes to them, through the kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SnapshotFilesTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    Mount();
    MustRun("head -c 3000005 /dev/urandom > " + Then() + "; cp " + Then() + " " + Volume("db"));
    MustAsk("snapshot", "db monday");
    MustRun("dd if=/dev/zero of=" + Volume("db") + " bs=1M count=2 conv=notrunc status=none");
    MustRun("truncate -s 5M " + Volume("db"));
  }
  std::string Then() { return directory() + "/then"; }
  bool IsThen(const std::string& path) {
    return RunShell("cmp " + Then() + " " + path).exit_code == 0;
  }
};

// A revert drops the newer contents that a reader has just put into the page cache.
TEST_F(SnapshotFilesTest, RevertShowsAtOnce) {
  EXPECT_FALSE(IsThen(Volume("db")));
  MustAsk("revert", "db@monday");
  EXPECT_EQ(StatOf(Volume("db")).st_size, 3000005);
  EXPECT_TRUE(IsThen(Volume("db")));
  Remount();
  EXPECT_TRUE(IsThen(Volume("db")));
  EXPECT_TRUE(IsThen(Path("snapshots/db/monday")));
}

// A volume that is open for reading, or attached, is not reverted, and the program that has it open
// sees no change.
TEST_F(SnapshotFilesTest, RevertIsRefusedWhileItIsOpen) {
  {
    const TestFile open(Volume("db"), O_RDONLY);
    EXPECT_EQ(Ask("revert", "db@monday"), EBUSY);
  }
  const std::string loop = AttachLoop(Volume("db"));
  EXPECT_EQ(Ask("revert", "db@monday"), EBUSY);
  DetachLoop(loop);
  EXPECT_EQ(Ask("revert", "db@monday"), 0);
  MustRun("chmod 444 " + Volume("db"));
  EXPECT_EQ(Ask("revert", "db@monday"), EPERM);
  EXPECT_EQ(Ask("revert", "db@tuesday"), ENOENT);
}

// The files below control/snapshots and the commands tell the same, by name and age. A deletion
// frees what they tell before it, as du(1) measures it.
TEST_F(SnapshotFilesTest, AreShownAndMeasured) {
  MustAsk("snapshot", "db tuesday");
  MustRun("dd if=/dev/urandom of=" + Volume("db") +
          " bs=1M seek=1 count=1 conv=notrunc,fsync status=none");
  const std::string monday = Path("control/snapshots/db/monday/");
  EXPECT_EQ(MustRun("cat " + monday + "size_bytes"), "3000005\n");
  const CommandResult list = VolfsHere("ls -s db");
  EXPECT_THAT(list.output, ContainsRegex("^NAME +CREATED +SIZE +EXCLUSIVE\ndb@monday .* 2M\n"
                                         "db@tuesday .* 1M\n$"));
  EXPECT_THAT(VolfsHere("ls -s").output, list.output);
  EXPECT_THAT(VolfsHere("ls -s --json").output, HasSubstr(R"("name":"monday","volume":"db")"));
  EXPECT_THAT(VolfsHere("status db@monday").output, ContainsRegex("exclusive_bytes +2M"));
  EXPECT_EQ(VolfsHere("status db@monday --json").output, MustRun("cat " + monday + "info.json"));
  EXPECT_THAT(VolfsHere("map db@monday").output, HasSubstr("layers/"));
  EXPECT_EQ(VolfsHere("status db@sunday").exit_code, 3);
  EXPECT_EQ(VolfsHere("ls -s nothing").exit_code, 3);
  EXPECT_THAT(MustRun("cat " + Path("control/metrics")),
              HasSubstr(R"(volfs_volume_snapshots{volume="db"} 2)"));
  for (const std::string name : {"tuesday", "monday"}) {
    const long told =
        std::stol(MustRun("cat " + Path("control/snapshots/db/" + name + "/exclusive_bytes")));
    const auto taken = [&] {
      return std::stol(MustRun("du -B1 -s " + NodePath("a") + "/layers | cut -f1"));
    };
    const long before = taken();
    MustRun("rm " + Path("snapshots/db/" + name));
    bool freed = false;  // merging may take room for a while
    for (int i = 0; i < 500 && !freed; ++i) {
      if (i > 0) ::usleep(20'000);
      freed = std::labs(before - taken() - told) < 65536;
    }
    EXPECT_TRUE(freed) << name << ": " << before - taken() << ", told: " << told;
  }
  EXPECT_EQ(VolfsHere("ls -s db").output, "NAME  CREATED  SIZE  EXCLUSIVE\n");
}

// JSON says all that a retention tool of another hand needs: here, keep the newest, and no more
// than 1 MiB of others.
TEST_F(SnapshotFilesTest, AToolOfAnotherHandKeepsThemByJson) {
  MustAsk("snapshot", "db tuesday");
  MustRun("dd if=/dev/urandom of=" + Volume("db") +
          " bs=1M count=1 conv=notrunc,fsync status=none");
  MustAsk("snapshot", "db wednesday");
  MustRun(R"(
set -eu
cd )" + Mnt() +
          R"(
jq -r '
  .[] | .name as $volume
  | .snapshots | sort_by(.created | fromdate) | reverse | .[1:]
  | foreach .[] as $one ({left: 1048576};
      .left -= $one.exclusive_bytes | .name = $one.name;
      select(.left < 0) | $volume + "@" + .name)
' control/status.json | while read -r old; do
  echo "$old" > control/delete
done
)");
  EXPECT_THAT(ListOf(Path("snapshots/db")), ElementsAre("tuesday", "wednesday"));
}

// prune deletes what no rule keeps, and tells it; without a rule it does nothing.
TEST_F(SnapshotFilesTest, ArePrunedByRules) {
  MustAsk("snapshot", "db tuesday");
  EXPECT_EQ(VolfsHere("snapshot db 'x-%Y'").exit_code, 0);
  const std::string newest = "x-" + MustRun("date +%Y").substr(0, 4);
  const std::string directory = Path("snapshots/db");
  EXPECT_EQ(VolfsHere("prune db").exit_code, 2);
  EXPECT_EQ(VolfsHere("prune nothing --keep-last 1").exit_code, 3);
  EXPECT_THAT(VolfsHere("prune db --keep-last 2 --dry-run").output,
              ContainsRegex("db@" + newest +
                            " .*kept +last\ndb@tuesday .*kept +last\n"
                            "db@monday .*deleted\n"));
  EXPECT_THAT(ListOf(directory), ElementsAre("monday", "tuesday", newest));
  EXPECT_THAT(VolfsHere("prune db --keep-last 2 --json").output,
              ContainsRegex(R"("name":"monday",.*"action":"delete","reasons":\[\])"));
  EXPECT_THAT(ListOf(directory), ElementsAre("tuesday", newest));
  EXPECT_EQ(VolfsHere("prune db --keep-monthly 1").exit_code, 0);
  EXPECT_THAT(ListOf(directory), ElementsAre(newest));
}

// As for other destructive requests, half a name must never revert.
TEST_F(SnapshotFilesTest, RevertWantsItsLineEnd) {
  EXPECT_NE(RunShell("printf db@monday > " + Path("control/revert")).exit_code, 0);
  EXPECT_FALSE(IsThen(Volume("db")));
  const CommandResult reverted = VolfsHere("revert db@monday");
  EXPECT_EQ(reverted.exit_code, 0) << reverted.output;
  EXPECT_TRUE(IsThen(Volume("db")));
}

// cp gives the copy the snapshot's mode, 0444. The owner may write his copy all the same.
TEST_F(SnapshotFilesTest, AreCopiedByCp) {
  MustRun("cp " + Path("snapshots/db/monday") + " " + Volume("copy"));
  EXPECT_TRUE(IsThen(Volume("copy")));
  EXPECT_EQ(StatOf(Volume("copy")).st_mode & 0222, 0200U);
  EXPECT_TRUE(TestFile(Volume("copy"), O_RDWR).ok());
}

TEST_F(SnapshotFilesTest, AreRenamedInTheirDirectory) {
  const std::string directory = Path("snapshots/db/");
  MustRun("mv " + directory + "monday " + directory + "mon");
  EXPECT_THAT(ListOf(directory), ElementsAre("mon"));
  EXPECT_TRUE(IsThen(directory + "mon"));
  MustAsk("snapshot", "db monday");
  EXPECT_EQ(ErrnoOf(::rename((directory + "mon").c_str(), (directory + "monday").c_str())), EEXIST);
  EXPECT_EQ(ErrnoOf(::rename((directory + "mon").c_str(), (directory + "a b").c_str())), EINVAL);
  EXPECT_EQ(ErrnoOf(::rename((directory + "mon").c_str(), Volume("x").c_str())), EPERM);
  Remount();
  EXPECT_THAT(ListOf(directory), ElementsAre("mon", "monday"));
  EXPECT_TRUE(IsThen(directory + "mon"));
  MustRun("rm " + directory + "mon " + directory + "monday");
  EXPECT_THAT(ListOf(Path("snapshots")), IsEmpty());
}

}  // namespace
}  // namespace volfs
