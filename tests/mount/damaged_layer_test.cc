// Goal: a layer file that is gone, was cut or was replaced fails every read of the lost bytes and
// never gives other bytes. The damage is the error of each volume over the layer, and no write to
// the file is acknowledged. Method: files of a mounted store are cut, moved and replaced behind it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "tests/mount/mount_fixture.h"

namespace volfs {
namespace {

using testing::HasSubstr;

class DamagedLayerTest : public MountTest {
 protected:
  void TearDown() override {
    if (pid() != 0) (void)Volfs("umount --force " + Mnt());
    if (pid() != 0) ::waitpid(pid(), nullptr, 0);
    ExpectNoDaemon();
    MountTest::TearDown();
  }

  // A volume on each node, alone there.
  void Start() {
    Mount({"a", "b"});
    for (const char* const node : {"a", "b"}) {
      const std::string volume = Path("nodes/") + node + "/on-" + node;
      MustRun("head -c 1M /dev/urandom > " + volume + " && sync " + volume);
    }
  }
  // The one layer of node b.
  std::string File() {
    const std::vector<std::string> names = ListOf(NodePath("b") + "/layers");
    EXPECT_EQ(names.size(), 1U);
    return NodePath("b") + "/layers/" + names.front();
  }
  int ReadAt(const std::string& path, off_t offset) {
    const TestFile file(path, O_RDONLY | O_DIRECT);
    alignas(kBlock) char data[kBlock] = {};
    return file.ok() ? ErrnoOf(::pread(file.fd(), data, sizeof data, offset)) : file.open_error();
  }
  std::string Kept() { return directory() + "/kept"; }
  // The layer file of node b that was written last.
  std::string NewestFile() {
    const std::string layers = NodePath("b") + "/layers/";
    std::string name = RunShell("ls -t " + layers + " | head -1").output;
    name.pop_back();
    return layers + name;
  }
  // Each block is as in Kept(), or an error. One at least is an error.
  void ExpectKeptOrError(const std::string& path) {
    const std::string kept = ReadText(Kept());
    const TestFile file(path, O_RDONLY | O_DIRECT);
    ASSERT_TRUE(file.ok());
    int errors = 0;
    for (size_t at = 0; at < kept.size(); at += kBlock) {
      alignas(kBlock) char data[kBlock] = {};
      const ssize_t got = ::pread(file.fd(), data, sizeof data, static_cast<off_t>(at));
      if (got <= 0) {
        ++errors;
      } else {
        ASSERT_EQ(kept.substr(at, kBlock), std::string(data, sizeof data)) << path << " at " << at;
      }
    }
    EXPECT_GT(errors, 0) << path;
  }
  int WriteAndSync() {
    const TestFile file(Volume("on-b"), O_WRONLY);
    if (!file.ok()) return file.open_error();
    const std::string data(kBlock, 'x');
    const int error = ErrnoOf(::pwrite(file.fd(), data.data(), data.size(), 0));
    return error != 0 ? error : ErrnoOf(::fsync(file.fd()));
  }
  // In status, error, an event and the log; the other node's volume is not touched.
  void ExpectDamage(const std::string& words) {
    EXPECT_TRUE(WaitForStatus("on-b", "error"));
    EXPECT_THAT(Field("on-b", "error"), HasSubstr(words));
    EXPECT_EQ(Field("on-a", "status"), "available");
    EXPECT_EQ(ReadAt(Volume("on-a"), 0), 0);
    SleepMs(1500);  // told within a second
    EXPECT_THAT(RunShell("cat /var/log/volfs/*" + directory().substr(directory().rfind('.')) +
                         "-mnt.log | grep 'on-b: '")
                    .output,
                HasSubstr(words));
    EXPECT_THAT(ReadText(Path("control/nodes/b/state")), HasSubstr("ok"));
  }
};

TEST_F(DamagedLayerTest, AFileThatWasCutBetweenMounts) {
  Start();
  Unmount();
  MustRun("truncate -s 512K " + File());
  Mount({"a", "b"});
  EXPECT_EQ(ReadAt(Volume("on-b"), 0), EIO);
  EXPECT_EQ(Field("on-b", "status"), "error") << "at once";
  ExpectDamage("has 524288 bytes where the catalog says 1048576");
}

TEST_F(DamagedLayerTest, AFileThatVanishedBetweenMounts) {
  Start();
  Unmount();
  MustRun("mv " + File() + " " + directory() + "/kept");
  Mount({"a", "b"});
  EXPECT_EQ(ReadAt(Volume("on-b"), 0), EIO);
  ExpectDamage("is gone");
}

TEST_F(DamagedLayerTest, ADamageEndsOnceTheFileIsBack) {
  Start();
  Unmount();
  const std::string file = File();
  MustRun("mv " + file + " " + directory() + "/kept");
  Mount({"a", "b"});
  EXPECT_EQ(ReadAt(Volume("on-b"), 0), EIO);
  EXPECT_TRUE(WaitForStatus("on-b", "error"));
  MustRun("mv " + directory() + "/kept " + file);
  EXPECT_TRUE(WaitForStatus("on-b", "available", 60'000)) << "tried again each 30 seconds";
  EXPECT_EQ(Field("on-b", "error"), "");
  EXPECT_EQ(ReadAt(Volume("on-b"), 0), 0);
  EXPECT_EQ(WriteAndSync(), 0);
}

// Bytes that were cut off read as an error, and not as the zeros that the host gives.
TEST_F(DamagedLayerTest, AFileThatIsCutUnderTheMount) {
  Start();
  MustRun("truncate -s 512K " + File());
  EXPECT_EQ(ReadAt(Volume("on-b"), 768 << 10), EIO);
  ExpectDamage("was cut under the daemon");
  EXPECT_NE(WriteAndSync(), 0);
}

TEST_F(DamagedLayerTest, AFileThatIsReplacedUnderTheMountAcknowledgesNothing) {
  Start();
  const std::string file = File();
  const TestFile open(Volume("on-b"), O_WRONLY);
  MustRun("cp " + file + " " + directory() + "/copy && mv " + directory() + "/copy " + file);
  EXPECT_EQ(WriteAndSync(), EIO);
  ExpectDamage("was removed, moved away or replaced");
}

// It has a name, but not the one that the next mount looks for.
TEST_F(DamagedLayerTest, AFileThatIsMovedAwayUnderTheMountIsNoticed) {
  Start();
  const TestFile open(Volume("on-b"), O_RDONLY);
  EXPECT_EQ(ReadAt(Volume("on-b"), 0), 0);
  MustRun("mv " + File() + " " + directory() + "/moved");
  ExpectDamage("was removed, moved away or replaced");
  EXPECT_EQ(WriteAndSync(), EIO);
}

// A read of a snapshot notes it, too.
TEST_F(DamagedLayerTest, ALayerUnderASnapshotIsTheVolumesError) {
  Start();
  const std::string file = File();
  MustAsk("snapshot", "on-b s");
  Unmount();
  MustRun("truncate -s 512K " + file);
  Mount({"a", "b"});
  EXPECT_EQ(ReadAt(Path("snapshots/on-b/s"), 0), EIO);
  ExpectDamage("has 524288 bytes where the catalog says 1048576");
}

// Of a source that was cut, before or while it is copied, the clone has the right bytes or an
// error.
TEST_F(DamagedLayerTest, AClonesSourceThatIsCutStopsTheClone) {
  for (const bool copies : {false, true}) {
    SCOPED_TRACE(copies);
    const std::string name = copies ? "later" : "first";
    if (pid() == 0) Mount({"a", "b"});
    MustAsk("create", name + " 8M node=b");
    MustRun("head -c 8M /dev/urandom > " + Kept() + " && dd if=" + Kept() + " of=" + Volume(name) +
            " bs=1M conv=notrunc,fsync status=none");
    const std::string file = NewestFile();
    SetCopyRate(copies ? "1M" : "0");
    MustAsk("clone", name + " " + name + "-clone node=a");
    for (int i = 0; i < 200 && copies && Number(name + "-clone", "copied_bytes") == 0; ++i)
      SleepMs(50);
    MustRun("truncate -s 64K " + file);
    SetCopyRate("max");
    EXPECT_TRUE(WaitForStatus(name + "-clone", "error"));
    EXPECT_THAT(Field(name + "-clone", "error"), HasSubstr("was cut under the daemon"));
    EXPECT_TRUE(WaitForStatus(name, "error"));
    ExpectKeptOrError(Volume(name + "-clone"));
    ExpectKeptOrError(Volume(name));
  }
}

// One layer under three volumes and a snapshot.
TEST_F(DamagedLayerTest, ACutLayerIsTheErrorOfAllVolumesOverIt) {
  Start();
  MustRun("cp " + Volume("on-b") + " " + Kept());
  const std::string file = File();
  MustAsk("snapshot", "on-b s");
  MustAsk("clone", "on-b x linked=1");
  MustAsk("clone", "on-b y linked=1");
  for (const char* const name : {"on-b", "x", "y"}) {
    EXPECT_EQ(RunShell("cmp " + Kept() + " " + Volume(name)).exit_code, 0);
    MustRun("dd if=/dev/zero of=" + Volume(name) +
            " bs=64K count=1 conv=notrunc,fsync status=none");
  }
  MustRun("dd if=/dev/zero of=" + Kept() + " bs=64K count=1 conv=notrunc status=none");
  MustRun("truncate -s 512K " + file);
  EXPECT_EQ(ReadAt(Volume("x"), 768 << 10), EIO);
  for (const char* const name : {"on-b", "x", "y"}) {
    EXPECT_TRUE(WaitForStatus(name, "error")) << name;
    ExpectKeptOrError(Volume(name));
  }
  EXPECT_EQ(ReadAt(Path("snapshots/on-b/s"), 768 << 10), EIO);
  EXPECT_NE(RunShell("cp " + Volume("y") + " " + directory() + "/out").exit_code, 0);
  Unmount();
  const CommandResult check = Volfs("check " + NodePath("a") + " " + NodePath("b"));
  EXPECT_NE(check.exit_code, 0);
  EXPECT_THAT(check.output, HasSubstr("524288"));
}

// Found without a read: it would be lost at the unmount.
TEST_F(DamagedLayerTest, ALayerUnderTheHeadThatIsMovedAwayIsNoticed) {
  Start();
  const std::string file = File();
  MustAsk("snapshot", "on-b s");
  EXPECT_EQ(ReadAt(Volume("on-b"), 0), 0);
  MustRun("mv " + file + " " + directory() + "/moved");
  EXPECT_TRUE(WaitForStatus("on-b", "error", 60'000)) << "looked for each 30 seconds";
  EXPECT_EQ(ReadAt(Volume("on-b"), 0), 0) << "as long as it is open";
  MustRun("mv " + directory() + "/moved " + file);
  EXPECT_TRUE(WaitForStatus("on-b", "available", 60'000));
}

// The kernel reads it by itself, and says that the file ends: no zeros, and no acknowledgement.
TEST_F(DamagedLayerTest, ANativeVolumesFileThatIsCut) {
  Mount({"a", "b"});
  MustAsk("create", "on-b 1M node=b io=native");
  MustRun("head -c 1M /dev/urandom > " + Kept() + " && dd if=" + Kept() + " of=" + Volume("on-b") +
          " bs=1M conv=notrunc,fsync status=none");
  {
    const TestFile open(Volume("on-b"), O_RDWR);
    ASSERT_TRUE(open.ok());
    MustRun("truncate -s 512K " + File());
    char data[kBlock] = {};
    EXPECT_LE(::pread(open.fd(), data, sizeof data, 768 << 10), 0);
    EXPECT_EQ(ErrnoOf(::fsync(open.fd())), EIO);
    EXPECT_TRUE(WaitForStatus("on-b", "error"));
    EXPECT_NE(Ask("snapshot", "on-b s"), 0);
  }
  for (int i = 0; i < 2000 && Field("on-b", "attachments") != "0"; ++i) SleepMs(5);
  EXPECT_EQ(ReadAt(Volume("on-b"), 768 << 10), EIO) << "of the daemon";
  EXPECT_EQ(ReadAt(Volume("on-b"), 0), 0);
}

}  // namespace
}  // namespace volfs
