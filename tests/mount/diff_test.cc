// Goal: what has changed between two snapshots is told by the command, and by a sparse image that
// common tools take for what it is.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class DiffFilesTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    Mount();
    MustRun("head -c 8M /dev/urandom > " + Volume("db"));
    MustAsk("snapshot", "db mon");
    Put(1, 2);
    MustRun("fallocate -p -o 4M -l 1M " + Volume("db"));
    MustAsk("snapshot", "db tue");
  }
  // Writes `count` MiB from MiB `first` on.
  void Put(int first, int count) {
    MustRun("dd if=/dev/urandom bs=1M conv=notrunc status=none of=" + Volume("db") +
            " seek=" + std::to_string(first) + " count=" + std::to_string(count));
  }
  [[nodiscard]] std::string Diff(const std::string& pair) const {
    return Path("control/diff/db/" + pair);
  }
  // Returns the numbers of the MiB that are data by SEEK_DATA and SEEK_HOLE, first and end.
  static std::vector<uint64_t> DataOf(const std::string& path) {
    std::vector<uint64_t> ends;
    for (const DataRange& range : DataRangesOf(path)) {
      ends.insert(ends.end(), {range.offset_bytes / kMiB, range.end_bytes / kMiB});
    }
    return ends;
  }
};

TEST_F(DiffFilesTest, TheCommandTellsTheRanges) {
  const CommandResult lines = VolfsHere("diff db@mon db@tue");
  EXPECT_EQ(lines.exit_code, 0) << lines.output;
  EXPECT_EQ(lines.output, "1048576 2097152 data\n4194304 1048576 zero\n");
  EXPECT_EQ(MustRun("cat " + Diff("ranges/mon..tue")), lines.output);
  const CommandResult json = VolfsHere("diff --json db@mon db@tue");
  EXPECT_EQ(json.output,
            R"({"size_bytes":8388608,"ranges":[
{"offset":1048576,"length":2097152,"kind":"data"},
{"offset":4194304,"length":1048576,"kind":"zero"}
]}
)");
  EXPECT_EQ(VolfsHere("diff db@tue").output, "");
  Put(7, 1);
  EXPECT_EQ(VolfsHere("diff db@tue").output, "7340032 1048576 data\n");
  EXPECT_EQ(VolfsHere("diff db@tue db").output, "7340032 1048576 data\n");
  EXPECT_EQ(VolfsHere("diff " + Path("snapshots/db/tue")).output, "7340032 1048576 data\n");
  EXPECT_EQ(VolfsHere("diff --json db@tue db@tue").output,
            "{\"size_bytes\":8388608,\"ranges\":[]}\n");
}

TEST_F(DiffFilesTest, TheCommandNamesWhatIsMissing) {
  const CommandResult none = VolfsHere("diff db@mon db@wed");
  EXPECT_EQ(none.exit_code, 3);
  EXPECT_THAT(none.output, HasSubstr("db@wed: no such snapshot"));
  EXPECT_EQ(VolfsHere("diff dc@mon").exit_code, 3);
  EXPECT_EQ(VolfsHere("diff db").exit_code, 2);
  const CommandResult two = VolfsHere("diff db@mon dc@tue");
  EXPECT_EQ(two.exit_code, 2);
  EXPECT_THAT(two.output, HasSubstr("images of two volumes"));
  EXPECT_EQ(VolfsHere("rm db").exit_code, 0);  // the snapshots stay
  EXPECT_THAT(VolfsHere("diff db@mon").output, HasSubstr("db: no such volume"));
  EXPECT_EQ(VolfsHere("diff db@mon db@tue").exit_code, 0);
}

// The names are looked up and not listed, so a walk over control/ reads no image.
TEST_F(DiffFilesTest, AreFoundByName) {
  EXPECT_THAT(ListOf(Path("control/diff")), ElementsAre("help"));
  EXPECT_THAT(ListOf(Diff("")), testing::IsEmpty());
  EXPECT_THAT(MustRun("cat " + Path("control/diff/help")), HasSubstr("V/A..B"));
  for (const char* name : {"mon", "..tue", "mon..wed", "mon...", "mon..tue..", "ranges/tue"}) {
    EXPECT_EQ(ErrnoOf(::access(Diff(name).c_str(), F_OK)), ENOENT) << name;
  }
  EXPECT_EQ(ErrnoOf(::access(Path("control/diff/dc").c_str(), F_OK)), ENOENT);
  // Dots in names: a text that could be two pairs is refused.
  MustAsk("snapshot", "db tue..now");
  MustAsk("snapshot", "db mon..tue");
  MustAsk("snapshot", "db now");
  EXPECT_EQ(StatOf(Diff("mon..tue")).st_size, 8388608);
  EXPECT_EQ(ErrnoOf(::access(Diff("mon..tue..now").c_str(), F_OK)), EINVAL);
  EXPECT_EQ(TestFile(Diff("mon..tue"), O_WRONLY).open_error(), EROFS);
}

// `cp`, GNU tar and qemu-img see the changed ranges as data and the rest as holes. What an archive
// has, put over the older snapshot, makes the newer one.
TEST_F(DiffFilesTest, TheImageIsSparse) {
  const std::string image = Diff("mon..tue");
  EXPECT_EQ(StatOf(image).st_size, 8388608);
  EXPECT_THAT(DataOf(image), ElementsAre(1, 3, 4, 5));
  EXPECT_THAT(DataOf(Diff("tue..mon")), ElementsAre(1, 3, 4, 5));
  const std::string copy = directory() + "/copy";
  MustRun("cp --sparse=auto " + image + " " + copy);
  EXPECT_LE(static_cast<uint64_t>(StatOf(copy).st_blocks) * 512, 3 * kMiB + kMiB / 8);
  MustRun("cmp " + image + " " + copy);
  MustRun("cmp -i 1M -n 2M " + image + " " + Path("snapshots/db/tue"));
  const std::string archive = directory() + "/archive.tar";
  MustRun("tar -S -C " + Diff("") + " -cf " + archive + " mon..tue");
  EXPECT_LT(StatOf(archive).st_size, 3 * 1048576 + 65536);
  MustRun("tar -C " + directory() + " -xf " + archive + " && cmp " + image + " " + directory() +
          "/mon..tue");
  const std::string base = directory() + "/base";
  MustRun("cp " + Path("snapshots/db/mon") + " " + base);
  MustRun("dd if=" + image + " of=" + base +
          " bs=1M skip=1 seek=1 count=4 conv=notrunc "
          "status=none; dd if=" +
          Path("snapshots/db/tue") + " of=" + base +
          " bs=1M skip=3 seek=3 count=1 conv=notrunc status=none");
  MustRun("cmp " + base + " " + Path("snapshots/db/tue"));
  if (RunShell("command -v qemu-img").exit_code != 0) GTEST_SKIP() << "needs qemu-img";
  // A signal of its own may interrupt its open, which is EINTR then.
  const std::string map = MustRun("for i in 1 2 3 4 5; do qemu-img map -f raw --output=json " +
                                  image + " && break; sleep 0.2; done");
  EXPECT_THAT(map, HasSubstr(R"("start": 1048576, "length": 2097152, "depth": 0, "present": true, )"
                             R"("zero": false, "data": true)"));
  EXPECT_THAT(map, HasSubstr(R"("start": 4194304, "length": 1048576, "depth": 0, "present": true, )"
                             R"("zero": false, "data": true)"));
  EXPECT_THAT(map, HasSubstr(R"("start": 5242880, "length": 3145728, "depth": 0, "present": true, )"
                             R"("zero": true, "data": false)"));
}

// "A.." is the volume as it is at the open, whatever is written afterwards.
TEST_F(DiffFilesTest, AnImageOfNowStaysAsItWas) {
  Put(6, 1);
  const TestFile open(Diff("tue.."), O_RDONLY);
  ASSERT_TRUE(open.ok()) << open.open_error();
  MustRun("cp " + Volume("db") + " " + directory() + "/then");
  Put(5, 3);
  std::vector<std::byte> bytes(1048576);
  ASSERT_EQ(open.ReadAt(6 * 1048576, bytes), 0);
  MustRun("rm " + Path("snapshots/db/tue"));  // the open file keeps it
  struct stat info {};
  EXPECT_EQ(::fstat(open.fd(), &info), 0);
  EXPECT_EQ(info.st_size, 8388608);
  EXPECT_EQ(::lseek(open.fd(), 0, SEEK_DATA), 6 * 1048576);
  EXPECT_EQ(::lseek(open.fd(), 6 * 1048576, SEEK_HOLE), 7 * 1048576);
  const TestFile then(directory() + "/then", O_RDONLY);
  std::vector<std::byte> expected(1048576);
  ASSERT_EQ(then.ReadAt(6 * 1048576, expected), 0);
  EXPECT_TRUE(bytes == expected);
}

// The image has the rights of the newer snapshot. While the volume is copied no point of it can be
// frozen: the reason is told, and the ranges can be had.
TEST_F(DiffFilesTest, RightsAndRefusals) {
  EXPECT_EQ(StatOf(Diff("mon..tue")).st_mode & 0777,
            StatOf(Path("snapshots/db/tue")).st_mode & 0777);
  EXPECT_EQ(StatOf(Diff("mon..")).st_mode & 0777, StatOf(Volume("db")).st_mode & 0444);
  SetCopyRate("0");
  MustAsk("clone", "db x");
  EXPECT_EQ(TestFile(Diff("mon.."), O_RDONLY).open_error(), EBUSY);
  EXPECT_THAT(MustRun("head -1 " + Path("control/last_error")),
              AllOf(HasSubstr("control/diff"), HasSubstr("EBUSY")));
  EXPECT_EQ(VolfsHere("diff db@tue").exit_code, 0);
}

// Many ranges come as one text, piece by piece and from any offset.
TEST_F(DiffFilesTest, ManyRanges) {
  MustRun("truncate -s 16M " + Volume("db"));
  MustAsk("snapshot", "db base");
  MustRun(
      "python3 -c '\nimport os, sys\nf = os.open(sys.argv[1], os.O_WRONLY)\n"
      "for i in range(2000): os.pwrite(f, b\"x\" * 4096, i * 8192)\n' " +
      Volume("db"));
  const std::string text = directory() + "/text";
  MustRun("cat " + Diff("ranges/base..") + " > " + text);
  EXPECT_EQ(MustRun("wc -l < " + text), "2000\n");
  EXPECT_EQ(MustRun("tail -1 " + text), "16375808 4096 data\n");
  MustRun("dd if=" + Diff("ranges/base..") + " bs=1000 skip=20 count=7 status=none | cmp - " +
          text + " -i 0:20000 -n 7000");
  EXPECT_EQ(MustRun("grep -c offset " + Diff("ranges.json/base..")), "2000\n");
}

}  // namespace
}  // namespace volfs
