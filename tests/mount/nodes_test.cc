// Goal: which directories become nodes, which are refused, and where volumes and clones go; reports
// and data while a node is absent or full (contract.md 3, 4, 5.4, 5.9, 5.11).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::MatchesRegex;

class NodesTest : public MountTest {
 protected:
  void MakeNode(const std::string& node, const std::string& options) {
    MustRun("mkdir -p " + NodePath(node) + " && " + Binary() + " node init " + NodePath(node) +
            " " + options);
  }
  // Makes a node directory on a filesystem of its own.
  void MakeDisk(const std::string& node, const std::string& size) {
    MustRun("mkdir " + NodePath(node) + " && mount -t tmpfs -o mode=0700,size=" + size +
            " volfs-test " + NodePath(node));
  }
  void MakeVolume(const std::string& name, const std::string& data) {
    MustRun("head -c " + data + " /dev/urandom > " + Volume(name));
  }
  std::string FirstError() {
    const std::string errors = ReadText(Path("control/last_error"));
    return errors.substr(0, errors.find('\n'));
  }
  std::string Helper() {
    return std::filesystem::path(Binary()).parent_path().string() + "/mount.volfs ";
  }
};

// A new node gets the name of its directory (with -2 if the mount has that name already), the
// region `default`, the type `standard`, and the mode 0700. A filesystem's lost+found does not
// count as contents.
TEST_F(NodesTest, NewOnesHaveDefaults) {
  MustRun("mkdir -p " + NodePath("x/disk") + " " + NodePath("y/disk/lost+found"));
  Mount({"x/disk", "y/disk"});
  EXPECT_THAT(ListOf(Path("nodes")), ElementsAre("disk", "disk-2"));
  for (const char* node : {"disk", "disk-2"}) {
    const std::string directory = Path("control/nodes/") + node;
    EXPECT_EQ(ReadText(directory + "/region"), "default\n");
    EXPECT_EQ(ReadText(directory + "/types"), "standard\n");
    EXPECT_EQ(ReadText(directory + "/state"), "ok\n");
    EXPECT_THAT(ReadText(directory + "/uuid"), MatchesRegex("[0-9a-f-]{36}\n"));
    const uint64_t size = std::stoull(ReadText(directory + "/size_bytes"));
    EXPECT_EQ(size, std::stoull(MustRun("df -B1 --output=size " + NodePath("x") + " | tail -1")));
    EXPECT_LT(std::stoull(ReadText(directory + "/free_bytes")), size);
  }
  EXPECT_NE(ReadText(Path("control/nodes/disk/uuid")), ReadText(Path("control/nodes/disk-2/uuid")));
  EXPECT_EQ(ReadText(Path("control/nodes/disk-2/path")), NodePath("y/disk") + "\n");
  EXPECT_EQ(StatOf(NodePath("x/disk")).st_mode & 07777, 0700U);
}

// For mount(8), an empty directory may be the mountpoint of a disk that did not come up. It becomes
// a node only with -o init (T38).
TEST_F(NodesTest, ThroughMountANewOneNeedsInit) {
  const std::string words = Helper() + NodePath("a") + " " + Mnt();
  const CommandResult refused = RunShell(words);
  EXPECT_NE(refused.exit_code, 0);
  EXPECT_THAT(refused.output, AllOf(HasSubstr(NodePath("a")), HasSubstr("-o init")));
  EXPECT_THAT(ListOf(NodePath("a")), IsEmpty());
  const CommandResult made = RunShell(words + " -o rw,init");
  EXPECT_EQ(made.exit_code, 0) << made.output;
  FindDaemon();
  EXPECT_THAT(ListOf(Path("nodes")), ElementsAre("a"));
}

// Nodes that were mounted separately and have volumes of one name are not mounted together: exit
// code 4, with both names and the remedy (T64).
TEST_F(NodesTest, WithVolumesOfOneNameAreRefused) {
  for (const char* node : {"a", "b"}) {
    Mount({node});
    MakeVolume("db.img", "4096");
    Unmount();
  }
  const CommandResult refused = TryMount({"a", "b"});
  EXPECT_EQ(refused.exit_code, 4) << refused.output;
  EXPECT_THAT(refused.output,
              AllOf(HasSubstr("nodes a and b"), HasSubstr("db.img"), HasSubstr("volfs mv")));
  Mount({"b"});
  EXPECT_EQ(VolfsHere("mv db.img other.img").exit_code, 0);
  Unmount();
  Mount({"a", "b"});
  EXPECT_THAT(ListOf(Path("volumes")), ElementsAre("db.img", "other.img"));
}

// The order of the nodes does not matter to their volumes. A deleted volume whose snapshots keep
// its name on one node, and the volume restored from them on another, share one name.
TEST_F(NodesTest, MayComeInAnyOrder) {
  Mount({"a", "b"});
  MakeVolume("db.img", "4096");
  const std::vector<std::byte> bytes = ReadBytes(Volume("db.img"));
  MustAsk("snapshot", "db.img s");
  MustAsk("delete", "db.img");
  MustAsk("restore", "db.img@s db.img");
  ASSERT_TRUE(WaitForStatus("db.img", "available"));
  Unmount();
  Mount({"b", "a"});
  EXPECT_EQ(Field("db.img", "node"), "b");
  EXPECT_TRUE(ReadBytes(Volume("db.img")) == bytes);
  EXPECT_TRUE(ReadBytes(Path("snapshots/db.img/s")) == bytes);
  EXPECT_EQ(Ask("snapshot", "db.img s"), EEXIST);
  MustRun("touch " + Volume("new"));
  EXPECT_EQ(Field("new", "node"), "b") << "but to where a new volume goes";
}

// A directory on the mount itself, or on a loop device over one of its images, is refused: it would
// wait for itself.
TEST_F(NodesTest, OnTheMountItselfAreRefused) {
  Mount();
  MustRun("truncate -s 64M " + Volume("v") + " && mkfs.ext4 -q -F " + Volume("v"));
  const std::string device = AttachLoop(Volume("v"));
  MustRun("mkdir " + directory() + "/disk && mount " + device + " " + directory() +
          "/disk && rmdir " + directory() + "/disk/lost+found && chmod 700 " + directory() +
          "/disk");
  const CommandResult on_mount = Volfs("mount " + Path("nodes/a") + " " + Mnt());
  EXPECT_NE(on_mount.exit_code, 0);
  EXPECT_THAT(on_mount.output, HasSubstr("lies on the mountpoint"));
  const CommandResult on_image = Volfs("mount " + directory() + "/disk " + Mnt());
  EXPECT_NE(on_image.exit_code, 0);
  EXPECT_THAT(on_image.output, AllOf(HasSubstr(device), HasSubstr("image of this mount")));
  EXPECT_THAT(ListOf(directory() + "/disk"), IsEmpty());
  MustRun("umount " + directory() + "/disk");
  DetachLoop(device);
}

// A file made in volumes/ goes to the first node of the command line that offers the default type.
// That is `standard` if any node offers it, otherwise the first type of the first node. A file made
// in nodes/N/ goes to N. A type's least size binds requests only.
TEST_F(NodesTest, DecideWhereFilesLive) {
  MakeNode("fast", "--types ssd:1M-8M,nvme");
  MakeNode("slow", "--types sata");
  Mount({"slow", "fast"});
  MustRun("touch " + Volume("v") + " " + Path("nodes/fast/w"));
  EXPECT_EQ(Field("v", "type") + " " + Field("v", "node"), "sata slow");
  EXPECT_EQ(Field("w", "type") + " " + Field("w", "node"), "ssd fast");
  EXPECT_EQ(Field("w", "region"), "default");
  MustRun("truncate -s 1000 " + Volume("w"));
  EXPECT_EQ(Ask("create", "tiny 1000 type=ssd"), ERANGE);
  EXPECT_EQ(Ask("create", "huge 9M type=ssd"), ERANGE);
  EXPECT_EQ(Ask("create", "least 1M type=ssd"), 0);
  EXPECT_EQ(Ask("resize", "least 9M"), ERANGE);
  EXPECT_EQ(Ask("clone", "v x type=ssd"), ERANGE) << "0 bytes are too few";
  EXPECT_EQ(ReadText(Path("control/types")),
            "nvme fast 0 9223372036854771712\nsata slow 0 9223372036854771712\n"
            "ssd fast 1048576 8388608\n");
  Unmount();
  MakeNode("usual", "--types sata,standard");
  Mount({"fast", "slow", "usual"});
  MustRun("touch " + Volume("x"));
  EXPECT_EQ(Field("x", "type") + " " + Field("x", "node"), "standard usual");
}

// A clone goes to the node with the most free space, wherever the source is (contract.md 5.4).
// Without room on any node it is refused and leaves nothing behind (T40).
TEST_F(NodesTest, WithTheMostSpaceGetTheClone) {
  MakeDisk("small", "64M");
  MakeDisk("large", "80M");
  Mount({"a", "small", "large"});
  MakeVolume("db", "4M");
  MustAsk("clone", "db");
  EXPECT_EQ(Field("db-clone", "node"), "large");
  ASSERT_TRUE(WaitForStatus("db-clone", "available"));
  MustRun("head -c 30M /dev/urandom > " + Path("nodes/large/filler"));
  MustAsk("clone", "db second");
  EXPECT_EQ(Field("second", "node"), "small");
  ASSERT_TRUE(WaitForStatus("second", "available"));
  MakeVolume("big", "70M");
  const auto layers = [&](const std::string& node) { return ListOf(NodePath(node) + "/layers"); };
  const auto before = layers("a");
  const AskResult refused = AskForReply("clone", "big");
  EXPECT_EQ(refused.error, ENOSPC);
  EXPECT_THAT(refused.reply, AllOf(HasSubstr("error ENOSPC"), HasSubstr("bytes free")));
  EXPECT_EQ(Ask("clone", "big node=large"), ENOSPC);
  EXPECT_FALSE(Exists(Volume("big-clone")));
  EXPECT_EQ(layers("a"), before);
  EXPECT_EQ(layers("small").size(), 1U);
  EXPECT_EQ(layers("large").size(), 2U);
  EXPECT_EQ(Ask("snapshot", "big s"), 0) << "it is not locked";
}

// Space that a clone still needs is not offered to another one (T43).
TEST_F(NodesTest, PromiseTheirSpaceOnce) {
  MakeDisk("small", "64M");
  Mount({"a", "small"});
  MakeVolume("one", "30M");
  MakeVolume("two", "30M");
  SetCopyRate("0");
  MustAsk("clone", "one");
  const AskResult refused = AskForReply("clone", "two");
  EXPECT_EQ(refused.error, ENOSPC);
  EXPECT_THAT(refused.reply, HasSubstr("no other clone is going to take"));
  MustAsk("cancel", "one-clone");
  EXPECT_EQ(Ask("clone", "two"), 0);
}

// If a node fills up while a clone is copied to it, copying pauses with a reason. The clone can be
// read and stays `creating`, and deleting works. With room again the copy continues by itself
// (contract.md 5.11, T40, T41).
TEST_F(NodesTest, ThatAreFullPauseTheCopy) {
  MakeDisk("full", "64M");
  Mount({"a", "full"});
  SetCopyRate("0");
  MakeVolume("db", "8M");
  MustAsk("clone", "db");
  EXPECT_NE(RunShell("cat /dev/zero > " + Path("nodes/full/filler")).exit_code, 0);
  SetCopyRate("max");
  for (int i = 0; i < 500 && Field("db-clone", "error").empty(); ++i) ::usleep(20'000);
  EXPECT_THAT(Field("db-clone", "error"), HasSubstr("space"));
  EXPECT_EQ(Field("db-clone", "status"), "creating");
  EXPECT_EQ(RunShell("cmp " + Volume("db") + " " + Volume("db-clone")).output, "");
  MustRun("rm " + Path("nodes/full/filler"));
  ASSERT_TRUE(WaitForStatus("db-clone", "available"));
  EXPECT_EQ(Field("db-clone", "error"), "");
  EXPECT_EQ(RunShell("cmp " + Volume("db") + " " + Volume("db-clone")).output, "");
}

// A full node refuses anything new, with the remedy, while it still has its reserve, and reports
// that in its state and metrics. It can be mounted after a kill and emptied, and then works as
// before (FORMAT.md, section 8).
TEST_F(NodesTest, ThatAreFullAreMountedAndEmptied) {
  MakeDisk("full", "64M");
  const std::string ballast = NodePath("full") + "/ballast";
  Mount({"full"});
  MustAsk("create", "v 200M");
  EXPECT_NE(RunShell("tr '\\0' x < /dev/zero | dd conv=notrunc bs=1M of=" + Volume("v")).exit_code,
            0);
  int taken = 0;
  int error = 0;
  while (taken < 2000 && (error = Ask("snapshot", "v s" + std::to_string(taken))) == 0) ++taken;
  EXPECT_EQ(error, ENOSPC);
  EXPECT_GT(taken, 0) << "what the catalog has room for already";
  EXPECT_THAT(FirstError(), HasSubstr("delete volumes or snapshots"));
  EXPECT_EQ(Ask("create", "w 4096"), ENOSPC);
  EXPECT_EQ(std::filesystem::file_size(ballast), 8U << 20) << "nothing new takes of the reserve";
  const auto state_begins = [&](const std::string& word) {
    for (int i = 0; i < 500; ++i, ::usleep(20'000)) {
      if (RunShell("cat " + Path("control/nodes/full/state")).output.starts_with(word)) return true;
    }
    return false;
  };
  EXPECT_TRUE(state_begins("full: "));
  EXPECT_THAT(RunShell("cat " + Path("control/metrics")).output,
              AllOf(HasSubstr("volfs_node_full{node=\"full\"} 1"),
                    HasSubstr("volfs_node_up{node=\"full\"} 1")));
  KillAndMount();
  EXPECT_EQ(Ask("delete", "v@s0"), 0);
  Unmount();
  Mount({"full"});
  for (int n = 1; n < taken; ++n) ASSERT_EQ(Ask("delete", "v@s" + std::to_string(n)), 0) << n;
  EXPECT_EQ(Ask("delete", "v"), 0);
  EXPECT_TRUE(state_begins("ok"));
  EXPECT_EQ(Ask("create", "w 4096"), 0);
  EXPECT_EQ(std::filesystem::file_size(ballast), 8U << 20);
}

// A known node that is not mounted is EHOSTDOWN, an unknown one ENODEV. A clone that needs it is
// `error` with a reason, and cannot be resumed. Reading its missing part is EIO, with volume, range
// and node in last_error. Cancelling the clone leaves nothing, and its source is unlocked when the
// node is back (contract.md 5.9, 6; T10, T44).
TEST_F(NodesTest, ThatAreAwayAreToldAndOwedNothing) {
  Mount();
  MakeVolume("db", "1M");
  SetCopyRate("0");
  MustAsk("clone", "db");
  Unmount();
  Mount({"b"});
  EXPECT_EQ(Ask("create", "v 1M node=a"), EHOSTDOWN);
  EXPECT_EQ(Ask("create", "v 1M node=c"), ENODEV);
  EXPECT_EQ(VolfsHere("create v 1M --node a").exit_code, 7);
  EXPECT_EQ(Field("db-clone", "status"), "error");
  EXPECT_EQ(Field("db-clone", "error"), "node a is not mounted");
  EXPECT_EQ(Ask("clone", "db-clone resume=1"), EHOSTDOWN);
  EXPECT_EQ(Ask("clone", "db-clone x"), EBUSY);
  EXPECT_EQ(Ask("snapshot", "db-clone s"), EBUSY);
  std::vector<std::byte> bytes(512);
  EXPECT_EQ(TestFile(Volume("db-clone"), O_RDONLY).ReadAt(0, bytes), EIO);
  EXPECT_THAT(FirstError(), AllOf(HasSubstr(" EIO "), HasSubstr("db-clone"),
                                  ContainsRegex("bytes 0 to"), HasSubstr("node a")));
  EXPECT_EQ(Ask("cancel", "db-clone"), 0);
  EXPECT_FALSE(Exists(Volume("db-clone")));
  EXPECT_THAT(ListOf(NodePath("b") + "/layers"), IsEmpty());
  Unmount();
  Mount({"a", "b"});
  EXPECT_EQ(Ask("snapshot", "db s"), 0) << "no hold, no lock";
  EXPECT_EQ(Ask("delete", "db@s"), 0);
  EXPECT_EQ(Ask("delete", "db"), 0);
  EXPECT_THAT(ListOf(NodePath("a") + "/layers"), IsEmpty());
}

}  // namespace
}  // namespace volfs
