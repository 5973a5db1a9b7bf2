// Goal: the words of the command line (paths, types, options of mount(8)) and lines of input mean
// the same as in contract.md, section 3.
#include <gtest/gtest.h>

#include "blockstore/base/str_cat.h"
#include "control/cli/doctor.h"
#include "control/cli/mount_helper.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/cli/target.h"
#include "control/cli/types_option.h"
#include "tests/support/temp_dir.h"

namespace volfs::cli {
namespace {

using Strings = std::vector<std::string>;

TEST(ImageNameTest, ComesFromEveryViewOfTheMount) {
  EXPECT_EQ(ImageName("/volumes/db.img"), "db.img");
  EXPECT_EQ(ImageName("/nodes/a/db.img"), "db.img");
  EXPECT_EQ(ImageName("/snapshots/db/monday"), "db@monday");
  for (const char* path :
       {"", "/", "/volumes", "/nodes/a", "/snapshots/db", "/control/status", "/volumes/a/b"}) {
    EXPECT_FALSE(ImageName(path)) << path;
  }
}

TEST(AbsolutePathTest, HasNoDotsAndNoSlashAtTheEnd) {
  EXPECT_EQ(AbsolutePath("/mnt/./v//volumes/../x/"), "/mnt/v/x");
  EXPECT_EQ(AbsolutePath("/"), "/");
  EXPECT_EQ(AbsolutePath("a").front(), '/');
}

TEST(TargetsTest, RefusesWhatCannotBeAName) {
  Targets targets("");
  for (const char* name : {"", "a b", "-x", "a\nb", "a@b c", "@a", "a@", "a@b@c"}) {
    EXPECT_FALSE(targets.Image(name).ok()) << name;
  }
  EXPECT_FALSE(targets.Volume("db@monday").ok());
  EXPECT_EQ(targets.Image("db@monday").value(), "db@monday");
}

TEST(TypesTest, NamesAndRanges) {
  const auto types = ParseTypes("ssd,sata:1G-2T,a:-1K,b:512-");
  ASSERT_TRUE(types.ok()) << types.error().message;
  ASSERT_EQ(types.value().size(), 4U);
  EXPECT_EQ(types.value()[0], (VolumeType{"ssd", 0, kMaxVolumeBytes}));
  EXPECT_EQ(types.value()[1], (VolumeType{"sata", uint64_t{1} << 30, uint64_t{2} << 40}));
  EXPECT_EQ(types.value()[2], (VolumeType{"a", 0, 1024}));
  EXPECT_EQ(types.value()[3], (VolumeType{"b", 512, kMaxVolumeBytes}));
  EXPECT_TRUE(ParseTypes("").value().empty());
}

TEST(TypesTest, RefusesTheRest) {
  for (const char* text : {",", "ssd,", "ssd,,sata", "ssd,ssd", "a:1G", "a:2G-1G", "a:x-1", "a b",
                           "a:0-0", "a:1-2-3"}) {
    const auto types = ParseTypes(text);
    ASSERT_FALSE(types.ok()) << text;
    EXPECT_EQ(types.error().code, Errc::kInvalid) << text;
  }
}

TEST(MountHelperTest, HasANameForEachTypeOfFstab) {
  EXPECT_TRUE(IsMountHelperName("mount.volfs"));
  EXPECT_TRUE(IsMountHelperName("mount.fuse.volfs"));
  EXPECT_FALSE(IsMountHelperName("volfs"));
}

TEST(MountHelperTest, TakesWhatMountSays) {
  const TempDir dir;
  const auto call = ParseMountHelper(
      {dir / "a" + ":" + dir / "b", "/mnt", "-sn", "-v", "-o", "rw,nofail,copy_rate=1M"});
  ASSERT_TRUE(call.ok()) << call.error().message;
  const MountArguments& arguments = call.value().arguments;
  EXPECT_EQ(arguments.nodes, (Strings{dir / "a", dir / "b"}));
  EXPECT_EQ(arguments.mountpoint, "/mnt");
  EXPECT_EQ(arguments.options, (Strings{"rw", "nofail", "copy_rate=1M"}));
  EXPECT_TRUE(arguments.through_helper);
  EXPECT_FALSE(arguments.foreground);
  EXPECT_FALSE(call.value().fake);
}

TEST(MountHelperTest, FIsFakeAndNotForeground) {
  const auto call = ParseMountHelper({"/a", "/mnt", "-f", "-r", "-t", "volfs"});
  ASSERT_TRUE(call.ok());
  EXPECT_TRUE(call.value().fake);
  EXPECT_FALSE(call.value().arguments.foreground);
  EXPECT_EQ(call.value().arguments.options, Strings{"ro"});
}

TEST(MountHelperTest, RefusesTheRest) {
  for (const Strings& words : {Strings{}, Strings{"/a"}, Strings{"/a", "/b", "/c"},
                               Strings{"/a", "/b", "-x"}, Strings{"/a", "/b", "-o"}}) {
    EXPECT_FALSE(ParseMountHelper(words).ok());
  }
}

TEST(MountHelperTest, APathWithAColonThatExistsIsOne) {
  const TempDir dir;
  const std::string directory = dir.path();
  EXPECT_EQ(SplitNodeDirectories({directory, "/x:/y"}), (Strings{directory, "/x", "/y"}));
  EXPECT_EQ(SplitNodeDirectories({directory + ":" + directory}), (Strings{directory, directory}));
}

TEST(TableTest, ColumnsAreAsWideAsTheirWidestCell) {
  EXPECT_EQ(Table({{"NAME", "S"}, {"a-long-name", "available"}, {"b", "x"}}, kNoColumn, {}).text,
            "NAME         S\na-long-name  available\nb            x\n");
}

TEST(TableTest, NoBlanksAtTheEndOfALine) {
  EXPECT_EQ(Table({{"A", "B", "C"}, {"x", "", ""}, {"y"}}, kNoColumn, {}).text, "A  B  C\nx\ny\n");
}

TEST(TableTest, ColourDoesNotChangeTheWidths) {
  constexpr Surface kColoured{.terminal = true, .colour = true};
  EXPECT_EQ(Table({{"ok", "x"}, {"longer", "y"}}, 0, kColoured).text,
            "\x1b[32mok\x1b[0m      x\nlonger  y\n");
  EXPECT_EQ(Painted("error", {}), "error");
}

// Foreign bytes are escaped on a terminal. A program that reads a pipe gets them unchanged.
TEST(TableTest, AScreenShowsWhatFits) {
  const Drawn drawn{"NAME  STATUS\na     \x1b[32mavailable\x1b[0m\nb     x\n"};
  EXPECT_EQ(
      OnScreen(drawn, {80, 24}).text,
      "\x1b[HNAME  STATUS\x1b[K\na     \x1b[32mavailable\x1b[0m\x1b[K\nb     x\x1b[K\n\x1b[J");
  EXPECT_EQ(OnScreen(drawn, {8, 24}).text,
            "\x1b[HNAME  ST\x1b[K\na     \x1b[32mav\x1b[0m\x1b[K\nb     x\x1b[K\n\x1b[J");
  EXPECT_EQ(OnScreen(drawn, {80, 3}).text,
            "\x1b[HNAME  STATUS\x1b[K\n... and 2 more\x1b[K\n\x1b[J");
  EXPECT_EQ(OnScreen({"a\xc3\xa4"
                      "bc\n"},
                     {3, 9})
                .text,
            "\x1b[Ha\xc3\xa4"
            "b\x1b[K\n\x1b[J");
}

TEST(TableTest, CellsOfOthersAreEscapedAndAreAsWideAsTheyLook) {
  const std::vector<Row> rows = {{"P", "S"}, {"a\x1b[2J\nb", "ok\x1b"}};
  EXPECT_EQ(Table(rows, 1, {.terminal = true, .colour = true}).text,
            "P              S\na\\x1b[2J\\x0ab  ok\\x1b\n");
  EXPECT_EQ(Table(rows, 1, {}).text, "P        S\na\x1b[2J\nb  ok\x1b\n");
  EXPECT_EQ(ShownLines("a\x1b\nb", {.terminal = true}).text, "a\\x1b\nb");
  EXPECT_EQ(ShownLines("a\x1b\nb", {}).text, "a\x1b\nb");
}

// Foreign text cannot begin a new line of a message, neither by a line feed nor by one with blanks
// behind it.
TEST(NoteTest, OnlyLinesOfOursAreLines) {
  testing::internal::CaptureStderr();
  PrintNote(StrCat("volfs rm: a\nvolfs: all is well\x1b[31m\n  loop0: b", kNoteBreak, "see: help",
                   AsNoteLines("  mine\n      more")));
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "volfs rm: a\\x0avolfs: all is well\\x1b[31m\\x0a  loop0: b\n  see: help\n  mine\n"
            "      more\n");
}

TEST(FilesTest, TextInPieces) {
  EXPECT_EQ(SplitLines("a\n\nb").size(), 3U);
  EXPECT_TRUE(SplitLines("").empty());
  EXPECT_EQ(SplitWords(" a \t b ").size(), 2U);
  EXPECT_EQ(SplitAt("::a:b:", ':'), (Strings{"a", "b"}));
  EXPECT_EQ(ParseNumber("12"), 12U);
  for (const char* text : {"", "-1", "+1", "1 ", "x", "99999999999999999999"}) {
    EXPECT_FALSE(ParseNumber(text)) << text;
  }
}

TEST(DoctorTest, FuseConf) {
  EXPECT_TRUE(AllowsOther("# x\n  user_allow_other  # y\n"));
  EXPECT_FALSE(AllowsOther("#user_allow_other\nmount_max = 10\n"));
}

}  // namespace
}  // namespace volfs::cli
