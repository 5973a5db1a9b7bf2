// Goal: mount(8), fstab(5) and findmnt(8) meet a filesystem like any other (contract.md 3).
// Method: the helper is run with the words that mount(8) gives it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <string>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class MountHelperTest : public MountTest {
 protected:
  // Exit codes of mount(8).
  static constexpr int kUsage = 1;
  static constexpr int kFailed = 32;

  [[nodiscard]] CommandResult Helper(const std::string& words,
                                     const std::string& name = "mount.volfs") const {
    const std::filesystem::path directory = std::filesystem::path(Binary()).parent_path();
    return RunShell((directory / name).string() + " " + words);
  }
  [[nodiscard]] std::string Where() const { return NodePath("a") + " " + Mnt(); }
  [[nodiscard]] CommandResult Remount(const std::string& options) const {
    return Helper(Where() + " -o remount," + options);
  }
  [[nodiscard]] std::string Find(const std::string& column) const {
    return MustRun("findmnt -n -o " + column + " " + Mnt());
  }
};

// findmnt and df show the nodes, also those with odd names.
TEST_F(MountHelperTest, TheSourceIsTheNodes) {
  Mount({"a", "b"});
  EXPECT_EQ(Find("SOURCE"), NodePath("a") + ":" + NodePath("b") + "\n");
  EXPECT_EQ(Find("FSTYPE"), "fuse.volfs\n");
  EXPECT_THAT(MustRun("df " + Mnt()), HasSubstr(NodePath("a") + ":" + NodePath("b")));
  Unmount();
  const std::string odd = directory() + "/a,b \\c";
  MustRun("mkdir " + Quoted(odd));
  ASSERT_TRUE(Volfs("mount " + Quoted(odd) + " " + Mnt()).ok());
  FindDaemon();
  EXPECT_EQ(MustRun("findmnt -n -J -o SOURCE " + Mnt() +
                    " | python3 -c 'import json, sys; "
                    "print(json.load(sys.stdin)[\"filesystems\"][0][\"source\"])'"),
            odd + "\n");
}

// As `mount -t fuse.volfs` runs it.
TEST_F(MountHelperTest, MountsUnderItsNameForFuse) {
  const CommandResult mounted =
      Helper(Where() + " -o rw,init,noatime -t fuse.volfs", "mount.fuse.volfs");
  ASSERT_EQ(mounted.exit_code, 0) << mounted.output;
  FindDaemon();
  EXPECT_THAT(Find("OPTIONS"), HasSubstr("noatime"));
}

TEST_F(MountHelperTest, ExitsAsMount8Documents) {
  EXPECT_EQ(Helper(NodePath("a")).exit_code, kUsage);
  EXPECT_EQ(Helper(Where() + " -o colour=red").exit_code, kUsage);
  EXPECT_EQ(Helper(Where() + " -q").exit_code, kUsage);
  EXPECT_EQ(Helper(NodePath("nosuch") + " " + Mnt()).exit_code, kFailed);
  EXPECT_EQ(Helper(NodePath("a") + " " + directory() + "/nosuch").exit_code, kFailed);
  EXPECT_NE(Helper(Where()).exit_code, 0) << "an empty directory, without init";
  Mount({"a"});
  MustRun("mkdir " + directory() + "/other");
  EXPECT_EQ(Helper(NodePath("a") + " " + directory() + "/other").exit_code, kFailed) << "locked";
}

// A remount changes flags of the kernel's mount and the limits of copying; the rest is refused.
TEST_F(MountHelperTest, RemountsWhatCanChange) {
  Mount({"a"}, "nopoll");
  MustRun("truncate -s 1M " + Volume("v"));
  ASSERT_EQ(Remount("ro").exit_code, 0);
  EXPECT_EQ(TestFile(Volume("v"), O_WRONLY).open_error(), EROFS);
  EXPECT_EQ(TestFile(Volume("v"), O_RDONLY).open_error(), 0);
  // With all that the kernel shows, as mount(8) has it from mountinfo.
  const CommandResult writable =
      Remount("rw,nosuid,nodev,relatime,user_id=0,group_id=0,default_permissions,nopoll,noexec");
  ASSERT_EQ(writable.exit_code, 0) << writable.output;
  EXPECT_EQ(TestFile(Volume("v"), O_WRONLY).open_error(), 0);
  EXPECT_THAT(Find("OPTIONS"), AllOf(HasSubstr("rw"), HasSubstr("noexec"), HasSubstr("nosuid")));
  ASSERT_EQ(Remount("copy_rate=5m,copy_jobs=3").exit_code, 0);
  EXPECT_EQ(ReadText(Path("control/limits/copy_rate")), "5242880\n");
  EXPECT_EQ(ReadText(Path("control/limits/copy_jobs")), "3\n");
  EXPECT_THAT(Find("OPTIONS"), HasSubstr("noexec")) << "what is not named stays";
}

TEST_F(MountHelperTest, ARemountRefusesTheRest) {
  EXPECT_EQ(Remount("ro").exit_code, kFailed) << "nothing is mounted";
  Mount({"a"});
  MustRun("truncate -s 1M " + Volume("v"));
  const CommandResult shrink = Remount("allow_shrink");
  EXPECT_EQ(shrink.exit_code, kUsage);
  EXPECT_THAT(shrink.output, AllOf(HasSubstr("allow_shrink"), HasSubstr("unmount")));
  EXPECT_EQ(Remount("colour=red").exit_code, kUsage);
  {
    const TestFile writer(Volume("v"), O_WRONLY);
    const CommandResult busy = Remount("ro");
    EXPECT_EQ(busy.exit_code, kFailed);
    EXPECT_THAT(busy.output, HasSubstr("open for writing"));
  }
  Unmount();
  Mount({"a"}, "ro");
  const CommandResult writable = Remount("rw");
  EXPECT_EQ(writable.exit_code, kUsage) << writable.output;
  EXPECT_THAT(writable.output, HasSubstr("without `ro`"));
}

}  // namespace
}  // namespace volfs
