// Goal: only the users concerned see the names of volumes and the refusals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class PrivateTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    MustRun("chmod 755 " + directory());
  }

  // Runs a line in the mount as a user without rights, or with the rights of `group`.
  CommandResult AsUser(const std::string& line, int uid = 65534, int group = 65534) {
    return RunShell("exec setpriv --reuid=" + std::to_string(uid) + " --regid=65534 --groups=" +
                        std::to_string(group) + " sh -c " + Quoted(line),
                    {.directory = Mnt()});
  }
  bool UserMay(const std::string& line, int uid = 65534, int group = 65534) {
    return AsUser(line, uid, group).ok();
  }
  // Makes a volume of root and one of user 65534, each with a snapshot. Makes a refusal for root
  // and, if that user may make requests, one for him.
  void MakeVolumes() {
    MustRun(
        "truncate -s 5M volumes/secret && chmod 600 volumes/secret && truncate -s 1M "
        "volumes/mine && chown 65534:65534 volumes/mine && echo secret s > control/snapshot && "
        "echo mine s > control/snapshot",
        {.directory = Mnt()});
    EXPECT_NE(Ask("create", "secret 1M"), 0);
  }
};

TEST_F(PrivateTest, OthersReadNeitherNamesNorSizesNorRefusals) {
  Mount({"a", "b"}, "private");
  MakeVolumes();
  for (const char* line : {"ls volumes",
                           "ls nodes",
                           "ls nodes/a",
                           "ls snapshots",
                           "ls control",
                           "ls snapshots/secret",
                           "ls control/volumes",
                           "cat control/status",
                           "cat control/status.json",
                           "cat control/last_error",
                           "cat control/metrics",
                           "cat control/config",
                           "cat control/nodes/a/path",
                           "cat control/volumes/secret/size",
                           "cat control/volumes/mine/size",
                           "stat control/volumes/secret",
                           "timeout 5 cat control/watch/events",
                           "timeout 5 cat control/watch/volumes/secret",
                           "cat volumes/secret",
                           "getfattr -n user.volfs.status volumes/secret",
                           "cat snapshots/secret/s",
                           "stat volumes/secret",
                           "stat nodes/a/secret",
                           "stat snapshots/secret",
                           "stat --cached=always volumes/secret"}) {
    EXPECT_FALSE(UserMay(line)) << line;
    EXPECT_TRUE(UserMay("exit 0")) << line;
  }
  EXPECT_EQ(MustRun("stat -c %s " + Volume("secret")), "5242880\n");
  EXPECT_FALSE(UserMay("stat volumes/secret"));  // also when the kernel has cached it
  EXPECT_THAT(AsUser(Quoted(Binary()) + " ls").output, Not(HasSubstr("secret")));
}

TEST_F(PrivateTest, WhatIsHisOwnHeUsesByItsName) {
  Mount({"a", "b"}, "private");
  MakeVolumes();
  EXPECT_TRUE(UserMay("head -c 4096 /dev/urandom | dd of=volumes/mine conv=notrunc"));
  EXPECT_TRUE(UserMay("cat nodes/a/mine > /dev/null"));
  EXPECT_EQ(AsUser("ls snapshots/mine").output, "s\n");
  EXPECT_TRUE(UserMay("cat snapshots/mine/s > /dev/null"));
  EXPECT_TRUE(UserMay("df ."));
}

// The source of a clone may belong to another user.
TEST_F(PrivateTest, TheSourceOfHisCloneIsNotTold) {
  Mount({"a", "b"}, "private");
  MakeVolumes();
  SetCopyRate("0");  // the source of a whole clone is never shown
  MustRun(
      "head -c 1M /dev/urandom | dd of=volumes/secret conv=notrunc && echo secret copy > "
      "control/clone && chown 65534 volumes/copy",
      {.directory = Mnt()});
  EXPECT_FALSE(UserMay("getfattr --only-values -n user.volfs.source volumes/copy"));
  EXPECT_EQ(AsUser("getfattr --only-values -n user.volfs.status volumes/copy").output, "creating");
  EXPECT_EQ(
      MustRun("getfattr --only-values -n user.volfs.source volumes/copy", {.directory = Mnt()}),
      "secret");
}

TEST_F(PrivateTest, TheControlGroupSeesAll) {
  Mount({"a", "b"}, "private,control_gid=4242");
  MakeVolumes();
  for (const char* line : {"ls volumes | grep -q secret", "ls nodes/a", "ls snapshots/secret",
                           "grep -q secret control/status", "grep -q secret control/last_error",
                           "echo new 1M > control/create"}) {
    EXPECT_TRUE(UserMay(line, 65534, 4242)) << line;
    EXPECT_FALSE(UserMay(line)) << line;
  }
}

// Without the option every user sees everything except the refusals of other users.
TEST_F(PrivateTest, InEveryMountRefusalsAreTheirs) {
  Mount({"a", "b"});
  MakeVolumes();
  EXPECT_TRUE(UserMay("grep -q secret control/status"));
  EXPECT_FALSE(UserMay("rm -f volumes/secret"));
  EXPECT_FALSE(UserMay("truncate -s 2K volumes/mine"));
  const std::string his = AsUser("cat control/last_error").output;
  EXPECT_THAT(his, AllOf(HasSubstr(" 65534 truncate:volumes/mine"), Not(HasSubstr("secret"))));
  EXPECT_EQ(AsUser("cat control/last_error", 65533).output, "");
  EXPECT_THAT(MustRun("cat " + Path("control/last_error")),
              AllOf(HasSubstr("secret"), HasSubstr("volumes/mine")));
}

}  // namespace
}  // namespace volfs
