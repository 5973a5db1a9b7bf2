// Goal: a clone is one snapshot point of its source from the request's return on, and in the end
// depends on no other volume. Traps and regressions are numbered as in the headers of the tests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/wait.h>
#include <zlib.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <random>
#include <thread>

#include "tests/mount/mount_fixture.h"
#include "tests/support/block_load.h"

namespace volfs {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

uint64_t CrcOf(const std::vector<std::byte>& bytes) {
  return ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size()));
}

std::vector<std::byte> RandomBytes(size_t size, std::mt19937_64& random) {
  std::vector<std::byte> bytes(size + sizeof(uint64_t));
  for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
    const uint64_t word = random();
    std::memcpy(bytes.data() + at, &word, sizeof word);
  }
  bytes.resize(size);
  return bytes;
}

// An image and, beside it, its expected contents.
class Mirror {
 public:
  Mirror(const std::string& path, std::vector<std::byte> contents)
      : file_(path, O_RDWR), contents_(std::move(contents)) {}

  // Makes one write, discard or zeroing at any byte offset and length, in both. Returns its errno.
  int Change(std::mt19937_64& random) {
    const uint64_t offset = random() % (contents_.size() - 1);
    const uint64_t length =
        1 + random() % std::min<uint64_t>(contents_.size() - offset, 3 * kPatternBlockBytes);
    const std::span<std::byte> range(contents_.data() + offset, length);
    switch (random() % 4) {
      case 0:
        std::fill(range.begin(), range.end(), std::byte{0});
        return file_.Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
      case 1:
        std::fill(range.begin(), range.end(), std::byte{0});
        return file_.Allocate(FALLOC_FL_ZERO_RANGE, offset, length);
      default:
        std::ranges::copy(RandomBytes(length, random), range.begin());
        return file_.WriteAt(offset, range);
    }
  }

  [[nodiscard]] const std::vector<std::byte>& contents() const { return contents_; }

  // Returns "" if `bytes` are the same, otherwise the place of the first difference.
  [[nodiscard]] std::string Compare(const std::vector<std::byte>& bytes) const {
    if (bytes == contents_) return "";
    if (bytes.size() != contents_.size()) return "sizes differ";
    const auto [mine, other] = std::ranges::mismatch(contents_, bytes);
    return "differs at byte " + std::to_string(mine - contents_.begin());
  }

 private:
  const TestFile file_;
  std::vector<std::byte> contents_;
};

class CloneTest : public MountTest {
 protected:
  // Makes a volume with `data_bytes` random bytes at its beginning. Returns its contents.
  std::vector<std::byte> MakeVolume(const std::string& name, uint64_t size_bytes,
                                    uint64_t data_bytes) {
    std::mt19937_64 random(size_bytes + data_bytes);
    std::vector<std::byte> bytes = RandomBytes(data_bytes, random);
    const TestFile file(Volume(name), O_RDWR | O_CREAT | O_EXCL);
    if (::ftruncate(file.fd(), static_cast<off_t>(size_bytes)) != 0 ||
        file.WriteAt(0, bytes) != 0 || file.Sync() != 0) {
      throw std::runtime_error("cannot make " + name);
    }
    bytes.resize(size_bytes);
    return bytes;
  }

  // Makes a volume with a clone `db-clone.img` that stays `creating`.
  std::vector<std::byte> MakeStalledClone() {
    Mount();
    SetCopyRate("0");
    std::vector<std::byte> bytes = MakeVolume("db.img", 4 * kMiB, kMiB);
    MustAsk("clone", "db.img");
    return bytes;
  }

  std::vector<std::string> Layers(const std::string& node) {
    return ListOf(NodePath(node) + "/layers");
  }
};

// A clone and a snapshot of a volume that four threads write to hold everything that was
// acknowledged before the request, nothing that was issued after its return, and by the prefix rule
// one snapshot point in between, block by block whole (contract.md 5.2, T20, R9). A read while the
// clone is `creating` shows the same bytes as at the end, and the source keeps its newest contents.
TEST_F(CloneTest, IsOneInstantOfAVolumeUnderWriteLoad) {
  constexpr int kRounds = 6;
  constexpr uint64_t kBlocks = 1024;
  struct SnapshotPoint {
    std::string path;
    uint64_t asked;
    uint64_t answered;
    uint64_t crc = 0;
  };
  Mount();
  MustRun("truncate -s " + std::to_string(kBlocks * kPatternBlockBytes) + " " + Volume("db.img"));
  BlockLoad load({.path = Volume("db.img"), .blocks = kBlocks});
  ASSERT_EQ(load.Fill(), 0);
  load.Start();
  std::vector<SnapshotPoint> instants;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    SleepMs(50);
    SetCopyRate("8M");
    const std::string number = std::to_string(round);
    SnapshotPoint clone{Volume("c" + number), load.Now(), 0};
    ASSERT_EQ(Ask("clone", "db.img c" + number), 0);
    clone.answered = load.Now();
    clone.crc = CrcOf(ReadBytes(clone.path));
    instants.push_back(clone);
    EXPECT_EQ(Field("c" + number, "status"), "creating");
    SetCopyRate("max");
    ASSERT_TRUE(WaitForStatus("c" + number, "available"));
    SnapshotPoint snapshot{Path("snapshots/db.img/s" + number), load.Now(), 0};
    ASSERT_EQ(Ask("snapshot", "db.img s" + number), 0);
    snapshot.answered = load.Now();
    snapshot.crc = CrcOf(ReadBytes(snapshot.path));
    instants.push_back(snapshot);
  }
  EXPECT_EQ(load.Stop(), 0);
  EXPECT_GT(load.writes(), kBlocks + 500) << "too little load to prove anything";
  for (const SnapshotPoint& instant : instants) {
    const std::vector<std::byte> contents = ReadBytes(instant.path);
    EXPECT_EQ(load.CheckSnapshotPoint(contents, instant.asked, instant.answered), "")
        << instant.path;
    EXPECT_EQ(CrcOf(contents), instant.crc) << instant.path << " has changed since its request";
  }
  EXPECT_EQ(load.CheckNewest(ReadBytes(Volume("db.img"))), "");
  Remount();
  for (const SnapshotPoint& instant : instants) {
    EXPECT_EQ(CrcOf(ReadBytes(instant.path)), instant.crc) << instant.path << " after a remount";
  }
  EXPECT_EQ(load.CheckNewest(ReadBytes(Volume("db.img"))), "");
}

// While a clone is copied, it always shows the snapshot point with its own writes, of any offset
// and length, and its discards (R4, R5, R6, T25, T26). The source takes other writes meanwhile. In
// the end the clone is whole without the source's node (contract.md 5.5, T35).
TEST_F(CloneTest, IsTheInstantAndItsOwnWritesWhileItIsCopiedAndIndependentThen) {
  constexpr uint64_t kSize = 16 * kMiB + 1536;
  Mount();
  const std::vector<std::byte> instant = MakeVolume("db.img", kSize, 14 * kMiB);
  SetCopyRate("512K");  // until enough moments were checked, however slow the machine is
  ASSERT_EQ(Ask("clone", "db.img copy"), 0);
  std::vector<std::byte> expected;
  {
    Mirror source(Volume("db.img"), instant);
    Mirror clone(Volume("copy"), instant);
    std::mt19937_64 random(7);
    int moments = 0;
    while (Field("copy", "status") == "creating") {
      for (int i = 0; i < 60; ++i) {
        ASSERT_EQ(clone.Change(random), 0);
        ASSERT_EQ(source.Change(random), 0);
      }
      ASSERT_EQ(clone.Compare(ReadBytes(Volume("copy"))), "") << "at moment " << moments;
      if (++moments == 5) SetCopyRate("max");
    }
    EXPECT_GE(moments, 4) << "too few moments to prove anything";
    EXPECT_EQ(clone.Compare(ReadBytes(Volume("copy"))), "");
    EXPECT_EQ(source.Compare(ReadBytes(Volume("db.img"))), "");
    expected = clone.contents();
  }
  EXPECT_EQ(Field("copy", "hydrated"), "100.00");
  Unmount();
  std::filesystem::rename(NodePath("a"), NodePath("away"));
  Mount({"b"});
  EXPECT_TRUE(ReadBytes(Volume("copy")) == expected) << "without the source's node";
  EXPECT_EQ(Field("copy", "status"), "available");
  EXPECT_FALSE(Exists(Volume("db.img")));
}

// verify=1: the copy is read back and compared, and a remount still reports it as verified (5.10).
TEST_F(CloneTest, CanBeVerified) {
  Mount();
  const std::vector<std::byte> bytes = MakeVolume("db.img", 4 * kMiB, kMiB);
  SetCopyRate("0");
  MustAsk("clone", "db.img x verify=1");
  EXPECT_EQ(Field("x", "verified"), "pending");
  Remount();
  EXPECT_EQ(Field("x", "verified"), "pending");
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("x", "available"));
  EXPECT_EQ(Field("x", "verified"), "ok");
  EXPECT_THAT(Field("x", "info.json"), HasSubstr("\"verified\":\"ok\""));
  EXPECT_EQ(Field("db.img", "verified"), "");
  EXPECT_TRUE(ReadBytes(Volume("x")) == bytes);
  EXPECT_EQ(Ask("clone", "db.img y verify=1 linked=1"), EINVAL);
}

// A clone that is cancelled at any moment of the copy leaves nothing behind (5.9).
TEST_F(CloneTest, CanBeCancelledAtAnyMoment) {
  Mount();
  MakeVolume("db.img", 32 * kMiB, 32 * kMiB);
  std::mt19937_64 random(5);
  for (int round = 0; round < 30; ++round) {
    MustAsk("clone", "db.img x");
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 60'000));
    const int cancelled = Ask("cancel", "x");
    if (cancelled == EINVAL)
      MustAsk("delete", "x");  // it was whole by then
    else
      ASSERT_EQ(cancelled, 0);
    ASSERT_THAT(Layers("b"), testing::IsEmpty()) << "round " << round;
  }
}

// Without the node of its source an unfinished clone is `error` with a reason. Reading its missing
// bytes fails and never gives zeros (T10, T38).
TEST_F(CloneTest, OfAnAbsentNodeIsInErrorAndInventsNothing) {
  MakeStalledClone();
  Unmount();
  std::filesystem::rename(NodePath("a"), NodePath("away"));
  const CommandResult mounted = TryMount({"b"});
  ASSERT_EQ(mounted.exit_code, 0) << mounted.output;
  FindDaemon();
  EXPECT_THAT(mounted.output, HasSubstr("node a"));
  EXPECT_THAT(mounted.output, HasSubstr("db-clone.img"));
  EXPECT_EQ(Field("db-clone.img", "status"), "error");
  EXPECT_NE(Field("db-clone.img", "error"), "");
  std::vector<std::byte> block(kPatternBlockBytes);
  const TestFile clone(Volume("db-clone.img"), O_RDONLY);
  EXPECT_EQ(clone.ok() ? clone.ReadAt(0, block) : EIO, EIO);
}

// When the absent node is back, its clones continue without a request (T38).
TEST_F(CloneTest, GoesOnWhenTheNodeOfItsSourceIsBack) {
  const std::vector<std::byte> bytes = MakeStalledClone();
  Unmount();
  std::filesystem::rename(NodePath("a"), NodePath("away"));
  Mount({"b"});
  Unmount();
  std::filesystem::rename(NodePath("away"), NodePath("a"));
  Mount({"a", "b"});
  EXPECT_EQ(Field("db-clone.img", "status"), "creating");
  SetCopyRate("max");
  EXPECT_TRUE(WaitForStatus("db-clone.img", "available"));
  EXPECT_TRUE(ReadBytes(Volume("db-clone.img")) == bytes);
}

// While a clone is copied, a second clone or a snapshot of its source is EBUSY, leaves nothing
// behind and does not disturb the first. Of many requests at once exactly one succeeds. The clone
// itself can be neither cloned nor snapshotted (contract.md 5.7, T7, T8).
TEST_F(CloneTest, SecondOneIsBusyAndTheFirstUndisturbed) {
  Mount();
  SetCopyRate("0");
  const std::vector<std::byte> bytes = MakeVolume("db.img", 4 * kMiB, kMiB);
  std::vector<std::thread> askers;
  std::atomic<int> won{0};
  std::atomic<int> busy{0};
  for (int i = 0; i < 8; ++i) {
    askers.emplace_back([&, i] {
      const int error = Ask("clone", "db.img c" + std::to_string(i));
      if (error == 0) ++won;
      if (error == EBUSY) ++busy;
    });
  }
  for (std::thread& asker : askers) asker.join();
  EXPECT_EQ(won, 1);
  EXPECT_EQ(busy, 7);
  const std::vector<std::string> names = ListOf(Path("volumes"));
  ASSERT_EQ(names.size(), 2U) << "a refused request has left something behind";
  const std::string& clone = names.front();
  EXPECT_EQ(Ask("clone", "db.img again"), EBUSY);
  EXPECT_EQ(Ask("snapshot", "db.img s"), EBUSY);
  EXPECT_EQ(Ask("clone", clone + " again"), EBUSY);
  EXPECT_EQ(Ask("snapshot", clone + " s"), EBUSY);
  EXPECT_EQ(ListOf(Path("volumes")), names);
  EXPECT_EQ(ListOf(Path("snapshots")).size(), 0U);
  EXPECT_EQ(Field(clone, "status"), "creating");
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus(clone, "available"));
  EXPECT_TRUE(ReadBytes(Volume(clone)) == bytes);
  EXPECT_EQ(Ask("snapshot", "db.img s"), 0);
  EXPECT_EQ(Ask("clone", "db.img again"), 0);
}

// A plain write to control/clone makes SRC-clone of the source's size on the other node. An ending
// .img or .raw stays at the end of the name, and an existing name is never taken (contract.md 5.1,
// T5, T9).
TEST_F(CloneTest, HasADefaultNameAndNeverTakesAnother) {
  Mount();
  for (const char* name : {"db.img", "db.raw", "db", "db.iso"}) MakeVolume(name, kMiB, 8192);
  for (const char* name : {"db.img", "db.raw", "db", "db.iso"}) {
    ASSERT_EQ(WriteText(Path("control/clone"), name), 0) << name;
  }
  EXPECT_EQ(ListOf(Path("nodes/b")),
            (std::vector<std::string>{"db-clone", "db-clone.img", "db-clone.raw", "db.iso-clone"}));
  EXPECT_EQ(StatOf(Volume("db-clone.img")).st_size, static_cast<off_t>(kMiB));
  ASSERT_TRUE(WaitForStatus("db-clone.img", "available"));
  EXPECT_EQ(Ask("clone", "db.img"), EEXIST);
  EXPECT_EQ(Ask("clone", "db.img db.raw"), EEXIST);
  EXPECT_EQ(Ask("clone", "db.img db.img"), EEXIST);
  EXPECT_EQ(ListOf(Path("volumes")).size(), 8U);
}

// An impossible request is refused with the errno of contract.md 6, in its order, and leaves
// nothing behind (T1, T9, T17).
TEST_F(CloneTest, RefusalsHaveTheirErrno) {
  Mount();
  MakeVolume("db.img", kMiB, 8192);
  EXPECT_EQ(Ask("clone", "nosuch"), ENOENT);
  EXPECT_EQ(Ask("clone", "db.img@nosuch x"), ENOENT);
  EXPECT_EQ(Ask("clone", "db.img x colour=red"), EINVAL);
  EXPECT_EQ(Ask("clone", "db.img x y"), EINVAL);
  EXPECT_EQ(Ask("clone", "db.img x size=12q"), EINVAL);
  EXPECT_EQ(Ask("clone", "db.img x size=-1"), EINVAL);
  EXPECT_EQ(Ask("clone", "db.img x type=nosuch"), EINVAL);
  EXPECT_EQ(Ask("clone", "db.img ../x"), EINVAL);
  EXPECT_EQ(Ask("clone", "db.img " + std::string(129, 'x')), ENAMETOOLONG);
  EXPECT_EQ(Ask("clone", "db.img " + std::string(5000, 'x')), E2BIG);
  EXPECT_EQ(Ask("clone", "db.img x size=1"), ERANGE);
  EXPECT_EQ(Ask("clone", "db.img x node=nosuch"), ENODEV);
  EXPECT_EQ(Ask("clone", ""), EINVAL);
  EXPECT_EQ(Ask("clone", "nosuch x colour=red"), EINVAL) << "form comes before the source";
  EXPECT_EQ(Ask("clone", "nosuch db.img"), ENOENT) << "the source comes before the name";
  EXPECT_EQ(Ask("clone", "db.img db.img size=1"), EEXIST) << "the name comes before the size";
  EXPECT_EQ(ListOf(Path("volumes")), std::vector<std::string>{"db.img"});
  EXPECT_EQ(Layers("b").size(), 0U);
}

// With one node, a clone is ENODEV with a sentence that says what to do. The source's own node is
// used only if it is named or the clone is linked (contract.md 5.4, T9).
TEST_F(CloneTest, OnOneNodeNeedsToBeToldSo) {
  Mount({"a"});
  const std::vector<std::byte> bytes = MakeVolume("db.img", kMiB, 8192);
  const AskResult refused = AskForReply("clone", "db.img");
  EXPECT_EQ(refused.error, ENODEV);
  EXPECT_THAT(refused.reply, StartsWith("error ENODEV "));
  EXPECT_THAT(refused.reply, HasSubstr("node=a"));
  EXPECT_EQ(Ask("clone", "db.img x node=b"), ENODEV);
  ASSERT_EQ(Ask("clone", "db.img here node=a"), 0);
  ASSERT_TRUE(WaitForStatus("here", "available"));
  EXPECT_TRUE(ReadBytes(Volume("here")) == bytes);
}

// A linked clone (linked=1) shares its source's blocks: it is available at once, copies nothing,
// and neither volume shows later writes to the other (contract.md 5.12).
TEST_F(CloneTest, LinkedOneIsAvailableAtOnceAndCopiesNothing) {
  Mount();
  SetCopyRate("0");
  const std::vector<std::byte> bytes = MakeVolume("db.img", 8 * kMiB, 8 * kMiB);
  const uint64_t before = std::stoull(MustRun("du -s -B1 " + NodePath("a") + "/layers"));
  ASSERT_EQ(Ask("clone", "db.img twin linked=1"), 0);
  EXPECT_EQ(Field("twin", "status"), "available");
  EXPECT_EQ(Field("twin", "node"), "a");
  const uint64_t after = std::stoull(MustRun("du -s -B1 " + NodePath("a") + "/layers"));
  EXPECT_LT(after, before + kMiB);
  Mirror source(Volume("db.img"), bytes);
  Mirror twin(Volume("twin"), bytes);
  std::mt19937_64 random(3);
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(source.Change(random), 0);
    ASSERT_EQ(twin.Change(random), 0);
  }
  EXPECT_EQ(source.Compare(ReadBytes(Volume("db.img"))), "");
  EXPECT_EQ(twin.Compare(ReadBytes(Volume("twin"))), "");
}

// A larger clone reads as zeros behind its source's end, also within the source's last, partial
// block (contract.md 5.6, T15). Its size does not depend on later changes of the source (T13).
TEST_F(CloneTest, MayBeLargerAndReadsAsZerosBehindTheSource) {
  constexpr uint64_t kSize = kMiB + 777;
  Mount();
  std::vector<std::byte> expected = MakeVolume("db.img", kSize, kSize);
  SetCopyRate("0");
  ASSERT_EQ(Ask("clone", "db.img big size=3M"), 0);
  expected.resize(3 * kMiB);
  EXPECT_TRUE(ReadBytes(Volume("big")) == expected) << "while it is creating";
  MustRun("truncate -s 5M " + Volume("db.img"));
  MustRun("printf x | dd of=" + Volume("db.img") + " bs=1 seek=" + std::to_string(kSize) +
          " conv=notrunc status=none");
  EXPECT_TRUE(ReadBytes(Volume("big")) == expected) << "when the source has grown";
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("big", "available"));
  EXPECT_TRUE(ReadBytes(Volume("big")) == expected);
}

// The reply to a request is read from the same open file: one for each line, in order, then the end
// of the file. A reader without a request gets the usage (contract.md 6).
TEST_F(CloneTest, ReplyIsReadFromTheSameOpenFile) {
  Mount();
  SetCopyRate("0");
  MakeVolume("db.img", kMiB, 8192);
  const AskResult accepted = AskForReply("clone", "db.img");
  EXPECT_EQ(accepted.error, 0);
  EXPECT_EQ(accepted.reply, "ok volume=db-clone.img status=creating size=1048576 node=b");
  const AskResult refused = AskForReply("clone", "db.img");
  EXPECT_EQ(refused.error, EBUSY);
  EXPECT_THAT(refused.reply, StartsWith("error EBUSY "));
  EXPECT_THAT(refused.reply, HasSubstr("db-clone.img"));
  const std::string script =
      "exec 3<>" + Path("control/clone") + "; echo nosuch >&3; echo db.img >&3; cat <&3; echo end";
  const CommandResult shell = RunProgram({"bash", "-c", script});
  EXPECT_THAT(shell.output, HasSubstr("error ENOENT nosuch"));
  EXPECT_LT(shell.output.find("error ENOENT"), shell.output.find("error EBUSY"));
  EXPECT_THAT(shell.output, testing::EndsWith("end\n"));
  EXPECT_THAT(ReadText(Path("control/clone")), StartsWith("clone"));
}

// A read of control/watch/volumes/NAME blocks until the clone is whole, then returns its status.
// With O_NONBLOCK it is EAGAIN, and a signal ends it (contract.md 4, T55, T68).
TEST_F(CloneTest, WatchBlocksUntilItIsAvailable) {
  MakeStalledClone();
  const std::string watch = Path("control/watch/volumes/db-clone.img");
  {
    const TestFile file(watch, O_RDONLY | O_NONBLOCK);
    ASSERT_TRUE(file.ok());
    char byte = 0;
    EXPECT_EQ(ErrnoOf(::read(file.fd(), &byte, 1)), EAGAIN);
  }
  BackgroundProgram reader({"cat", watch});
  BackgroundProgram impatient({"cat", watch});
  EXPECT_FALSE(reader.WaitForEnd(200));
  impatient.Signal(SIGTERM);
  EXPECT_TRUE(impatient.WaitForEnd(5000)) << "a blocked reader cannot be killed";
  EXPECT_FALSE(reader.WaitForEnd(0));
  SetCopyRate("max");
  const CommandResult result = reader.Finish(20'000);
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.output, "available\n");
}

// A source can be renamed, grown and written while it is copied. Deleting it in any way is EBUSY
// (contract.md 5.8, T6, T10).
TEST_F(CloneTest, SourceCanBeRenamedButNotDeleted) {
  const std::vector<std::byte> bytes = MakeStalledClone();
  EXPECT_EQ(ErrnoOf(::unlink(Volume("db.img").c_str())), EBUSY);
  EXPECT_EQ(Ask("delete", "db.img"), EBUSY);
  EXPECT_EQ(ErrnoOf(::unlink(Path("nodes/a/db.img").c_str())), EBUSY);
  EXPECT_TRUE(Exists(Volume("db.img")));
  EXPECT_EQ(ErrnoOf(::rename(Volume("db.img").c_str(), Volume("new.img").c_str())), 0);
  EXPECT_EQ(ErrnoOf(::rename(Volume("db-clone.img").c_str(), Volume("copy").c_str())), 0);
  EXPECT_EQ(Field("copy", "source"), "new.img") << "as it is called now";
  EXPECT_EQ(Ask("delete", "new.img"), EBUSY);
  EXPECT_EQ(Ask("clone", "new.img again"), EBUSY) << "a new name does not unlock it";
  EXPECT_EQ(Field("new.img", "status"), "available");
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("copy", "available"));
  EXPECT_TRUE(ReadBytes(Volume("copy")) == bytes);
  EXPECT_EQ(Ask("delete", "new.img"), 0);
  EXPECT_TRUE(ReadBytes(Volume("copy")) == bytes) << "without its source";
}

// Cancelling or deleting a clone stops the copy and leaves no name, no layer and no hold on the
// source. It is EBUSY while the clone is open for writing. Cancelling any other volume is EINVAL
// (contract.md 5.9, T11).
TEST_F(CloneTest, CancelLeavesNothing) {
  MakeStalledClone();
  {
    const TestFile writer(Volume("db-clone.img"));
    EXPECT_EQ(Field("db-clone.img", "status"), "creating") << "though it is open (T19)";
    EXPECT_EQ(Field("db-clone.img", "attachments"), "1");
    EXPECT_EQ(Ask("cancel", "db-clone.img"), EBUSY);
    EXPECT_EQ(Ask("delete", "db-clone.img"), EBUSY);
  }
  EXPECT_EQ(Ask("cancel", "db.img"), EINVAL);
  EXPECT_EQ(Ask("cancel", "nosuch"), ENOENT);
  EXPECT_TRUE(Exists(Volume("db.img")));
  ASSERT_EQ(Ask("cancel", "db-clone.img"), 0);
  EXPECT_FALSE(Exists(Volume("db-clone.img")));
  EXPECT_EQ(Layers("b").size(), 0U);
  ASSERT_EQ(Ask("clone", "db.img"), 0) << "the source stays locked";
  ASSERT_EQ(ErrnoOf(::unlink(Volume("db-clone.img").c_str())), 0) << "deleting is cancelling";
  EXPECT_EQ(Layers("b").size(), 0U);
  EXPECT_EQ(Ask("delete", "db.img"), 0);
  EXPECT_EQ(Layers("a").size(), 0U);
  Remount();
  EXPECT_EQ(ListOf(Path("volumes")).size(), 0U);
}

// A copy rate holds within a second, 0 pauses, and a remount remembers it. The clone then continues
// where it was. Progress never decreases, and is 100.00 only when the clone is available
// (contract.md 4, 5.10, T34, T39).
TEST_F(CloneTest, CopyRateCapsAndPausesAndIsRemembered) {
  Mount();
  SetCopyRate("4M");
  const std::vector<std::byte> bytes = MakeVolume("db.img", 16 * kMiB, 16 * kMiB);
  ASSERT_EQ(Ask("clone", "db.img copy"), 0);
  SleepMs(1500);
  EXPECT_LT(Number("copy", "copied_bytes"), 10 * kMiB);
  EXPECT_GT(Number("copy", "rate_bytes"), kMiB);
  EXPECT_LT(Number("copy", "rate_bytes"), 16 * kMiB);
  SetCopyRate("0");
  SleepMs(1600);  // copied bytes are reported when they are committed
  const uint64_t paused = Number("copy", "copied_bytes");
  EXPECT_GT(paused, 0U);
  SleepMs(500);
  EXPECT_EQ(Number("copy", "copied_bytes"), paused) << "it does not pause";
  Remount();
  EXPECT_EQ(ReadText(Path("control/limits/copy_rate")), "0\n");
  EXPECT_GE(Number("copy", "copied_bytes"), paused) << "it begins anew";
  EXPECT_EQ(Field("copy", "status"), "creating");
  EXPECT_NE(Field("copy", "hydrated"), "100.00");
  EXPECT_EQ(Number("copy", "total_bytes"), 16 * kMiB);
  EXPECT_LE(Number("copy", "copied_bytes"), paused + kMiB)
      << "the pause was not remembered in time";
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("copy", "available"));
  EXPECT_EQ(Field("copy", "hydrated"), "100.00");
  EXPECT_TRUE(ReadBytes(Volume("copy")) == bytes);
}

// A remembered pause holds from the first moment of a mount. Even a very small clone is not copied
// (contract.md 4).
TEST_F(CloneTest, PauseHoldsFromTheFirstMomentOfAMount) {
  MakeStalledClone();
  for (int i = 0; i < 8; ++i) {
    Remount();
    ASSERT_EQ(Field("db-clone.img", "status"), "creating") << "remount " << i;
    ASSERT_EQ(Number("db-clone.img", "copied_bytes"), 0U) << "remount " << i;
  }
}

// One clone can be paused alone, also over a crash. Other clones are copied meanwhile, through the
// only place that copy_jobs leaves (contract.md 5.10, T39).
TEST_F(CloneTest, HasACopyRateOfItsOwn) {
  Mount();
  SetCopyRate("0");
  MustRun("echo 1 > " + Path("control/limits/copy_jobs"));
  const std::vector<std::byte> bytes = MakeVolume("db.img", 4 * kMiB, 4 * kMiB);
  MakeVolume("other", 4 * kMiB, 4 * kMiB);
  ASSERT_EQ(Ask("clone", "db.img copy"), 0);
  const std::string rate = Path("control/volumes/copy/copy_rate");
  MustRun("echo 0 > " + rate);
  EXPECT_EQ(ReadText(rate), "0\n");
  EXPECT_EQ(Ask("volumes/db.img/copy_rate", "1M"), EINVAL) << "it is no clone";
  SetCopyRate("max");
  KillAndMount();
  EXPECT_EQ(ReadText(rate), "0\n");
  ASSERT_EQ(Ask("clone", "other x"), 0);
  EXPECT_TRUE(WaitForStatus("x", "available"));
  EXPECT_EQ(Field("copy", "status"), "creating");
  EXPECT_EQ(Number("copy", "copied_bytes"), 0U);
  EXPECT_EQ(Field("copy", "eta_seconds"), "unknown");
  EXPECT_NE(Field("copy", "error"), "");
  MustRun("echo 100M > " + rate);
  ASSERT_TRUE(WaitForStatus("copy", "available"));
  EXPECT_EQ(ReadText(rate), "max\n");
  EXPECT_TRUE(ReadBytes(Volume("copy")) == bytes);
}

// A clone of a snapshot shows the snapshot's contents, takes the snapshot's lock and not the
// volume's, and is named after the volume (contract.md 5.7, 5.14).
TEST_F(CloneTest, OfASnapshotTakesItsLockOnly) {
  Mount();
  const std::vector<std::byte> bytes = MakeVolume("db.img", 4 * kMiB, kMiB);
  ASSERT_EQ(Ask("snapshot", "db.img s"), 0);
  MustRun("head -c 100000 /dev/urandom | dd of=" + Volume("db.img") + " conv=notrunc status=none");
  SetCopyRate("0");
  ASSERT_EQ(Ask("clone", "db.img@s"), 0);
  EXPECT_EQ(Field("db-clone.img", "source"), "db.img@s");
  EXPECT_EQ(Ask("clone", "db.img@s again"), EBUSY);
  EXPECT_EQ(Ask("delete", "db.img@s"), EBUSY);
  EXPECT_EQ(Ask("snapshot", "db.img s2"), 0) << "the volume is not locked";
  EXPECT_TRUE(ReadBytes(Volume("db-clone.img")) == bytes);
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("db-clone.img", "available"));
  EXPECT_TRUE(ReadBytes(Volume("db-clone.img")) == bytes);
  ASSERT_EQ(Ask("restore", "db.img@s twin linked=1"), 0);
  EXPECT_TRUE(ReadBytes(Volume("twin")) == bytes);
  EXPECT_EQ(Ask("delete", "db.img@s"), 0);
  EXPECT_TRUE(ReadBytes(Volume("twin")) == bytes) << "without its snapshot";
}

// A retry with the same id= returns the first request's result. With other words it is EINVAL
// (contract.md 6).
TEST_F(CloneTest, TokenMakesARetryHarmless) {
  Mount();
  SetCopyRate("0");
  MakeVolume("db.img", kMiB, 8192);
  const AskResult first = AskForReply("clone", "db.img copy id=T1");
  ASSERT_EQ(first.error, 0);
  const AskResult second = AskForReply("clone", "db.img copy id=T1");
  EXPECT_EQ(second.error, 0);
  EXPECT_EQ(second.reply, first.reply);
  EXPECT_EQ(Ask("clone", "db.img other id=T1"), EINVAL);
  Remount();
  EXPECT_EQ(Ask("clone", "db.img copy id=T1"), 0) << "after a remount";
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("copy", "available"));
  EXPECT_EQ(Ask("clone", "db.img copy id=T1"), 0) << "when it is whole";
  EXPECT_EQ(Ask("delete", "copy"), 0);
  EXPECT_EQ(Ask("clone", "db.img copy id=T1"), 0) << "its clone is gone: it is a new request";
}

// The clone has its source's mode, without setuid, setgid and sticky, and its mtime. Making and
// copying it changes neither of the source's (contract.md 5.6, 5.8, T18, T29).
TEST_F(CloneTest, HasItsSourcesModeAndTime) {
  Mount();
  const std::vector<std::byte> bytes = MakeVolume("db.img", 2 * kMiB, kMiB);
  MustRun("chmod 0751 " + Volume("db.img") + " && touch -d '2001-02-03 04:05:06.5 UTC' " +
          Volume("db.img"));
  const struct stat source = StatOf(Volume("db.img"));
  SetCopyRate("0");
  MustAsk("clone", "db.img copy");
  const auto expect_as_it_was = [&](const std::string& name) {
    const struct stat st = StatOf(Volume(name));
    EXPECT_EQ(st.st_mode & 07777, 0751U) << name;
    EXPECT_EQ(st.st_mtim.tv_sec, source.st_mtim.tv_sec) << name;
    EXPECT_EQ(st.st_mtim.tv_nsec, source.st_mtim.tv_nsec) << name;
  };
  expect_as_it_was("copy");
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("copy", "available"));
  expect_as_it_was("copy");
  expect_as_it_was("db.img");
  EXPECT_EQ(StatOf(Volume("db.img")).st_ctim.tv_nsec, source.st_ctim.tv_nsec);
  EXPECT_EQ(Field("db.img", "status"), "available");
}

// For SEEK_DATA and st_blocks, bytes that are not copied yet are data, so that no tool takes them
// for a hole. A range that the clone has discarded is a hole (contract.md 4, T28, T29).
TEST_F(CloneTest, ShowsWhatIsNotCopiedYetAsData) {
  Mount();
  SetCopyRate("0");
  MakeVolume("db.img", 4 * kMiB, kMiB);
  MustAsk("clone", "db.img copy");
  EXPECT_EQ(DataRangesOf(Volume("copy")), DataRangesOf(Volume("db.img")));
  EXPECT_GE(StatOf(Volume("copy")).st_blocks * 512, static_cast<off_t>(kMiB));
  MustRun("cp --sparse=always " + Volume("copy") + " " + directory() + "/plain");
  EXPECT_EQ(RunShell("cmp " + directory() + "/plain " + Volume("db.img")).output, "");
  const TestFile file(Volume("copy"));
  ASSERT_EQ(file.Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 65536), 0);
  EXPECT_EQ(DataRangesOf(Volume("copy")), (std::vector<DataRange>{{65536, kMiB}}));
}

// Clones of different sources are copied side by side (contract.md 5.7).
TEST_F(CloneTest, OfDifferentSourcesGoOnSideBySide) {
  Mount();
  const std::vector<std::byte> one = MakeVolume("one", 8 * kMiB, 8 * kMiB);
  const std::vector<std::byte> two = MakeVolume("two", 8 * kMiB, 8 * kMiB);
  SetCopyRate("3M");
  MustAsk("clone", "one");
  MustAsk("clone", "two");
  const auto both_are_under_way = [&] {
    return Number("one-clone", "copied_bytes") > 0 && Number("two-clone", "copied_bytes") > 0;
  };
  for (int i = 0; i < 500 && !both_are_under_way(); ++i) {
    SleepMs(20);
  }
  EXPECT_EQ(Field("one-clone", "status"), "creating");
  EXPECT_EQ(Field("two-clone", "status"), "creating");
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("one-clone", "available"));
  ASSERT_TRUE(WaitForStatus("two-clone", "available"));
  EXPECT_TRUE(ReadBytes(Volume("one-clone")) == one);
  EXPECT_TRUE(ReadBytes(Volume("two-clone")) == two);
}

// A whole clone is a volume like any other: it is renamed, grown, snapshotted, cloned and deleted.
// So is its source, and neither hinders the other (contract.md 5.13, T31).
TEST_F(CloneTest, IsAVolumeLikeAnyOther) {
  Mount();
  std::vector<std::byte> bytes = MakeVolume("db.img", kMiB, kMiB);
  MustAsk("clone", "db.img copy");
  ASSERT_TRUE(WaitForStatus("copy", "available"));
  EXPECT_EQ(Field("copy", "source"), "");
  ASSERT_EQ(ErrnoOf(::rename(Volume("copy").c_str(), Volume("new").c_str())), 0);
  MustAsk("snapshot", "new s");
  ASSERT_EQ(ErrnoOf(::truncate(Volume("new").c_str(), 2 * kMiB)), 0);
  bytes.resize(2 * kMiB);
  MustAsk("clone", "new third");
  ASSERT_TRUE(WaitForStatus("third", "available"));
  EXPECT_EQ(Field("third", "node"), "a");
  MustAsk("delete", "db.img");
  EXPECT_TRUE(ReadBytes(Volume("new")) == bytes);
  MustAsk("delete", "new@s");
  MustAsk("delete", "new");
  EXPECT_TRUE(ReadBytes(Volume("third")) == bytes);
  MustAsk("delete", "third");
  EXPECT_EQ(Layers("a").size() + Layers("b").size(), 0U);
}

// Of several errors in one request the first in this order is reported: form, source, right, lock,
// name, size, node, room (contract.md 6).
TEST_F(CloneTest, TheFirstFailureWins) {
  MakeStalledClone();
  EXPECT_EQ(Ask("clone", "nosuch db.img size=1 node=c colour=red"), EINVAL);
  EXPECT_EQ(Ask("clone", "nosuch db.img size=1 node=c"), ENOENT);
  EXPECT_EQ(Ask("clone", "db.img db.img size=1 node=c"), EBUSY);
  EXPECT_EQ(Ask("cancel", "db-clone.img"), 0);
  EXPECT_EQ(Ask("clone", "db.img db.img size=1 node=c"), EEXIST);
  EXPECT_EQ(Ask("clone", "db.img x size=1 node=c"), ERANGE);
  EXPECT_EQ(Ask("clone", "db.img x node=c"), ENODEV);
  EXPECT_EQ(Ask("clone", "db.img x"), 0);
}

}  // namespace
}  // namespace volfs
