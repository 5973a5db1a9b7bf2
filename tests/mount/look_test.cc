// Goal: `status --watch` and `map` tell what an operator looks for first (contract.md 3).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <string>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class LookTest : public MountTest {};

// A layer has the name of the snapshot that froze it; later writes are in one without. A hole of a
// flat layer's file is told from its data.
TEST_F(LookTest, TheMapNamesSnapshotsAndHoles) {
  Mount({"a"});
  MustRun("truncate -s 1M " + Volume("v") + " && head -c 65536 /dev/urandom | dd of=" +
          Volume("v") + " conv=notrunc,fsync bs=65536 seek=4 status=none");
  EXPECT_THAT(VolfsHere("map v").output,
              AllOf(ContainsRegex("\n0 +262144 +hole +a +layers/[0-9a-f]+ +-\n"),
                    ContainsRegex("\n262144 +65536 +data +a +layers/[0-9a-f]+ +-\n"),
                    ContainsRegex("\n327680 +720896 +hole +a ")));
  MustAsk("snapshot", "v monday");
  MustRun("head -c 4096 /dev/urandom | dd of=" + Volume("v") +
          " conv=notrunc,fsync bs=4096 status=none");
  EXPECT_THAT(VolfsHere("map v").output,
              AllOf(ContainsRegex("\n0 +4096 +data +a +layers/[0-9a-f]+ +-\n"),
                    ContainsRegex("\n262144 +65536 +data +a +layers/[0-9a-f]+ +v@monday\n")));
  EXPECT_THAT(VolfsHere("map v --json").output,
              AllOf(HasSubstr("\"state\":\"hole\""), HasSubstr("\"snapshot\":\"v@monday\""),
                    HasSubstr("\"snapshot\":null")));
  EXPECT_THAT(ReadText(Path("control/volumes/v/map")),
              ContainsRegex("\n4096 1044480 data a layers/[0-9a-f]+ v@monday\n"));
}

// A line for each volume that is new or has changed, and one for each that is gone.
TEST_F(LookTest, AWatchForProgramsIsAnObjectALine) {
  Mount({"a"});
  MustAsk("create", "v 1M");
  MustAsk("create", "w 1M");
  BackgroundProgram status({Binary(), "status", "--watch", "--json", "--mount", Mnt()});
  EXPECT_FALSE(status.WaitForEnd(1500));
  MustAsk("resize", "w 2M");
  MustAsk("delete", "v");
  EXPECT_FALSE(status.WaitForEnd(2500));
  status.Signal(SIGINT);
  const std::string output = status.Finish(5000).output;
  const CommandResult python =
      RunProgram({"python3", "-c",
                  "import json, sys\n"
                  "seen = [json.loads(line) for line in sys.stdin]\n"
                  "assert [v['name'] for v in seen[:2]] == ['v', 'w'], seen\n"
                  "later = sorted((v['name'], v['status'], v.get('size')) for v in seen[2:])\n"
                  "assert later == [('v', 'deleted', None), ('w', 'available', 2097152)], later\n"},
                 {.input = output});
  EXPECT_EQ(python.exit_code, 0) << output << python.output;
}

TEST_F(LookTest, AWatchFitsTheScreenAndTheBusyComeFirst) {
  Mount();
  for (const char* name : {"a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8"}) {
    MustAsk("create", std::string(name) + " 1M");
  }
  MustRun("head -c 1M /dev/urandom > " + Volume("zz"));
  SetCopyRate("0");
  MustAsk("clone", "zz zzz");
  const std::string output = RunShell("TERM=xterm timeout 3 script -qec " +
                                      Quoted("stty rows 6 cols 30; exec " + Binary() +
                                             " status --watch --mount " + Mnt()) +
                                      " /dev/null")
                                 .output;
  const size_t end = output.rfind("\x1b[J");
  const size_t begin = output.rfind("\x1b[H", end);
  ASSERT_NE(begin, std::string::npos) << output;
  const std::string screen = output.substr(begin, end - begin);
  EXPECT_EQ(std::count(screen.begin(), screen.end(), '\n'), 5) << screen;
  EXPECT_THAT(screen, HasSubstr("... and 7 more"));
  EXPECT_LT(screen.find("zzz"), screen.find("a1")) << "it is being copied";
  EXPECT_THAT(screen, Not(HasSubstr("SOURCE"))) << "past the last column";
}

}  // namespace
}  // namespace volfs
