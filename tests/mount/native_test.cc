// Goal: images that the kernel reads and writes by itself (io=native, and snapshots that are one
// raw file) keep the promises of PROTOCOL.md section 11. Method: a call that works while the daemon
// is stopped is served by the kernel. If the machine's kernel cannot, the tests are skipped.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::HasSubstr;

// A mapping of 4 MiB of a file, which outlives its descriptor.
class Mapping {
 public:
  Mapping(const std::string& path, int flags)
      : bytes_(static_cast<char*>(::mmap(nullptr, kBytes,
                                         flags == O_RDWR ? PROT_READ | PROT_WRITE : PROT_READ,
                                         MAP_SHARED, TestFile(path, flags).fd(), 0))) {
    if (bytes_ == MAP_FAILED) throw std::runtime_error("cannot map " + path);
  }
  ~Mapping() { ::munmap(bytes_, kBytes); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  [[nodiscard]] std::string Get(size_t size) const { return {bytes_, size}; }
  void Put(const std::string& text) { std::memcpy(bytes_, text.data(), text.size()); }

 private:
  static constexpr size_t kBytes = size_t{4} << 20;
  char* const bytes_;
};

class NativeTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    Mount();
    MustAsk("create", "probe 1M io=native");
    if (!ServedByKernel(Volume("probe"), O_RDWR)) GTEST_SKIP() << "no FUSE passthrough here";
    MustAsk("delete", "probe");
  }
  void TearDown() override {
    Go();
    MountTest::TearDown();
  }

  // Reads in a process of its own, because a process that waits for a stopped daemon cannot be
  // ended. The read bypasses the page cache, which posix_fadvise(2) does not empty while an earlier
  // read runs.
  bool ServedByKernel(const std::string& path, int flags) {
    const TestFile file(path, flags | O_DIRECT);
    if (!file.ok()) throw std::runtime_error("cannot open " + path);
    alignas(kBlock) char block[kBlock];
    Stop();
    const int child = ::fork();
    if (child == 0) ::_exit(::pread(file.fd(), block, kBlock, 0) > 0 ? 0 : 1);
    int status = -1;
    // On a busy machine the child may not have begun yet.
    for (int asleep = 0; asleep < 30 && ::waitpid(child, &status, WNOHANG) == 0;) {
      asleep = IsAsleep(child) ? asleep + 1 : 0;
      ::usleep(10'000);
    }
    const bool answered = status != -1;
    Go();
    if (!answered) ::waitpid(child, &status, 0);
    return answered && status == 0;
  }
  // The kernel tells the daemon of a close when close(2) has returned.
  void AwaitClosed(const std::string& volume) {
    for (int i = 0; i < 2000 && Field(volume, "attachments") != "0"; ++i) ::usleep(5000);
  }
  // Returns when each of the daemon's threads has stopped.
  void Stop() {
    ::kill(stopped_ = pid(), SIGSTOP);
    const std::string tasks = "/proc/" + std::to_string(pid()) + "/task/";
    for (const std::string& task : ListOf(tasks)) {
      for (int i = 0; i < 2000; ++i) {
        const std::string stat = ReadText(tasks + task + "/stat");
        if (stat.empty() || stat.find(") T ") != std::string::npos) break;
        ::usleep(5000);
      }
    }
  }
  void Go() {
    if (stopped_ != 0) ::kill(stopped_, SIGCONT);
    stopped_ = 0;
  }

  static void Write(const TestFile& file, const std::string& text, off_t offset) {
    ASSERT_EQ(::pwrite(file.fd(), text.data(), text.size(), offset),
              static_cast<ssize_t>(text.size()));
  }
  static std::string Read(const std::string& path, off_t offset, size_t size) {
    const TestFile file(path, O_RDONLY);
    std::string text(size, '\0');
    const ssize_t got = ::pread(file.fd(), text.data(), size, offset);
    text.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return text;
  }
  static off_t SizeOf(const std::string& path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 ? info.st_size : -1;
  }
  void Make(const std::string& name) {
    MustAsk("create", name + " 4M io=native");
    EXPECT_EQ(Field(name, "io"), "native");
  }

 private:
  int stopped_ = 0;
};

TEST_F(NativeTest, SnapshotsThatAreOneRawFileAreServedByTheKernel) {
  MustAsk("create", "v 4M");
  MustRun("head -c 4M /dev/urandom > " + directory() + "/data && dd if=" + directory() +
          "/data bs=1M conv=notrunc status=none of=" + Volume("v"));
  MustAsk("snapshot", "v s");
  EXPECT_TRUE(ServedByKernel(Path("snapshots/v/s"), O_RDONLY));
  MustRun("dd if=/dev/zero of=" + Volume("v") + " bs=1M count=1 conv=notrunc status=none");
  MustRun("cmp " + directory() + "/data " + Path("snapshots/v/s"));
  MustAsk("snapshot", "v over");  // two layers: only the daemon knows where each block is
  EXPECT_FALSE(ServedByKernel(Path("snapshots/v/over"), O_RDONLY));
}

TEST_F(NativeTest, VolumesAreServedByTheKernelOnlyWhereThatWasAskedFor) {
  Make("fast");
  MustAsk("create", "plain 4M");
  EXPECT_EQ(Field("plain", "io"), "daemon");
  EXPECT_TRUE(ServedByKernel(Volume("fast"), O_RDWR));
  EXPECT_TRUE(ServedByKernel(Volume("fast"), O_RDONLY));
  EXPECT_FALSE(ServedByKernel(Volume("plain"), O_RDWR));
  Unmount();
  Mount({"a", "b"}, "io=native");
  EXPECT_TRUE(ServedByKernel(Volume("fast"), O_RDWR)) << "it is remembered";
  MustRun("truncate -s 4M " + Volume("later"));
  EXPECT_TRUE(ServedByKernel(Volume("later"), O_RDWR)) << "the option is for new volumes";
  EXPECT_FALSE(ServedByKernel(Volume("plain"), O_RDWR));
}

TEST_F(NativeTest, TheFilesSizeAndTimeAreTheVolumes) {
  Make("v");
  {
    const TestFile file(Volume("v"), O_RDWR);
    Write(file, "end", 10 * kMiB - 3);
    EXPECT_EQ(SizeOf(Volume("v")), 10 * kMiB);
    EXPECT_EQ(Field("v", "size"), std::to_string(10 * kMiB));
    EXPECT_EQ(::ftruncate(file.fd(), 12 * kMiB), 0);
    EXPECT_EQ(SizeOf(Volume("v")), 12 * kMiB);
    EXPECT_EQ(Ask("resize", "v 16M"), 0);
    EXPECT_EQ(SizeOf(Volume("v")), 16 * kMiB);
  }
  struct stat before {
  }, after{};
  ASSERT_EQ(::stat(Volume("v").c_str(), &before), 0);
  ::usleep(20'000);
  Write(TestFile(Volume("v"), O_RDWR), "x", 0);
  ASSERT_EQ(::stat(Volume("v").c_str(), &after), 0);
  EXPECT_NE(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
  Remount();
  EXPECT_EQ(SizeOf(Volume("v")), 16 * kMiB);
  EXPECT_EQ(Read(Volume("v"), 10 * kMiB - 3, 3), "end");
}

// The kernel does not report a write past the end to the daemon. An O_SYNC write and an fsync are
// acknowledged all the same.
TEST_F(NativeTest, WhatWasAcknowledgedPastTheEndSurvivesAKill) {
  Make("v");
  {
    const TestFile file(Volume("v"), O_RDWR | O_SYNC);
    Write(file, "acknowledged", 8 * kMiB);
    KillAndMount();
  }
  EXPECT_EQ(SizeOf(Volume("v")), 8 * kMiB + 12);
  EXPECT_EQ(Read(Volume("v"), 8 * kMiB, 12), "acknowledged");
}

TEST_F(NativeTest, NoInstantIsTakenOfAnOpenOneThatCannotBeShared) {
  MustRun("truncate -s 256M " + directory() + "/a.ext4 && mkfs.ext4 -q -F " + directory() +
          "/a.ext4");
  Unmount();
  MustRun("mkdir " + NodePath("e") + " && mount -o loop " + directory() + "/a.ext4 " +
          NodePath("e"));
  Mount({"e", "b"});
  Make("v");
  {
    const TestFile file(Volume("v"), O_RDWR);
    Write(file, "before", 0);
    EXPECT_EQ(Ask("snapshot", "v s"), EBUSY);
    EXPECT_THAT(ReadText(Path("control/last_error")), HasSubstr("io=native"));
    EXPECT_EQ(Ask("clone", "v c"), EBUSY);
    EXPECT_NE(::access(Path("snapshots/v/s").c_str(), F_OK), 0);
  }
  MustAsk("snapshot", "v s");
  {
    const TestFile file(Volume("v"), O_RDWR);  // two layers by now: the daemon serves it
    Write(file, "after!", 0);
    MustAsk("snapshot", "v t");
  }
  EXPECT_EQ(Read(Path("snapshots/v/s"), 0, 6), "before");
  EXPECT_EQ(Read(Path("snapshots/v/t"), 0, 6), "after!");
  Unmount();
  MustRun("umount " + NodePath("e"));
}

// The host shares all blocks of the file at once. The snapshot does not change, the volume stays
// one raw file that the kernel serves, and both are whole.
TEST_F(NativeTest, InstantsOfAnOpenOneAreSharedWhereTheHostCan) {
  MustRun("truncate -s 512M " + directory() + "/x.xfs && mkfs.xfs -q " + directory() + "/x.xfs");
  Unmount();
  MustRun("mkdir " + NodePath("x") + " && mount -o loop " + directory() + "/x.xfs " +
          NodePath("x"));
  Mount({"x", "b"});
  Make("v");
  {
    const TestFile file(Volume("v"), O_RDWR);
    Write(file, "first", 0);
    MustAsk("snapshot", "v s");
    Write(file, "other", 0);
    MustAsk("clone", "v c node=b");
    EXPECT_TRUE(WaitForStatus("c", "available"));
    MustAsk("clone", "v l linked=1");
    Write(file, "third", 0);
    EXPECT_TRUE(ServedByKernel(Volume("v"), O_RDWR));
  }
  const auto check = [&] {
    EXPECT_EQ(Read(Path("snapshots/v/s"), 0, 5), "first");
    EXPECT_EQ(Read(Volume("c"), 0, 5), "other");
    EXPECT_EQ(Read(Volume("l"), 0, 5), "other");
    EXPECT_EQ(Read(Volume("v"), 0, 5), "third");
  };
  check();
  Remount();
  check();
  MustAsk("delete", "v@s");
  EXPECT_TRUE(ServedByKernel(Volume("v"), O_RDWR));
  Unmount();
  EXPECT_EQ(Volfs("check " + NodePath("x") + " " + NodePath("b")).exit_code, 0);
  MustRun("umount " + NodePath("x"));
}

TEST_F(NativeTest, TheModeChangesOnlyWhileItIsClosed) {
  Make("v");
  {
    const TestFile file(Volume("v"), O_RDONLY);
    EXPECT_EQ(Ask("volumes/v/io", "daemon"), EBUSY);
  }
  EXPECT_EQ(Ask("volumes/v/io", "fast"), EINVAL);
  EXPECT_EQ(Ask("create", "w 1M io=fast"), EINVAL);
  // Each mode shows the data written in the other.
  const char* words[] = {"daemon", "native"};
  std::string before(1, '\0');
  for (int i = 0; i < 6; ++i) {
    AwaitClosed("v");
    MustAsk("volumes/v/io", words[i % 2]);
    EXPECT_EQ(ServedByKernel(Volume("v"), O_RDWR), i % 2 == 1);
    const std::string text(1, static_cast<char>('a' + i));
    EXPECT_EQ(Read(Volume("v"), 0, 1), before);
    Write(TestFile(Volume("v"), O_RDWR), text, 0);
    EXPECT_EQ(Read(Volume("v"), 0, 1), text);
    before = text;
  }
}

// A mapping of the layer's own file outlives its descriptor.
TEST_F(NativeTest, AMappedVolumeIsInUseUntilItIsUnmapped) {
  Make("v");
  {
    Mapping mapping(Volume("v"), O_RDWR);
    mapping.Put("before");
    EXPECT_EQ(Field("v", "status"), "in-use");
    EXPECT_NE(Ask("volumes/v/io", "daemon"), 0);
    EXPECT_NE(::unlink(Volume("v").c_str()), 0);
    if (Ask("snapshot", "v s") == 0) {  // by reflink; without it EBUSY
      mapping.Put("after!");
      EXPECT_EQ(Read(Path("snapshots/v/s"), 0, 6), "before");
      MustAsk("delete", "v@s");
    }
    mapping.Put("mapped");
    EXPECT_TRUE(ServedByKernel(Volume("v"), O_RDWR)) << "the next open joins";
    EXPECT_EQ(Read(Volume("v"), 0, 6), "mapped");
  }
  EXPECT_TRUE(WaitForStatus("v", "available"));
  MustAsk("volumes/v/io", "daemon");
  MustAsk("snapshot", "v s");
  EXPECT_EQ(Read(Volume("v"), 0, 6), "mapped");
}

// The kernel releases a file a moment after its last close. A program that opens it in that moment
// does not keep the old writer registered.
TEST_F(NativeTest, AWriterThatClosedItIsGoneWhoeverOpensItNext) {
  for (int i = 0; i < 20; ++i) {
    Make("v");
    { const TestFile writer(Volume("v"), O_RDWR); }
    EXPECT_TRUE(WaitForStatus("v", "available", 5000));  // its release may be under way
    { const TestFile writer(Volume("v"), O_RDWR); }
    const TestFile reader(Volume("v"), O_RDONLY);
    ASSERT_EQ(ErrnoOf(::unlink(Volume("v").c_str())), 0) << "round " << i;
  }
}

TEST_F(NativeTest, AMappedSnapshotKeepsItsBytesWhenItIsDeleted) {
  MustAsk("create", "v 4M");
  MustRun("yes snapshot | dd bs=1M count=4 iflag=fullblock conv=notrunc status=none of=" +
          Volume("v"));
  MustAsk("snapshot", "v s");
  ASSERT_TRUE(ServedByKernel(Path("snapshots/v/s"), O_RDONLY));
  const Mapping mapping(Path("snapshots/v/s"), O_RDONLY);
  MustRun("yes volume | dd bs=1M count=4 iflag=fullblock conv=notrunc,fsync status=none of=" +
          Volume("v"));
  MustAsk("delete", "v@s");
  ::sleep(1);  // leftovers are freed by now, and the two layers are merged
  EXPECT_EQ(mapping.Get(9), "snapshot\n");
}

// The kernel does not ask the daemon for the size before ftruncate(2).
TEST_F(NativeTest, ATruncationKnowsWhatTheKernelHasWritten) {
  Unmount();
  Mount({"a", "b"}, "allow_shrink");
  MustAsk("create", "v 0 io=native");
  const TestFile file(Volume("v"), O_RDWR);
  Write(file, "gone", kMiB - 4);
  ASSERT_EQ(::ftruncate(file.fd(), 0), 0);
  EXPECT_EQ(SizeOf(Volume("v")), 0);
  Write(file, "gone", 10 * kMiB - 4);
  EXPECT_EQ(Ask("resize", "v 7M"), 0);
  EXPECT_EQ(SizeOf(Volume("v")), 7 * kMiB);
  Write(file, "gone", 10 * kMiB - 4);
  EXPECT_EQ(Field("v", "size"), std::to_string(10 * kMiB));
}

// A write that is acknowledged while the file is being closed is in the snapshot.
TEST_F(NativeTest, AnInstantThatMeetsACloseIsWholeOrRefused) {
  constexpr int kRounds = 60;
  std::vector<std::string> taken;
  for (int i = 0; i < kRounds; ++i) {
    const std::string name = "v" + std::to_string(i);
    Make(name);
    auto file = std::make_unique<TestFile>(Volume(name), O_RDWR);
    Write(*file, name, 0);
    std::thread closer([&] {
      ::usleep(static_cast<unsigned>(i * 50));
      file.reset();
    });
    const bool made = Ask("snapshot", name + " s") == 0;
    closer.join();
    if (made) taken.push_back(name);
  }
  EXPECT_FALSE(taken.empty());
  const auto check = [&] {
    for (const std::string& name : taken) {
      EXPECT_EQ(Read(Path("snapshots/" + name + "/s"), 0, name.size()), name);
      EXPECT_EQ(SizeOf(Path("snapshots/" + name + "/s")), 4 * kMiB);
    }
  };
  check();
  Remount();
  check();
}

// A file cannot be taken away from a process that has it open. Until that process has gone, no
// other process may write the volume, and no snapshot is taken (T56).
TEST_F(NativeTest, WhoStillWritesAfterTheDaemonsDeathIsAlone) {
  Make("v");
  {
    const TestFile file(Volume("v"), O_RDWR);
    KillAndMount();
    Write(file, "late", 0);  // through the dead mount, without a daemon
    EXPECT_EQ(TestFile(Volume("v"), O_RDWR).open_error(), EROFS);
    EXPECT_NE(Ask("snapshot", "v s"), 0);
    EXPECT_THAT(Field("v", "error"), HasSubstr("when the last mount died still has"));
    Write(file, "longer", 8 * kMiB);
    EXPECT_EQ(Read(Volume("v"), 0, 4), "late");
    ::sleep(1);  // the remains of a crash are tidied up by now
  }
  Remount();
  EXPECT_EQ(TestFile(Volume("v"), O_RDWR).open_error(), 0);
  EXPECT_EQ(Read(Volume("v"), 0, 4), "late");
  EXPECT_EQ(Read(Volume("v"), 8 * kMiB, 6), "longer");
  MustAsk("snapshot", "v s");
}

}  // namespace
}  // namespace volfs
