// Goal: the command behaves as contract.md 3 says, reports errors, and exits with its code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "tests/mount/mount_fixture.h"
#include "tests/mount/own_namespace.h"

namespace volfs {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// The exit codes of contract.md 3.
enum ExitCode { kOk, kFailed, kUsage, kNotFound, kExists, kBusy, kNoSpace, kNodeNotThere, kLocked };

class CommandTest : public MountTest {
 protected:
  // Whether the mountpoint is a mount, even a dead one.
  [[nodiscard]] bool IsMounted() const {
    return RunShell("grep -q ' " + Mnt() + " ' /proc/self/mountinfo").ok();
  }

  void ExpectRefused(const CommandResult& result, int exit_code, const std::string& words) {
    EXPECT_EQ(result.exit_code, exit_code) << result.output;
    EXPECT_THAT(result.output, HasSubstr(words));
    EXPECT_FALSE(IsMounted());
  }
};

// Mounting prints one ready line, and the mount is usable when the command returns. DIR1:DIR2 and
// mount.volfs do the same. umount returns when the daemon is gone (contract.md 3).
TEST_F(CommandTest, MountsAndUnmounts) {
  const CommandResult mounted = TryMount({"a", "b"});
  ASSERT_EQ(mounted.exit_code, kOk) << mounted.output;
  EXPECT_THAT(mounted.output, ContainsRegex("^[^\n]*mounted[^\n]*\n$"));
  FindDaemon();
  MustRun("truncate -s 1M " + Volume("v"));
  Unmount();
  EXPECT_FALSE(IsMounted());
  EXPECT_EQ(Volfs("mount " + NodePath("a") + ":" + NodePath("b") + " " + Mnt()).exit_code, kOk);
  FindDaemon();
  EXPECT_TRUE(Exists(Volume("v")));
  Unmount();
  const std::string helper =
      std::filesystem::path(Binary()).parent_path().string() + "/mount.volfs";
  ASSERT_TRUE(Exists(helper));
  EXPECT_EQ(RunShell(helper + " " + NodePath("a") + ":" + NodePath("b") + " " + Mnt() + " -o rw")
                .exit_code,
            kOk);
  FindDaemon();
  EXPECT_TRUE(Exists(Volume("v")));
  EXPECT_EQ(StatOf(NodePath("a")).st_mode & 0777, 0700U);
}

// With -f the daemon stays in the foreground. After an unmount its exit code is 0.
TEST_F(CommandTest, StaysInTheForeground) {
  BackgroundProgram daemon({Binary(), "mount", "-f", NodePath("a"), NodePath("b"), Mnt()});
  for (int i = 0; i < 500 && !Exists(Path("control/config")); ++i) ::usleep(20'000);
  ASSERT_TRUE(Exists(Path("control/config")));
  EXPECT_FALSE(daemon.WaitForEnd(0));
  EXPECT_EQ(Volfs("umount " + Mnt()).exit_code, kOk);
  EXPECT_EQ(daemon.Finish(10'000).exit_code, kOk);
}

// A wrong mount is refused with its exit code and a remedy, and nothing is changed or mounted.
// Wrong are a missing directory, one that is neither a node nor empty, one that others may write,
// one that is named twice, and a mountpoint that is a node, not empty or missing (contract.md 3).
TEST_F(CommandTest, MountRefusals) {
  ExpectRefused(TryMount({"nosuch"}), kNodeNotThere, NodePath("nosuch"));
  MustRun("mkdir " + NodePath("full") + " && touch " + NodePath("full") + "/file");
  const CommandResult full = TryMount({"full"});
  EXPECT_NE(full.exit_code, kOk);
  ExpectRefused(full, full.exit_code, NodePath("full"));
  EXPECT_THAT(ListOf(NodePath("full")), ElementsAre("file"));
  MustRun("mkdir -m 0770 " + NodePath("group"));
  const CommandResult group = TryMount({"group"});
  EXPECT_NE(group.exit_code, kOk);
  ExpectRefused(group, group.exit_code, "chmod");
  EXPECT_THAT(ListOf(NodePath("group")), IsEmpty());
  const CommandResult twice = TryMount({"a", "a"});
  EXPECT_NE(twice.exit_code, kOk);
  ExpectRefused(twice, twice.exit_code, NodePath("a"));
  const CommandResult forgotten = Volfs("mount " + NodePath("full"));
  EXPECT_EQ(forgotten.exit_code, kUsage) << forgotten.output;
  const CommandResult to_full = Volfs("mount " + NodePath("a") + " " + NodePath("full"));
  ExpectRefused(to_full, kUsage, "forget the mountpoint");
  ExpectRefused(Volfs("mount " + NodePath("a") + " " + NodePath("nosuch")), kNotFound, "nosuch");
  ExpectRefused(TryMount({"a"}, "colour=red"), kUsage, "colour");
  ExpectRefused(Volfs("mount " + NodePath("a") + " " + NodePath("a") + "/x"), kUsage, "lies in");
  Mount({"a"});
  Unmount();
  ExpectRefused(Volfs("mount " + NodePath("b") + " " + NodePath("a")), kUsage,
                "forget the mountpoint");
}

// A node whose creation was cut off after any step passes the check, and the next mount finishes
// it. But if layers exist, an empty catalog is damage.
TEST_F(CommandTest, ChecksANodeWhoseMakingWasCutOff) {
  const std::vector<std::string> steps = {"touch lock", "mkdir -m 700 layers", "touch catalog.db",
                                          "touch catalog.db-wal",
                                          "head -c 3000000 /dev/urandom > ballast"};
  for (size_t made = 1; made <= steps.size(); ++made) {
    SCOPED_TRACE(steps[made - 1]);
    const std::string node = NodePath("half" + std::to_string(made));
    MustRun("mkdir -m 700 " + node);
    for (size_t i = 0; i < made; ++i) MustRun("cd " + node + " && " + steps[i]);
    const CommandResult check = Volfs("check " + node);
    EXPECT_EQ(check.exit_code, 0) << check.output;
    EXPECT_THAT(check.output, HasSubstr("making of this node was cut off"));
    Mount({"half" + std::to_string(made)});
    Unmount();
    EXPECT_EQ(Volfs("check " + node).output,
              "half" + std::to_string(made) + ": nothing is wrong\n");
  }
  const std::string node = NodePath("lost");
  MustRun("mkdir -m 700 " + node + " " + node + "/layers && cd " + node +
          " && touch catalog.db layers/0123456789abcd00");
  EXPECT_EQ(Volfs("check " + node).exit_code, 4);
  EXPECT_NE(TryMount({"lost"}).exit_code, kOk);
  EXPECT_TRUE(Exists(node + "/layers/0123456789abcd00"));
}

// An empty directory that was a node is the mountpoint of a disk that did not come up. The mount
// refuses it by name and makes no new node of it (contract.md 3, T38).
TEST_F(CommandTest, EmptyDirectoryThatWasANodeIsRefused) {
  Mount();
  Unmount();
  std::filesystem::rename(NodePath("b"), NodePath("away"));
  std::filesystem::create_directory(NodePath("b"));
  ::chmod(NodePath("b").c_str(), 0700);
  const CommandResult result = TryMount({"a", "b"});
  EXPECT_NE(result.exit_code, kOk);
  ExpectRefused(result, result.exit_code, NodePath("b"));
  EXPECT_THAT(ListOf(NodePath("b")), IsEmpty());
}

// Two daemons never serve one node. The second is refused with exit code 8 and the pid of the
// first, which goes on. A second mount on the same place is refused, too (T45, T56).
TEST_F(CommandTest, SecondDaemonIsRefused) {
  Mount();
  const std::string second = directory() + "/second";
  std::filesystem::create_directory(second);
  const CommandResult result = Volfs("mount " + NodePath("a") + " " + second);
  EXPECT_EQ(result.exit_code, kLocked) << result.output;
  EXPECT_THAT(result.output, HasSubstr(std::to_string(pid())));
  const CommandResult same = TryMount({"a", "b"});
  EXPECT_EQ(same.exit_code, kLocked) << same.output;
  EXPECT_THAT(same.output, HasSubstr(std::to_string(pid())));
  MustRun("truncate -s 1M " + Volume("v"));
}

// The next mount removes a mount whose daemon has died, and says so. umount removes it, too (T56).
TEST_F(CommandTest, StartsOverADeadMount) {
  Mount();
  MustRun("truncate -s 1M " + Volume("v"));
  Kill();
  EXPECT_TRUE(IsMounted());
  const CommandResult again = TryMount({"a", "b"});
  ASSERT_EQ(again.exit_code, kOk) << again.output;
  EXPECT_THAT(again.output, HasSubstr("died"));
  FindDaemon();
  EXPECT_TRUE(Exists(Volume("v")));
  Kill();
  EXPECT_EQ(Volfs("umount " + Mnt()).exit_code, kOk);
  EXPECT_FALSE(IsMounted());
  const CommandResult nothing = Volfs("umount " + Mnt());
  EXPECT_EQ(nothing.exit_code, kNotFound) << nothing.output;
}

// umount is refused, with exit code 5 and the users, while a file, a loop device, a working
// directory or a mapping is in use. A clone that is being copied does not hinder it (contract.md
// 3).
TEST_F(CommandTest, UmountSaysWhoUsesIt) {
  Mount();
  MustRun("truncate -s 1M " + Volume("v"));
  const auto expect_busy = [&](const std::string& who) {
    const CommandResult result = Volfs("umount " + Mnt());
    EXPECT_EQ(result.exit_code, kBusy) << result.output;
    EXPECT_THAT(result.output, HasSubstr(who));
    EXPECT_TRUE(Exists(Volume("v")));
  };
  {
    BackgroundProgram holder({"sh", "-c", "exec sleep 100 < " + Volume("v")});
    ::usleep(200'000);
    expect_busy(std::to_string(holder.pid()));
  }
  {
    BackgroundProgram holder({"sleep", "100"}, {.directory = Path("volumes")});
    ::usleep(200'000);
    expect_busy(std::to_string(holder.pid()));
  }
  const std::string device = AttachLoop(Volume("v"));
  expect_busy(device.substr(5));
  DetachLoop(device);
  SetCopyRate("0");
  MustRun("head -c 8192 /dev/urandom | dd of=" + Volume("v") + " conv=notrunc status=none");
  MustAsk("clone", "v");
  EXPECT_EQ(Volfs("umount " + Mnt(), {.directory = Mnt()}).exit_code, kBusy)
      << "the shell's own working directory is a use, too";
  Unmount();
}

// A container that was started meanwhile keeps a copy of the mount, and so the daemon. umount names
// the process that has the copy, instead of waiting for it.
TEST_F(CommandTest, UmountSaysWhoHasACopyOfTheMount) {
  Mount();
  MustRun("echo words > " + Volume("v"));
  {
    BackgroundProgram container(InOwnNamespace(directory(), "cd / && exec sleep 100"));
    const std::string comm = "/proc/" + std::to_string(container.pid()) + "/comm";
    for (int i = 0; i < 1000 && ReadText(comm) != "sleep\n"; ++i) ::usleep(10'000);
    const CommandResult result = Volfs("umount " + Mnt());
    EXPECT_EQ(result.exit_code, kBusy) << result.output;
    EXPECT_THAT(result.output,
                AllOf(HasSubstr("is unmounted here"), HasSubstr("namespaces of mounts"),
                      HasSubstr(std::to_string(container.pid()) + " sleep")));
    EXPECT_FALSE(IsMounted());
  }
  AwaitDaemon(20'000);
  Mount();
  EXPECT_EQ(ReadText(Volume("v")), "words\n");
}

// SIGTERM without users commits, unmounts and ends.
TEST_F(CommandTest, SigtermEndsAnUnusedMount) {
  Mount();
  MustRun("echo words > " + Volume("v"));
  ::kill(pid(), SIGTERM);
  AwaitDaemon(20'000);
  EXPECT_FALSE(IsMounted());
  Mount();
  EXPECT_EQ(ReadText(Volume("v")), "words\n");
}

// SIGTERM while an image is in use: new opens are refused, programs with an open file are served
// until they close it, then the daemon ends (contract.md 7.8).
TEST_F(CommandTest, SigtermServesWhoIsIn) {
  Mount();
  MustRun("truncate -s 1M " + Volume("v"));
  {
    const TestFile file(Volume("v"));
    const TestFile control(Path("control/status"), O_RDONLY);
    ::kill(pid(), SIGTERM);
    ::usleep(300'000);
    const std::vector<std::byte> bytes(5000, std::byte{7});
    EXPECT_EQ(file.WriteAt(0, bytes), 0);
    EXPECT_EQ(file.Sync(), 0);
    EXPECT_NE(TestFile(Volume("v")).open_error(), 0) << "a newcomer";
    EXPECT_NE(TestFile(Volume("new"), O_RDWR | O_CREAT).open_error(), 0) << "a newcomer";
    EXPECT_TRUE(IsMounted());
  }
  AwaitDaemon(20'000);
  EXPECT_FALSE(IsMounted());
  Mount();
  EXPECT_EQ(ReadBytes(Volume("v"))[4999], std::byte{7});
}

// A second SIGTERM commits and ends although the mount is in use. The written data is there
// (contract.md 7.8).
TEST_F(CommandTest, SecondSigtermEndsAUsedMount) {
  Mount();
  MustRun("truncate -s 1M " + Volume("v"));
  {
    const TestFile file(Volume("v"));
    const std::vector<std::byte> bytes(5000, std::byte{7});
    EXPECT_EQ(file.WriteAt(0, bytes), 0);
    ::kill(pid(), SIGTERM);
    ::usleep(300'000);
    ::kill(pid(), SIGTERM);
    AwaitDaemon(20'000);
  }
  Mount();
  EXPECT_EQ(ReadBytes(Volume("v"))[4999], std::byte{7});
}

// attach makes a loop device and refuses a second writer. It attaches snapshots only read-only.
// detach takes volumes and devices, and names the user of a busy one (contract.md 3).
TEST_F(CommandTest, AttachAndDetach) {
  Mount();
  MustRun("truncate -s 8M " + Volume("v") + " && mkfs.ext4 -q -F " + Volume("v"));
  const CommandResult attached = VolfsHere("attach v");
  ASSERT_EQ(attached.exit_code, kOk) << attached.output;
  EXPECT_THAT(attached.output, ContainsRegex("^/dev/loop[0-9]+\n$"));
  const std::string device = attached.output.substr(0, attached.output.size() - 1);
  EXPECT_EQ(Field("v", "status"), "in-use");
  EXPECT_EQ(MustRun("losetup -n -O PARTSCAN " + device), "       1\n");
  const CommandResult second = VolfsHere("attach v");
  EXPECT_EQ(second.exit_code, kBusy);
  EXPECT_THAT(second.output, HasSubstr(device));
  EXPECT_EQ(VolfsHere("attach nosuch").exit_code, kNotFound);
  const CommandResult looking = VolfsHere("attach v --ro --json");
  EXPECT_EQ(looking.exit_code, kOk) << "a reader beside a writer";
  EXPECT_THAT(looking.output, HasSubstr("\"mode\":\"ro\""));
  MustRun("mkdir " + directory() + "/disk && mount " + device + " " + directory() + "/disk");
  const CommandResult busy = Volfs("detach " + device);
  EXPECT_EQ(busy.exit_code, kBusy);
  EXPECT_THAT(busy.output, HasSubstr(directory() + "/disk"));
  MustRun("umount " + directory() + "/disk");
  EXPECT_EQ(Volfs("detach " + device).exit_code, kOk);
  EXPECT_EQ(VolfsHere("detach v").exit_code, kOk) << "the reader is the only one left";
  EXPECT_EQ(VolfsHere("detach v").exit_code, kNotFound);
  MustAsk("snapshot", "v s");
  EXPECT_NE(VolfsHere("attach v@s").exit_code, kOk);
  EXPECT_EQ(VolfsHere("attach v@s --ro").exit_code, kOk);
  EXPECT_EQ(VolfsHere("detach v@s").exit_code, kOk);
  EXPECT_EQ(Field("v", "status"), "available");
}

// create, clone --wait, snapshot, restore, resize, mv, cancel and rm do the same as the request
// files, and exit with the codes of their errnos (contract.md 3).
TEST_F(CommandTest, MakesAndDeletes) {
  Mount();
  EXPECT_EQ(VolfsHere("create v 4M").exit_code, kOk);
  EXPECT_EQ(VolfsHere("create v 4M").exit_code, kExists);
  EXPECT_EQ(VolfsHere("create w 4M --node b").exit_code, kOk);
  EXPECT_EQ(Field("w", "node"), "b");
  EXPECT_EQ(VolfsHere("create x 4Q").exit_code, kUsage);
  EXPECT_EQ(VolfsHere("create x 4M --node nosuch").exit_code, kNodeNotThere);
  MustRun("head -c 1M /dev/urandom | dd of=" + Volume("v") + " conv=notrunc status=none");
  const CommandResult cloned = VolfsHere("clone v --wait");
  EXPECT_EQ(cloned.exit_code, kOk) << cloned.output;
  EXPECT_EQ(Field("v-clone", "status"), "available");
  EXPECT_EQ(RunShell("cmp " + Volume("v") + " " + Volume("v-clone")).output, "");
  EXPECT_EQ(VolfsHere("clone v v-clone").exit_code, kExists);
  EXPECT_EQ(VolfsHere("clone nosuch").exit_code, kNotFound);
  const CommandResult larger = VolfsHere("clone " + Volume("v") + " big --size 8M --wait");
  EXPECT_EQ(larger.exit_code, kOk);
  EXPECT_THAT(larger.output, AllOf(HasSubstr("resize2fs"), HasSubstr("sgdisk -e")));
  EXPECT_EQ(VolfsHere("clone v twin --linked").exit_code, kOk);
  EXPECT_EQ(Field("twin", "node") + " " + Field("twin", "status"), "a available");
  EXPECT_EQ(VolfsHere("rm twin").exit_code, kOk);
  EXPECT_EQ(VolfsHere("snapshot v s").exit_code, kOk);
  EXPECT_EQ(VolfsHere("restore v@s back --wait").exit_code, kOk);
  EXPECT_EQ(VolfsHere("mv back front").exit_code, kOk);
  EXPECT_EQ(VolfsHere("mv front v").exit_code, kExists);
  EXPECT_EQ(VolfsHere("resize v 6M").exit_code, kOk);
  EXPECT_EQ(VolfsHere("resize v 5M").exit_code, kFailed) << "smaller";
  SetCopyRate("0");
  EXPECT_EQ(VolfsHere("clone v stalled").exit_code, kOk);
  EXPECT_EQ(VolfsHere("clone v other").exit_code, kBusy);
  EXPECT_EQ(VolfsHere("rm v").exit_code, kBusy);
  EXPECT_EQ(VolfsHere("cancel stalled").exit_code, kOk);
  EXPECT_EQ(VolfsHere("rm v@s front w big v-clone").exit_code, kOk);
  EXPECT_EQ(VolfsHere("rm nosuch").exit_code, kNotFound);
  EXPECT_THAT(ListOf(Path("volumes")), ElementsAre("v"));
}

// The mount is found from the working directory and from a path. ls, status and node ls print for
// people, and with --json they print JSON that python3 parses (contract.md 3).
TEST_F(CommandTest, ShowsForPeopleAndPrograms) {
  Mount();
  SetCopyRate("0");
  MustRun("head -c 100000 /dev/urandom > " + Volume("db.img"));
  MustAsk("clone", "db.img");
  EXPECT_EQ(Volfs("ls", {.directory = Path("volumes")}).output, "db-clone.img\ndb.img\n");
  EXPECT_THAT(VolfsHere("ls -l").output, AllOf(HasSubstr("creating"), HasSubstr("db.img")));
  EXPECT_THAT(Volfs("status " + Volume("db.img")).output, HasSubstr("available"));
  EXPECT_THAT(VolfsHere("node ls").output, AllOf(HasSubstr("a"), HasSubstr("standard")));
  EXPECT_EQ(VolfsHere("status nosuch").exit_code, kNotFound);
  const auto parses = [&](const std::string& words, const std::string& test) {
    const CommandResult json = VolfsHere(words + " --json");
    EXPECT_EQ(json.exit_code, kOk) << words << "\n" << json.output;
    const CommandResult python = RunProgram(
        {"python3", "-c", "import json, sys\nv = json.load(sys.stdin)\nassert " + test + ", v"},
        {.input = json.output});
    EXPECT_EQ(python.exit_code, 0) << words << "\n" << json.output << python.output;
  };
  parses("ls", "sorted(x['name'] for x in v) == ['db-clone.img', 'db.img']");
  parses("ls -l", "{x['name']: x['status'] for x in v}['db-clone.img'] == 'creating'");
  parses("status", "{x['name']: x['size'] for x in v}['db.img'] == 100000");
  parses("status db-clone.img", "v['source'] == 'db.img' and v['node'] == 'b'");
  parses("node ls", "[x['name'] for x in v] == ['a', 'b']");
  parses("create new 1M", "v['volume'] == 'new' and v['size'] == 1048576");
  parses("snapshot new s", "v['snapshot'] == 'new@s'");
  const CommandResult shown = Volfs("status --mount " + Mnt());
  EXPECT_EQ(shown.output.find('\x1b'), std::string::npos) << "colour is for terminals";
}

// With --json each verb prints an object with what it has made or changed, and a failure is one on
// stderr with the same exit code (contract.md 3).
TEST_F(CommandTest, WhatEveryVerbDidIsJson) {
  const auto tells = [&](const CommandResult& result, const std::string& test) {
    EXPECT_EQ(result.exit_code, kOk) << result.output;
    const CommandResult python = RunProgram(
        {"python3", "-c", "import json, sys\nv = json.load(sys.stdin)\nassert " + test + ", v"},
        {.input = result.output});
    EXPECT_EQ(python.exit_code, 0) << result.output << python.output;
  };
  const auto here = [&](const std::string& words) { return VolfsHere(words + " --json"); };
  MustRun("mkdir " + directory() + "/c");
  tells(Volfs("node init -J " + directory() + "/c --types ssd"),
        "v['name'] == 'c' and v['types'] == 'ssd' and len(v['uuid']) == 36");
  tells(Volfs("--json node set " + directory() + "/c region=x"), "v['region'] == 'x'");
  const CommandResult mounted =
      Volfs("mount --json " + NodePath("a") + " " + NodePath("b") + " " + Mnt());
  tells(mounted, "v['nodes'] == ['a', 'b'] and v['volumes'] == 0");
  FindDaemon();
  tells(here("create v 1M"), "v['volume'] == 'v'");
  tells(here("snapshot v s"), "v['snapshot'] == 'v@s'");
  tells(here("revert v@s"), "v['volume'] == 'v' and v['snapshot'] == 'v@s'");
  tells(here("resize v 2MiB"), "v['size'] == 2097152 and v['devices'] == []");
  tells(here("mv v w"), "v == {'volume': 'w', 'from': 'v'}");
  tells(here("mv w@s t"), "v == {'snapshot': 'w@t', 'from': 'w@s'}");
  MustRun("head -c 1M /dev/urandom | dd conv=notrunc status=none of=" + Volume("w"));
  SetCopyRate("0");
  tells(here("clone w x"), "v['volume'] == 'x' and v['status'] == 'creating'");
  tells(here("cancel x"), "v['volume'] == 'x'");
  tells(here("attach w"), "v['image'] == 'w' and v['device'].startswith('/dev/loop')");
  tells(here("detach w"), "v['image'].endswith('/w') and v['device'].startswith('/dev/loop')");
  tells(here("rm w@t"), "v == {'snapshot': 'w@t'}");
  tells(Volfs("completion zsh -J"), "v['shell'] == 'zsh' and 'compdef' in v['script']");
  tells(Volfs("umount --json " + Mnt()), "v['mountpoint'].endswith('/mnt')");
  ExpectNoDaemon();
}

TEST_F(CommandTest, AFailureIsJsonToo) {
  Mount({"a"});
  MustRun("truncate -s 1M " + Volume("v"));
  const auto failure = [&](const std::string& words) {
    const CommandResult result = RunShell(Binary() + " " + words + " 2>&1 >/dev/null");
    return std::to_string(result.exit_code) + " " + result.output;
  };
  const std::string here = " --json --mount " + Mnt();
  EXPECT_THAT(failure("status nosuch" + here),
              ContainsRegex("^3 \\{\"error\":\"ENOENT\",\"message\":\"nosuch: no such volume\","
                            "\"remedy\":\"`volfs ls` shows[^\"]*\"\\}\n$"));
  EXPECT_THAT(failure("create v 1M" + here), ContainsRegex("^4 \\{\"error\":\"EEXIST\""));
  EXPECT_THAT(failure("create w" + here), ContainsRegex("^2 \\{\"error\":\"EINVAL\".*SIZE"));
  EXPECT_THAT(failure("rm -J nosuch other --mount " + Mnt()),
              ContainsRegex("^3 \\{\"error\":\"ENOENT\"[^\n]*nosuch[^\n]*\n\\{[^\n]*other"));
  EXPECT_THAT(failure("mount --json " + NodePath("a") + " " + Mnt()),
              ContainsRegex("^8 \\{\"error\":\"EBUSY\""));
  const CommandResult busy = Volfs("umount --json " + Mnt(), {.directory = Path("volumes")});
  EXPECT_EQ(busy.exit_code, kBusy);
  EXPECT_THAT(busy.output,
              AllOf(HasSubstr("\"remedy\":\"end this first\""), HasSubstr("\"details\":[\"")));
}

// VOLFS_MOUNT is what --mount would say; --mount itself and a path win (contract.md 3).
TEST_F(CommandTest, TheMountMayStandInTheEnvironment) {
  Mount({"a"});
  MustRun("truncate -s 1M " + Volume("v"));
  const auto run = [&](const std::string& mount, const std::string& words) {
    return RunShell("VOLFS_MOUNT=" + mount + " " + Binary() + " " + words);
  };
  EXPECT_EQ(run(Mnt(), "ls").output, "v\n");
  EXPECT_EQ(run(directory(), "ls").exit_code, kNotFound);
  EXPECT_EQ(run(directory(), "ls --mount " + Mnt()).output, "v\n");
  EXPECT_THAT(run(directory(), "status " + Volume("v")).output, HasSubstr("available"));
  EXPECT_THAT(run(Mnt(), "doctor").output, HasSubstr(Mnt()));
}

// map shows each range with its layer and node, events prints later events, and status --watch runs
// until it is interrupted (contract.md 3).
TEST_F(CommandTest, Watches) {
  Mount();
  MustRun("head -c 8192 /dev/zero > " + Volume("v") + " && truncate -s 1M " + Volume("v"));
  MustAsk("snapshot", "v s");
  MustRun("fallocate -p -o 4096 -l 4096 " + Volume("v"));
  const CommandResult map = VolfsHere("map v");
  EXPECT_THAT(map.output, AllOf(ContainsRegex("\n0 +4096 +data +a +layers/"),
                                ContainsRegex("\n4096 +[0-9]+ +zero +-")));
  BackgroundProgram events({Binary(), "events", "--json", "--mount", Mnt()});
  BackgroundProgram status({Binary(), "status", "--watch", "--mount", Mnt()});
  EXPECT_FALSE(events.WaitForEnd(500));
  MustAsk("create", "new 1M");
  EXPECT_FALSE(status.WaitForEnd(1500));
  events.Signal(SIGINT);
  status.Signal(SIGINT);
  EXPECT_THAT(events.Finish(5000).output, ContainsRegex("\"event\":\"created\".*\"new\""));
  EXPECT_THAT(status.Finish(5000).output, HasSubstr("new"));
}

// doctor has a line for each usual problem, and a remedy for each that it finds. Here the daemon of
// a mount is dead (contract.md 3).
TEST_F(CommandTest, DoctorTellsARemedy) {
  Mount();
  CommandResult well = VolfsHere("doctor");
  // The loop devices and known nodes are the whole machine's, and another test may have dead ones.
  for (int i = 0; i < 300 && well.exit_code != kOk; ++i) {
    SleepMs(100);
    well = VolfsHere("doctor");
  }
  EXPECT_EQ(well.exit_code, kOk) << well.output;
  EXPECT_THAT(well.output, AllOf(HasSubstr("/dev/fuse"), HasSubstr(Mnt()), HasSubstr("node b")));
  Kill();
  const CommandResult ill = VolfsHere("doctor");
  EXPECT_EQ(ill.exit_code, kFailed) << ill.output;
  EXPECT_THAT(ill.output, ContainsRegex("problem[^\n]*" + Mnt() + "[^\n]*\n +->"));
  Mount();
}

// Colours appear on a terminal only, and not with NO_COLOR (contract.md 3).
TEST_F(CommandTest, ColourIsForTerminals) {
  Mount();
  MustRun("touch " + Volume("v"));
  const std::string list = Quoted(Binary() + " status --mount " + Mnt());
  const auto on_terminal = [&](const std::string& environment) {
    return MustRun(environment + " TERM=xterm script -qec " + list + " /dev/null");
  };
  EXPECT_NE(on_terminal("").find('\x1b'), std::string::npos);
  EXPECT_EQ(on_terminal("NO_COLOR=1").find('\x1b'), std::string::npos);
}

// Mount options may stand in a file; an error there is reported with file, line and key. An
// argument that a command does not know is a usage error (contract.md 3).
TEST_F(CommandTest, OptionsMayStandInAFile) {
  const std::string file = directory() + "/volfs.toml";
  MustRun("printf 'copy_rate = \"5M\"\ncopy_jobs = 3\n' > " + file);
  const std::string words = "mount " + NodePath("a") + " " + Mnt() + " --config ";
  ASSERT_EQ(Volfs(words + file).exit_code, kOk);
  FindDaemon();
  EXPECT_EQ(ReadText(Path("control/limits/copy_rate")), "5242880\n");
  EXPECT_EQ(ReadText(Path("control/limits/copy_jobs")), "3\n");
  EXPECT_THAT(ReadText(Path("control/config")), HasSubstr("\ncopy_rate=5M\n"));
  Unmount();
  MustRun("printf 'copy_rate = \"5M\"\n\ncopy_speed = 3\n' > " + file);
  ExpectRefused(Volfs(words + file), kUsage, file + ", line 3: mount option copy_speed=3");
  ExpectRefused(Volfs(words + directory() + "/nosuch"), kNotFound, "nosuch");
  // Nodes, and the types of new ones, may be in the file, too.
  MustRun("mkdir " + directory() + "/fresh");
  MustRun("printf 'nodes = [\"fresh\", \"a\"]\ntypes = [\"ssd:1M-2M\"]\n' > " + file);
  ASSERT_EQ(Volfs("mount " + Mnt() + " --config " + file).exit_code, kOk);
  FindDaemon();
  EXPECT_EQ(ReadText(Path("control/nodes/fresh/types")), "ssd\n");
  EXPECT_EQ(Ask("create", "big 3M type=ssd"), ERANGE);
  Unmount();
  MustRun("printf 'copy_jobs = 3\n' > " + file);
  ExpectRefused(Volfs("mount " + Mnt() + " --config " + file), kUsage, "it has no `nodes`");
  ExpectRefused(Volfs("frobnicate"), kUsage, "frobnicate");
}

// A user who interrupts the waiting for a clone leaves the clone running. The command exits with
// 130 and says how to cancel the clone (contract.md 3).
TEST_F(CommandTest, InterruptedWaitLeavesTheCloneRunning) {
  Mount();
  SetCopyRate("0");
  MustRun("head -c 100000 /dev/urandom > " + Volume("db.img"));
  BackgroundProgram waiting({Binary(), "clone", "--wait", Volume("db.img")});
  for (int i = 0; i < 500 && !Exists(Volume("db-clone.img")); ++i) ::usleep(20'000);
  EXPECT_FALSE(waiting.WaitForEnd(300));
  waiting.Signal(SIGINT);
  const CommandResult result = waiting.Finish(10'000);
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_THAT(result.output, HasSubstr("cancel"));
  EXPECT_EQ(Field("db-clone.img", "status"), "creating");
  SetCopyRate("max");
  EXPECT_TRUE(WaitForStatus("db-clone.img", "available"));
}

// Nodes are made with name, region and types, which decide where volumes and clones go
// (contract.md 3, 5.4).
TEST_F(CommandTest, NodesHaveNamesRegionsAndTypes) {
  EXPECT_EQ(Volfs("node init " + NodePath("a") + " --name fast --region west --types ssd:1M-8M,hdd")
                .exit_code,
            kOk);
  EXPECT_EQ(Volfs("node init " + NodePath("b") + " --region west --types ssd").exit_code, kOk);
  MustRun("mkdir " + NodePath("c"));
  EXPECT_EQ(Volfs("node init " + NodePath("c") + " --region east --types ssd,hdd").exit_code, kOk);
  EXPECT_NE(Volfs("node init " + NodePath("a")).exit_code, kOk) << "it is one already";
  Mount({"a", "b", "c"});
  EXPECT_EQ(VolfsHere("create small 1K --type ssd --node fast").exit_code, kFailed);
  EXPECT_EQ(VolfsHere("create s 2M --type ssd").exit_code, kOk);
  EXPECT_EQ(VolfsHere("create h 2M --type hdd").exit_code, kOk);
  EXPECT_EQ(Field("s", "node"), "fast");
  EXPECT_EQ(ErrnoOf(::truncate(Volume("s").c_str(), 9 << 20)), EFBIG);
  MustAsk("clone", "s");
  EXPECT_EQ(Field("s-clone", "node"), "b") << "it stays in its region";
  EXPECT_EQ(Ask("clone", "h"), ENODEV) << "no other node of the region has the type";
  ASSERT_TRUE(WaitForStatus("s-clone", "available"));
  EXPECT_EQ(Ask("clone", "s x node=c"), EXDEV);
  EXPECT_EQ(Ask("clone", "h x type=ssd"), 0);
}

}  // namespace
}  // namespace volfs
