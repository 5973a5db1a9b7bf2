// Goal: a copy is usable by its maker. He may write it, and learns which of its contents conflict
// with its source.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class CopyTest : public MountTest {
 protected:
  std::string In(const std::string& line) { return MustRun(line, {.directory = Mnt()}); }
  std::string ModeOf(const std::string& volume) { return In("stat -c %a volumes/" + volume); }
};

TEST_F(CopyTest, OfASnapshotCanBeWrittenAndDeleted) {
  Mount();
  In("truncate -s 8M volumes/db && echo db s > control/snapshot");
  EXPECT_EQ(In("stat -c %a snapshots/db/s"), "444\n");
  In("umask 022; cp snapshots/db/s volumes/cp && cp --sparse=never snapshots/db/s volumes/full");
  In("install -m 600 snapshots/db/s volumes/installed && cat snapshots/db/s > volumes/cat");
  In("umask 077; cp snapshots/db/s volumes/strict");
  EXPECT_EQ(ModeOf("cp"), "644\n");
  EXPECT_EQ(ModeOf("full"), "644\n");
  EXPECT_EQ(ModeOf("strict"), "600\n");
  for (const char* name : {"cp", "full", "installed", "cat", "strict"}) {
    In(std::string("dd if=/dev/zero of=volumes/") + name +
       " bs=4k count=1 conv=notrunc && rm volumes/" + name);
  }
}

// A copy gets the mode that the request names.
TEST_F(CopyTest, KeepsAModeThatWasAskedFor) {
  Mount();
  In("truncate -s 8M volumes/db && echo db s > control/snapshot");
  In("cp -a snapshots/db/s volumes/kept && install -m 444 snapshots/db/s volumes/golden");
  EXPECT_EQ(ModeOf("kept"), "444\n");
  EXPECT_EQ(ModeOf("golden"), "444\n");
  EXPECT_FALSE(RunShell("exec 3<> " + Volume("golden")).ok());
  In("echo golden copy linked=1 > control/clone");
  EXPECT_EQ(ModeOf("copy"), "644\n");
}

TEST_F(CopyTest, OfAnXfsTellsHowItIsMountedBesideItsSource) {
  Mount();
  In("truncate -s 400M volumes/x && mkfs.xfs -q volumes/x && mkdir ../fs ../copy");
  In("mount -o loop volumes/x ../fs && touch ../fs/here && sync -f ../fs");
  const CommandResult told = VolfsHere("clone --linked x");
  ASSERT_TRUE(told.ok()) << told.output;
  EXPECT_THAT(told.output, AllOf(HasSubstr("nouuid"), HasSubstr("xfs_admin -U generate")));
  EXPECT_THAT(VolfsHere("clone --linked -J x x2").output, HasSubstr("\"contents\":\"xfs\""));
  const CommandResult attached = VolfsHere("attach x-clone");
  EXPECT_THAT(attached.output, HasSubstr("mount -o nouuid /dev/loop"));
  const std::string device = attached.output.substr(0, attached.output.find('\n'));
  // The printed advice works, word for word.
  EXPECT_FALSE(RunShell("mount " + device + " " + directory() + "/copy").ok());
  In("mount -o nouuid " + device + " ../copy && ls ../copy/here && umount ../copy");
  In("xfs_admin -U generate " + device + " && mount " + device + " ../copy && umount ../copy");
  EXPECT_TRUE(VolfsHere("detach x-clone").ok());
  EXPECT_THAT(VolfsHere("attach x-clone").output, Not(HasSubstr("nouuid")));  // has a new UUID
  EXPECT_TRUE(VolfsHere("detach x-clone").ok());
  In("umount ../fs");
}

TEST_F(CopyTest, OfABtrfsGetsAUuidOfItsOwnBeforeItIsMounted) {
  Mount();
  In("truncate -s 200M volumes/b && mkfs.btrfs -q volumes/b");
  EXPECT_THAT(VolfsHere("clone --linked b").output, HasSubstr("btrfstune -u"));
  const auto uuid = [this](const std::string& name) {
    return In("blkid -p -o value -s UUID volumes/" + name);
  };
  EXPECT_EQ(uuid("b"), uuid("b-clone"));
  In("btrfstune -f -u volumes/b-clone");
  EXPECT_NE(uuid("b"), uuid("b-clone"));
}

// The two nodes of the test are on one filesystem.
TEST_F(CopyTest, DfPromisesSharedRoomOnce) {
  Mount();
  const auto available = [](const std::string& path) {
    return std::stod(MustRun("df --output=avail -B1 " + path + " | tail -1"));
  };
  EXPECT_LT(available(Mnt()), available(directory()) * 1.1);
  EXPECT_LT(available(Path("nodes/a")), available(directory()) * 1.1);
  EXPECT_THAT(VolfsHere("node ls").output, HasSubstr("whose room they share: a, b"));
  EXPECT_EQ(In("cat control/nodes/a/filesystem"), In("cat control/nodes/b/filesystem"));
}

}  // namespace
}  // namespace volfs
