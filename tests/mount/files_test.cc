// Goal: contract.md 4, "Volumes as files", row by row, through the kernel.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::byte> BytesOf(size_t size, char fill) {
  return std::vector<std::byte>(size, static_cast<std::byte>(fill));
}

class FilesTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped() && !HasFatalFailure()) Mount();
  }

  // Makes a volume filled with a letter, and syncs it.
  void Make(const std::string& name, size_t size, char fill = 'x') {
    const TestFile file(Volume(name), O_RDWR | O_CREAT | O_EXCL);
    if (!file.ok() || file.WriteAt(0, BytesOf(size, fill)) != 0 || file.Sync() != 0) {
      throw std::runtime_error("cannot make " + name);
    }
  }

  int Truncate(const std::string& name, uint64_t size) {
    return ErrnoOf(::truncate(Volume(name).c_str(), static_cast<off_t>(size)));
  }
  int Unlink(const std::string& below) { return ErrnoOf(::unlink(Path(below).c_str())); }
  int Rename(const std::string& from, const std::string& to, unsigned flags = 0) {
    return ErrnoOf(::renameat2(AT_FDCWD, Path(from).c_str(), AT_FDCWD, Path(to).c_str(), flags));
  }
  uint64_t SizeOf(const std::string& name) {
    return static_cast<uint64_t>(StatOf(Volume(name)).st_size);
  }
  std::string LastError() { return ReadText(Path("control/last_error")); }
};

// A file that is created in volumes/ is a thin volume on the first node; in nodes/N/ it is one on
// that node. It has its creator's mode and owner, reads as zeros, and is there after a remount.
TEST_F(FilesTest, CreatingMakesAVolume) {
  MustRun("umask 027; touch " + Volume("touched"));
  MustRun("truncate -s 10G " + Volume("thin"));
  MustRun("head -c 100000 /dev/urandom > " + directory() + "/plain; cp " + directory() + "/plain " +
          Volume("copied"));
  MustRun("dd if=" + directory() + "/plain of=" + Volume("dumped") + " bs=7000 status=none");
  MustRun("truncate -s 1M " + Path("nodes/b/on-b"));
  EXPECT_EQ(StatOf(Volume("touched")).st_mode & 0777, 0640U);
  EXPECT_EQ(StatOf(Volume("touched")).st_uid, ::getuid());
  EXPECT_EQ(SizeOf("thin"), uint64_t{10} << 30);
  EXPECT_EQ(StatOf(Volume("thin")).st_blocks, 0);
  EXPECT_EQ(Field("thin", "node"), "a");
  EXPECT_EQ(Field("on-b", "node"), "b");
  EXPECT_THAT(ListOf(Path("nodes/b")), ElementsAre("on-b"));
  Remount();
  EXPECT_EQ(RunShell("cmp " + directory() + "/plain " + Volume("copied")).output, "");
  EXPECT_EQ(RunShell("cmp " + directory() + "/plain " + Volume("dumped")).output, "");
  EXPECT_EQ(ReadBytes(Volume("on-b")), BytesOf(kMiB, 0));
  EXPECT_EQ(StatOf(Volume("touched")).st_mode & 0777, 0640U);
  const TestFile again(Volume("thin"), O_RDWR | O_CREAT | O_EXCL);
  EXPECT_EQ(again.open_error(), EEXIST);
}

// A name against contract.md 2 is refused by each call that takes a name (T17).
TEST_F(FilesTest, NamesAreChecked) {
  for (const char* name : {".hidden", "-dash", "a b", "a@b", "a:b", "\xff", "ü", "a\nb", "a,b"}) {
    const TestFile file(Volume(name), O_RDWR | O_CREAT);
    EXPECT_EQ(file.open_error(), EINVAL) << name;
  }
  const TestFile longest(Volume(std::string(128, 'n')), O_RDWR | O_CREAT);
  EXPECT_TRUE(longest.ok());
  const TestFile longer(Volume(std::string(129, 'n')), O_RDWR | O_CREAT);
  EXPECT_EQ(longer.open_error(), ENAMETOOLONG);
  Make("good", kBlock);
  EXPECT_EQ(Rename("volumes/good", "volumes/.bad"), EINVAL);
  EXPECT_EQ(Rename("volumes/good", "volumes/" + std::string(129, 'n')), ENAMETOOLONG);
  EXPECT_EQ(ListOf(Path("volumes")).size(), 2U);
}

// A larger size and a write past the end grow a volume, with zeros in between. A smaller size is
// EPERM. So is O_TRUNC, unless the volume is empty, so that `> disk` does not wipe a disk (T13).
// The remedy is in last_error.
TEST_F(FilesTest, GrowsAndNeverShrinks) {
  Make("v", 10'000);
  EXPECT_EQ(Truncate("v", 20'000), 0);
  EXPECT_EQ(SizeOf("v"), 20'000U);
  {
    const TestFile file(Volume("v"));
    EXPECT_EQ(file.WriteAt(30'000, BytesOf(100, 'y')), 0);
    EXPECT_EQ(ErrnoOf(::ftruncate(file.fd(), 40'000)), 0);
    EXPECT_EQ(ErrnoOf(::ftruncate(file.fd(), 39'999)), EPERM);
  }
  std::vector<std::byte> expected = BytesOf(10'000, 'x');
  expected.resize(30'000);
  expected.resize(30'100, static_cast<std::byte>('y'));
  expected.resize(40'000);
  EXPECT_TRUE(ReadBytes(Volume("v")) == expected);
  EXPECT_EQ(Truncate("v", 100), EPERM);
  EXPECT_EQ(Truncate("v", 0), EPERM);
  EXPECT_EQ(Truncate("v", 40'000), 0) << "its own size is no change";
  const TestFile truncating(Volume("v"), O_RDWR | O_TRUNC);
  EXPECT_EQ(truncating.open_error(), EPERM);
  const CommandResult shell = RunShell("echo gone > " + Volume("v"));
  EXPECT_NE(shell.exit_code, 0);
  EXPECT_THAT(LastError(), HasSubstr("EPERM"));
  EXPECT_THAT(LastError(), HasSubstr("conv=notrunc"));
  EXPECT_TRUE(ReadBytes(Volume("v")) == expected);
  MustRun("touch " + Volume("empty"));
  EXPECT_TRUE(TestFile(Volume("empty"), O_RDWR | O_TRUNC).ok());
  MustRun("echo written > " + Volume("empty"));
  Remount();
  EXPECT_TRUE(ReadBytes(Volume("v")) == expected) << "after a remount";
  EXPECT_EQ(ReadText(Volume("empty")), "written\n");
}

// unlink is EBUSY while a program has the volume open for writing. Its name is free when unlink
// returns, and a program that has it open for reading goes on until it closes it (T12, T65).
TEST_F(FilesTest, UnlinkRespectsWriters) {
  Make("v", kMiB);
  {
    const TestFile writer(Volume("v"), O_WRONLY);
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(Unlink("volumes/v"), EBUSY);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2))
        << "a refusal waits for a release that is under way, and for no more";
    EXPECT_EQ(Unlink("nodes/a/v"), EBUSY);
    EXPECT_THAT(LastError(), HasSubstr("EBUSY"));
  }
  const TestFile reader(Volume("v"), O_RDONLY);
  EXPECT_EQ(Unlink("volumes/v"), 0);
  EXPECT_FALSE(Exists(Volume("v")));
  EXPECT_FALSE(Exists(Path("nodes/a/v")));
  std::vector<std::byte> bytes(kMiB);
  EXPECT_EQ(reader.ReadAt(0, bytes), 0);
  EXPECT_EQ(bytes, BytesOf(kMiB, 'x'));
  Make("v", kBlock, 'n');
  EXPECT_EQ(ReadBytes(Volume("v")), BytesOf(kBlock, 'n'));
  EXPECT_EQ(reader.ReadAt(0, bytes), 0);
  EXPECT_EQ(bytes, BytesOf(kMiB, 'x')) << "the old one reads as the new one";
  EXPECT_EQ(Unlink("nodes/a/v"), 0);
  EXPECT_EQ(Unlink("volumes/v"), ENOENT);
  EXPECT_EQ(Unlink("nodes/b/v"), ENOENT);
}

// An attached volume cannot be deleted. Once it is detached, it can (T12).
TEST_F(FilesTest, UnlinkRespectsLoopDevices) {
  Make("v", kMiB);
  const std::string device = AttachLoop(Volume("v"));
  EXPECT_EQ(Unlink("volumes/v"), EBUSY);
  DetachLoop(device);
  EXPECT_EQ(Unlink("volumes/v"), 0);
}

// A deleted volume's space is free again, and a new volume on it reads as zeros (contract.md 7.2).
TEST_F(FilesTest, NewVolumesReadAsZerosWhateverWasThere) {
  for (int i = 0; i < 3; ++i) {
    Make("v", kMiB, 's');
    EXPECT_EQ(Unlink("volumes/v"), 0);
    MustRun("truncate -s 1M " + Volume("v"));
    EXPECT_EQ(ReadBytes(Volume("v")), BytesOf(kMiB, 0));
    EXPECT_EQ(Unlink("volumes/v"), 0);
  }
  EXPECT_THAT(ListOf(NodePath("a") + "/layers"), IsEmpty());
}

// rename works within volumes/ and between both views of one node. It never replaces a volume and
// never moves one to another node (T6).
TEST_F(FilesTest, RenameNeverReplaces) {
  Make("v", kBlock, 'v');
  Make("w", kBlock, 'w');
  ASSERT_EQ(Ask("snapshot", "v s"), 0);
  EXPECT_EQ(Rename("volumes/v", "volumes/w"), EEXIST);
  EXPECT_EQ(Rename("volumes/v", "volumes/w", RENAME_NOREPLACE), EEXIST);
  EXPECT_NE(Rename("volumes/v", "volumes/w", RENAME_EXCHANGE), 0);
  EXPECT_EQ(Rename("volumes/nosuch", "volumes/x"), ENOENT);
  EXPECT_EQ(Rename("volumes/v", "nodes/b/v"), EPERM);
  EXPECT_EQ(Rename("volumes/v", "nodes/b/x"), EPERM);
  EXPECT_NE(Rename("volumes/v", "snapshots/v/x"), 0);
  EXPECT_EQ(ReadBytes(Volume("w")), BytesOf(kBlock, 'w'));
}

// Both views of one node are one place, and a renamed volume shows under its new name at once
// (T67).
TEST_F(FilesTest, RenameWorksBetweenBothViews) {
  Make("v", kBlock, 'v');
  ASSERT_EQ(Ask("snapshot", "v s"), 0);
  const TestFile open(Volume("v"));
  EXPECT_EQ(Rename("volumes/v", "nodes/a/x"), 0);
  EXPECT_EQ(Rename("nodes/a/x", "nodes/a/y"), 0);
  EXPECT_EQ(Rename("nodes/a/y", "volumes/z"), 0);
  EXPECT_THAT(ListOf(Path("volumes")), ElementsAre("z"));
  EXPECT_THAT(ListOf(Path("nodes/a")), ElementsAre("z"));
  EXPECT_THAT(ListOf(Path("control/volumes")), ElementsAre("z"));
  EXPECT_THAT(ListOf(Path("snapshots")), ElementsAre("z"));
  EXPECT_EQ(open.WriteAt(0, BytesOf(10, 'n')), 0) << "who has it open goes on";
  EXPECT_EQ(open.Sync(), 0);
  EXPECT_EQ(ReadText(Volume("z")).substr(0, 10), "nnnnnnnnnn");
}

// PUNCH_HOLE and ZERO_RANGE read as zeros at any offset and length, mode 0 grows, KEEP_SIZE does
// nothing, and the others are EOPNOTSUPP and stay so.
TEST_F(FilesTest, FallocateModes) {
  Make("v", 40'000);
  const TestFile file(Volume("v"));
  EXPECT_EQ(file.Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 9001), 0);
  EXPECT_EQ(file.Allocate(FALLOC_FL_ZERO_RANGE, 20'000, 3), 0);
  EXPECT_EQ(file.Allocate(FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 39'000, 5000), 0);
  EXPECT_EQ(SizeOf("v"), 40'000U);
  EXPECT_EQ(file.Allocate(FALLOC_FL_ZERO_RANGE, 39'500, 10'000), 0);
  EXPECT_EQ(SizeOf("v"), 49'500U);
  EXPECT_EQ(file.Allocate(0, 0, 60'000), 0);
  EXPECT_EQ(SizeOf("v"), 60'000U);
  EXPECT_EQ(file.Allocate(FALLOC_FL_KEEP_SIZE, 0, 80'000), 0);
  EXPECT_EQ(SizeOf("v"), 60'000U);
  std::vector<std::byte> expected = BytesOf(40'000, 'x');
  const auto zero = [&](size_t first, size_t last) {
    std::fill(expected.begin() + first, expected.begin() + last, std::byte{0});
  };
  zero(5000, 14'001);
  zero(20'000, 20'003);
  zero(39'000, 40'000);
  expected.resize(60'000);
  EXPECT_TRUE(ReadBytes(Volume("v")) == expected);
  for (int repeat = 0; repeat < 2; ++repeat) {
    EXPECT_EQ(file.Allocate(FALLOC_FL_COLLAPSE_RANGE, 0, kBlock), EOPNOTSUPP);
    EXPECT_EQ(file.Allocate(FALLOC_FL_INSERT_RANGE, 0, kBlock), EOPNOTSUPP);
  }
  EXPECT_EQ(file.Sync(), 0);
  EXPECT_TRUE(ReadBytes(Volume("v")) == expected);
}

// SEEK_DATA and SEEK_HOLE give the logical state: a punched range is a hole, also over a snapshot's
// data, and an offset past the end is ENXIO (T28, T61).
TEST_F(FilesTest, SeekTellsHoles) {
  Make("v", 8 * kBlock);
  MustRun("truncate -s 64K " + Volume("v"));
  EXPECT_THAT(DataRangesOf(Volume("v")), ElementsAre(DataRange{0, 8 * kBlock}));
  ASSERT_EQ(Ask("snapshot", "v s"), 0);
  const TestFile file(Volume("v"));
  ASSERT_EQ(file.Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * kBlock, 3 * kBlock), 0);
  EXPECT_THAT(DataRangesOf(Volume("v")),
              ElementsAre(DataRange{0, 2 * kBlock}, DataRange{5 * kBlock, 8 * kBlock}));
  EXPECT_THAT(DataRangesOf(Path("snapshots/v/s")), ElementsAre(DataRange{0, 8 * kBlock}));
  EXPECT_EQ(file.Seek(3 * kBlock, SEEK_HOLE), 3 * kBlock);
  EXPECT_EQ(file.Seek(8 * kBlock, SEEK_HOLE), 8 * kBlock);
  EXPECT_EQ(ErrnoOf(::lseek(file.fd(), 8 * kBlock, SEEK_DATA)), ENXIO);
  EXPECT_EQ(ErrnoOf(::lseek(file.fd(), 65536, SEEK_DATA)), ENXIO);
  EXPECT_EQ(ErrnoOf(::lseek(file.fd(), 65536, SEEK_HOLE)), ENXIO);
  EXPECT_EQ(ReadBytes(Path("snapshots/v/s")).at(3 * kBlock), static_cast<std::byte>('x'));
}

// A volume is one file with two names. st_nlink is 2, and the inode is the same in both views,
// after a rename and after a remount. Its snapshot and a new volume of the same name have other
// inodes (T57, T66). `du` counts it once.
TEST_F(FilesTest, InodesAreStableAndLinksAreTwo) {
  Make("v", kMiB);
  ASSERT_EQ(Ask("snapshot", "v s"), 0);
  const struct stat one = StatOf(Volume("v"));
  const struct stat other = StatOf(Path("nodes/a/v"));
  EXPECT_EQ(one.st_nlink, 2U);
  EXPECT_EQ(one.st_ino, other.st_ino);
  EXPECT_EQ(one.st_dev, other.st_dev);
  const struct stat snapshot = StatOf(Path("snapshots/v/s"));
  EXPECT_NE(snapshot.st_ino, one.st_ino);
  EXPECT_EQ(Rename("volumes/v", "volumes/w"), 0);
  Remount();
  EXPECT_EQ(StatOf(Volume("w")).st_ino, one.st_ino);
  EXPECT_EQ(StatOf(Path("snapshots/w/s")).st_ino, snapshot.st_ino);
  Make("v", kBlock);
  EXPECT_NE(StatOf(Volume("v")).st_ino, one.st_ino);
  EXPECT_LT(std::stoull(MustRun("du -s -B1 " + Path("volumes") + " " + Path("nodes"))),
            kMiB + kMiB / 2);
}

// chmod, chown and utimes are kept over a remount; setuid bits mean nothing.
TEST_F(FilesTest, AttributesAreKept) {
  Make("v", kBlock);
  MustRun("chown 1234:4321 " + Volume("v") + " && chmod 4751 " + Volume("v") +
          " && touch -d '2001-02-03 04:05:06.123456789 UTC' " + Volume("v"));
  for (int i = 0; i < 2; ++i) {
    const struct stat st = StatOf(Volume("v"));
    EXPECT_EQ(st.st_mode & 07777, 0751U);
    EXPECT_EQ(st.st_uid, 1234U);
    EXPECT_EQ(st.st_gid, 4321U);
    EXPECT_EQ(st.st_mtim.tv_sec, 981173106);
    EXPECT_EQ(st.st_mtim.tv_nsec, 123456789);
    Remount();
  }
  MustRun("printf z | dd of=" + Volume("v") + " conv=notrunc status=none");
  EXPECT_GT(StatOf(Volume("v")).st_mtim.tv_sec, 1'600'000'000) << "a write sets the time";
  const timespec written = StatOf(Volume("v")).st_mtim;
  MustRun("cat " + Volume("v") + " > /dev/null");
  EXPECT_EQ(StatOf(Volume("v")).st_mtim.tv_nsec, written.tv_nsec) << "reading does not";
}

// The time of a write is durable when the file is closed, even without a sync.
TEST_F(FilesTest, TimesOfWritesSurviveACrash) {
  Make("v", kBlock);
  MustRun("touch -d '2001-02-03 04:05:06 UTC' " + Volume("v"));
  MustRun("printf z | dd of=" + Volume("v") + " conv=notrunc status=none");
  const timespec written = StatOf(Volume("v")).st_mtim;
  EXPECT_GT(written.tv_sec, 1'600'000'000);
  ::usleep(200'000);  // close(2) does not wait for the release
  KillAndMount();
  EXPECT_EQ(StatOf(Volume("v")).st_mtim.tv_sec, written.tv_sec);
  EXPECT_EQ(StatOf(Volume("v")).st_mtim.tv_nsec, written.tv_nsec);
}

// A volume that was never cloned nor snapshotted is one raw file of its node, which `map` names:
// sparse, of exactly the volume's size, and readable without volfs (contract.md 7.4).
TEST_F(FilesTest, AreOneRawFileOfTheNode) {
  Make("v", 3 * kBlock + 100);
  MustRun("truncate -s 1000001 " + Volume("v"));
  const std::string map = Field("v", "map");
  const size_t layer = map.rfind("layers/");
  ASSERT_NE(layer, std::string::npos) << map;
  const std::string raw =
      NodePath("a") + "/" + map.substr(layer, map.find_first_of(" \n", layer) - layer);
  EXPECT_EQ(ListOf(NodePath("a") + "/layers").size(), 1U);
  const std::vector<std::byte> bytes = ReadBytes(Volume("v"));
  Unmount();
  EXPECT_EQ(StatOf(raw).st_size, 1'000'001);
  EXPECT_LT(StatOf(raw).st_blocks * 512, 100'000);
  EXPECT_TRUE(ReadBytes(raw) == bytes);
  EXPECT_EQ(MustRun("sqlite3 'file:" + NodePath("a") +
                    "/catalog.db?mode=ro' 'select name, size_bytes from volumes'"),
            "v|1000001\n");
}

// A volume without any w bit is read-only also for root: writes are EROFS, deleting it is EPERM.
TEST_F(FilesTest, VolumeThatNobodyMayWriteIsReadOnly) {
  Make("v", kBlock);
  MustRun("chmod 444 " + Volume("v"));
  EXPECT_EQ(TestFile(Volume("v"), O_RDWR).open_error(), EROFS);
  EXPECT_EQ(Truncate("v", kMiB), EROFS);
  EXPECT_EQ(Unlink("volumes/v"), EPERM);
  EXPECT_EQ(Ask("delete", "v"), EPERM);
  EXPECT_EQ(ReadBytes(Volume("v")), BytesOf(kBlock, 'x'));
  EXPECT_EQ(Ask("clone", "v"), 0) << "it can be cloned";
  MustRun("chmod u+w " + Volume("v"));
  EXPECT_TRUE(TestFile(Volume("v"), O_RDWR).ok());
}

// Only volumes can be made: any other kind of file is EPERM everywhere (contract.md 4).
TEST_F(FilesTest, OnlyVolumesCanBeMade) {
  Make("v", kBlock);
  ASSERT_EQ(Ask("snapshot", "v s"), 0);
  for (const char* below : {"volumes", "nodes", "nodes/a", "snapshots", "snapshots/v"}) {
    const std::string path = Path(std::string(below) + "/new");
    EXPECT_EQ(ErrnoOf(::mkdir(path.c_str(), 0700)), EPERM) << below;
    EXPECT_EQ(ErrnoOf(::symlink("x", path.c_str())), EPERM) << below;
    EXPECT_EQ(ErrnoOf(::link(Volume("v").c_str(), path.c_str())), EPERM) << below;
    EXPECT_EQ(ErrnoOf(::mknod(path.c_str(), S_IFIFO | 0600, 0)), EPERM) << below;
  }
  for (const char* below : {"new", "nodes/new", "snapshots/new", "snapshots/v/new"}) {
    EXPECT_EQ(TestFile(Path(below), O_RDWR | O_CREAT).open_error(), EPERM) << below;
  }
  for (const char* below : {"volumes", "nodes/a", "snapshots/v", "control"}) {
    EXPECT_NE(ErrnoOf(::rmdir(Path(below).c_str())), 0) << below;
  }
}

// The xattrs user.volfs.* can be read, are not listed, and others cannot be set.
TEST_F(FilesTest, ExtendedAttributes) {
  Make("v", kBlock);
  const std::string path = Volume("v");
  EXPECT_TRUE(WaitForStatus("v", "available")) << "the close comes a moment later";
  char value[64] = {};
  ASSERT_EQ(::getxattr(path.c_str(), "user.volfs.status", value, sizeof value), 9);
  EXPECT_STREQ(value, "available");
  std::memset(value, 0, sizeof value);
  ASSERT_GT(::getxattr(path.c_str(), "user.volfs.hydrated", value, sizeof value), 0);
  EXPECT_STREQ(value, "100.00");
  std::memset(value, 0, sizeof value);
  ASSERT_GT(::getxattr(path.c_str(), "user.volfs.node", value, sizeof value), 0);
  EXPECT_STREQ(value, "a");
  std::memset(value, 0, sizeof value);
  ASSERT_GT(::getxattr(path.c_str(), "user.volfs.type", value, sizeof value), 0);
  EXPECT_STREQ(value, "standard");
  SetCopyRate("0");
  ASSERT_EQ(Ask("clone", "v"), 0);
  std::memset(value, 0, sizeof value);
  ASSERT_EQ(::getxattr(Volume("v-clone").c_str(), "user.volfs.source", value, sizeof value), 1);
  EXPECT_STREQ(value, "v");
  EXPECT_EQ(ErrnoOf(::getxattr(path.c_str(), "user.volfs.status", value, 3)), ERANGE);
  EXPECT_EQ(ErrnoOf(::getxattr(path.c_str(), "user.other", value, sizeof value)), ENODATA);
  EXPECT_EQ(::listxattr(path.c_str(), value, sizeof value), 0);
  EXPECT_EQ(ErrnoOf(::setxattr(path.c_str(), "user.x", "y", 1, 0)), EOPNOTSUPP);
  EXPECT_EQ(ErrnoOf(::setxattr(path.c_str(), "user.volfs.status", "y", 1, 0)), EOPNOTSUPP);
}

// `df` of the mount and of a node's directory shows the space of the nodes' disks.
TEST_F(FilesTest, StatfsTellsTheNodesSpace) {
  struct statfs disk {};
  struct statfs node {};
  ASSERT_EQ(::statfs(NodePath("a").c_str(), &disk), 0);
  ASSERT_EQ(::statfs(Path("nodes/a").c_str(), &node), 0);
  const auto bytes = [](const struct statfs& st, uint64_t blocks) {
    return blocks * static_cast<uint64_t>(st.f_bsize);
  };
  EXPECT_EQ(bytes(node, node.f_blocks), bytes(disk, disk.f_blocks));
  EXPECT_GT(node.f_bavail, 0U);
  EXPECT_LE(bytes(node, node.f_bavail), bytes(disk, disk.f_bfree) + (uint64_t{1} << 30));
  EXPECT_EQ(node.f_namelen, 128);
  EXPECT_EQ(RunShell("df " + Path("nodes/b") + " && df " + Mnt()).exit_code, 0);
}

// The descriptor that made a volume may cut off a range that was never written, as rsync
// --preallocate and download tools do. It cannot cut off written bytes, zeros included, and no
// other descriptor can cut at all (T13).
TEST_F(FilesTest, WhoMadeItCutsOffWhatWasNeverWritten) {
  const TestFile maker(Volume("v"), O_RDWR | O_CREAT | O_EXCL);
  ASSERT_EQ(maker.Allocate(0, 0, 1'000'002), 0);
  ASSERT_EQ(maker.WriteAt(0, BytesOf(5000, 'x')), 0);
  {
    const TestFile other(Volume("v"));
    EXPECT_EQ(ErrnoOf(::ftruncate(other.fd(), 1'000'001)), EPERM);
  }
  EXPECT_EQ(Truncate("v", 1'000'001), EPERM);
  EXPECT_EQ(ErrnoOf(::ftruncate(maker.fd(), 1'000'001)), 0);
  EXPECT_EQ(ErrnoOf(::ftruncate(maker.fd(), 5000)), 0);
  EXPECT_EQ(StatOf(Volume("v")).st_size, 5000);
  EXPECT_EQ(ErrnoOf(::ftruncate(maker.fd(), 4999)), EPERM);
  EXPECT_EQ(ErrnoOf(::ftruncate(maker.fd(), 0)), EPERM);
  EXPECT_EQ(ReadText(Volume("v")), std::string(5000, 'x'));
  ASSERT_EQ(maker.WriteAt(kMiB, BytesOf(64 * 1024, '\0')), 0);
  EXPECT_EQ(ErrnoOf(::ftruncate(maker.fd(), kMiB)), EPERM) << "zeros that were written";
  KillAndMount();
  EXPECT_EQ(StatOf(Volume("v")).st_size, static_cast<off_t>(kMiB + 64 * 1024));
}

// ... also over a snapshot, where the range may show the snapshot's bytes.
TEST_F(FilesTest, WhoMadeItCutsOffNothingOfASnapshot) {
  if (NativeByDefault()) GTEST_SKIP() << "no snapshot of what is open";
  const TestFile maker(Volume("v"), O_RDWR | O_CREAT | O_EXCL);
  ASSERT_EQ(maker.WriteAt(0, BytesOf(2 * kBlock, 'x')), 0);
  ASSERT_EQ(ErrnoOf(::ftruncate(maker.fd(), 8 * kBlock)), 0);
  ASSERT_EQ(Ask("snapshot", "v s"), 0);
  EXPECT_EQ(ErrnoOf(::ftruncate(maker.fd(), kBlock)), EPERM);
  EXPECT_EQ(ErrnoOf(::ftruncate(maker.fd(), 3 * kBlock)), 0);
  ASSERT_EQ(ErrnoOf(::ftruncate(maker.fd(), 4 * kBlock)), 0);
  EXPECT_EQ(ReadText(Volume("v")), std::string(2 * kBlock, 'x') + std::string(2 * kBlock, '\0'));
}

// Bytes stored through a mapping are in the image, and in a clone and a snapshot, after msync
// (T21).
TEST_F(FilesTest, MappingIsWrittenByMsync) {
  Make("v", 4 * kBlock);
  const TestFile file(Volume("v"));
  void* const memory =
      ::mmap(nullptr, 4 * kBlock, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* const bytes = static_cast<char*>(memory);
  EXPECT_EQ(bytes[kBlock], 'x');
  std::memset(bytes + kBlock, 'm', kBlock);
  EXPECT_EQ(ErrnoOf(::msync(memory, 4 * kBlock, MS_SYNC)), 0);
  ASSERT_EQ(Ask("snapshot", "v s"), 0);
  std::memset(bytes + kBlock, 'n', kBlock);
  EXPECT_EQ(ErrnoOf(::msync(memory, 4 * kBlock, MS_SYNC)), 0);
  EXPECT_EQ(ErrnoOf(::munmap(memory, 4 * kBlock)), 0);
  EXPECT_EQ(ReadText(Path("snapshots/v/s")).substr(kBlock, kBlock), std::string(kBlock, 'm'));
  EXPECT_EQ(ReadText(Volume("v")).substr(kBlock, kBlock), std::string(kBlock, 'n'));
  const TestFile direct(Volume("v"), O_RDONLY | O_DIRECT);
  const AlignedBuffer buffer(kBlock);
  ASSERT_EQ(direct.ReadAt(kBlock, buffer.bytes()), 0);
  EXPECT_EQ(buffer.bytes()[0], static_cast<std::byte>('n')) << "past the page cache";
}

// O_APPEND appends, also with two writers. Writes with O_SYNC, O_DSYNC and O_DIRECT arrive. A
// reader through the page cache sees the bytes that a writer wrote without it (T50).
TEST_F(FilesTest, OpenFlags) {
  Make("v", kBlock);
  {
    const TestFile one(Volume("v"), O_WRONLY | O_APPEND);
    const TestFile two(Volume("v"), O_WRONLY | O_APPEND | O_SYNC);
    EXPECT_EQ(::write(one.fd(), "one", 3), 3);
    EXPECT_EQ(::write(two.fd(), "two", 3), 3);
    EXPECT_EQ(::write(one.fd(), "end", 3), 3);
  }
  EXPECT_EQ(ReadText(Volume("v")).substr(kBlock), "onetwoend");
  const TestFile synced(Volume("v"), O_RDWR | O_DSYNC);
  EXPECT_EQ(synced.WriteAt(0, BytesOf(100, 's')), 0);
  const TestFile cached(Volume("v"), O_RDONLY);
  std::vector<std::byte> bytes(kBlock);
  ASSERT_EQ(cached.ReadAt(0, bytes), 0);
  EXPECT_EQ(bytes[0], static_cast<std::byte>('s'));
  const TestFile direct(Volume("v"), O_RDWR | O_DIRECT);
  const AlignedBuffer buffer(kBlock);
  std::memset(buffer.bytes().data(), 'd', kBlock);
  ASSERT_EQ(direct.WriteAt(0, buffer.bytes()), 0);
  ASSERT_EQ(cached.ReadAt(0, bytes), 0);
  EXPECT_EQ(bytes, BytesOf(kBlock, 'd'));
}

// A snapshot is a read-only file with the contents and size of its snapshot point. It cannot be
// written, grown or attached for writing, and `rm` deletes it. It keeps the name of a deleted
// volume, and `restore` brings the volume back (contract.md 4, 5.14).
TEST_F(FilesTest, SnapshotsAreReadOnlyFiles) {
  Make("v", 10'000, 'o');
  MustAsk("snapshot", "v s");
  MustRun("head -c 20000 /dev/zero | tr '\\0' n | dd of=" + Volume("v") +
          " conv=notrunc status=none");
  const std::string path = Path("snapshots/v/s");
  EXPECT_EQ(ReadBytes(path), BytesOf(10'000, 'o'));
  EXPECT_EQ(StatOf(path).st_mode & 0222, 0U);
  EXPECT_EQ(TestFile(path, O_RDWR).open_error(), EROFS);
  EXPECT_EQ(ErrnoOf(::truncate(path.c_str(), 20'000)), EROFS);
  EXPECT_EQ(ErrnoOf(::chmod(path.c_str(), 0644)), EROFS);
  EXPECT_NE(RunShell("losetup -f --show " + path + " | xargs losetup -n -O RO").output, "  0\n");
  MustRun("losetup -j " + path + " | cut -d: -f1 | xargs -r losetup -d");
  EXPECT_EQ(Ask("snapshot", "v s"), EEXIST);
  EXPECT_EQ(Unlink("volumes/v"), 0);
  EXPECT_EQ(TestFile(Volume("v"), O_RDWR | O_CREAT).open_error(), EEXIST);
  ASSERT_EQ(Ask("restore", "v@s v linked=1"), 0);
  EXPECT_EQ(ReadBytes(Volume("v")), BytesOf(10'000, 'o'));
  EXPECT_EQ(Unlink("snapshots/v/s"), 0);
  EXPECT_FALSE(Exists(path));
  EXPECT_THAT(ListOf(Path("snapshots")), IsEmpty());
  EXPECT_EQ(ReadBytes(Volume("v")), BytesOf(10'000, 'o'));
}

// A snapshot that is open for reading can be deleted: its name goes at once, its reader reads on
// (T65).
TEST_F(FilesTest, SnapshotOpenForReadingCanBeDeleted) {
  Make("v", kMiB, 'o');
  MustAsk("snapshot", "v s");
  MustRun("head -c 1M /dev/zero | dd of=" + Volume("v") + " conv=notrunc status=none");
  const TestFile reader(Path("snapshots/v/s"), O_RDONLY);
  EXPECT_EQ(Unlink("snapshots/v/s"), 0);
  EXPECT_FALSE(Exists(Path("snapshots/v/s")));
  std::vector<std::byte> bytes(kMiB);
  EXPECT_EQ(reader.ReadAt(0, bytes), 0);
  EXPECT_EQ(bytes, BytesOf(kMiB, 'o'));
}

// A change by one path shows at once in all others, also if a lookup of the name has just failed:
// no dentry is stale (T67).
TEST_F(FilesTest, ChangesShowAtOnceEverywhere) {
  const auto everywhere = [&](const std::string& name) {
    return std::vector<bool>{Exists(Volume(name)), Exists(Path("nodes/a/" + name)),
                             Exists(Path("control/volumes/" + name)),
                             Exists(Path("control/watch/volumes/" + name))};
  };
  const std::vector<bool> gone(4, false);
  const std::vector<bool> there(4, true);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(everywhere("v"), gone);
    MustAsk("create", "v 1M");
    EXPECT_EQ(everywhere("v"), there);
    EXPECT_EQ(Rename("nodes/a/v", "nodes/a/w"), 0);
    EXPECT_EQ(everywhere("v"), gone);
    EXPECT_EQ(everywhere("w"), there);
    MustAsk("resize", "w 2M");
    EXPECT_EQ(SizeOf("w"), 2 * kMiB);
    EXPECT_EQ(Truncate("w", 3 * kMiB), 0);
    EXPECT_EQ(Field("w", "size"), std::to_string(3 * kMiB));
    EXPECT_EQ(StatOf(Path("nodes/a/w")).st_size, static_cast<off_t>(3 * kMiB));
    EXPECT_FALSE(Exists(Path("snapshots/w/s")));
    MustAsk("snapshot", "w s");
    EXPECT_TRUE(Exists(Path("snapshots/w/s")));
    MustAsk("delete", "w@s");
    EXPECT_FALSE(Exists(Path("snapshots/w/s")));
    MustAsk("delete", "w");
    EXPECT_EQ(everywhere("w"), gone);
  }
}

// `rm -rf MNT/*` and `find` end. Open, protected and control files stay (T59).
TEST_F(FilesTest, RemovingEverythingStopsAtWhatIsProtected) {
  Make("gone", kBlock);
  Make("open", kBlock);
  Make("protected", kBlock);
  MustRun("chmod a-w " + Volume("protected"));
  const TestFile writer(Volume("open"));
  EXPECT_EQ(RunShell("find " + Mnt() + " -ls > /dev/null").exit_code, 0);
  EXPECT_NE(RunShell("rm -rf " + Mnt() + "/*").exit_code, 0);
  EXPECT_THAT(ListOf(Path("volumes")), ElementsAre("open", "protected"));
  EXPECT_TRUE(Exists(Path("control/clone")));
}

}  // namespace
}  // namespace volfs
