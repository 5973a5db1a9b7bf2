// Goal: kill -9 of the daemon at any moment loses nothing that was acknowledged, and the next mount
// needs no repair.
// Method: kills at random moments under several kinds of work, each over the remains of the kills
// before. Together the tests kill at least 50 times. `volfs check` reads the remains before each
// mount.
//
// The page cache of the node's filesystem survives the daemon, so an unsynced write may be there or
// not. Only the simulation loses them (T23, T35, T44).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "tests/mount/mount_fixture.h"
#include "tests/support/block_load.h"

namespace volfs {
namespace {

constexpr int kMountLimitMs = 10'000;

class CrashTest : public MountTest {
 protected:
  void KillAfter(uint64_t min_ms, uint64_t max_ms) {
    SleepMs(min_ms + random_() % (max_ms - min_ms));
    Kill();
  }

  void TearDown() override {
    // After an orderly unmount the check finds nothing.
    if (!IsSkipped() && !HasFailure()) {
      if (pid() != 0) Unmount();
      ExpectCheckFindsNoDamage();
    }
    MountTest::TearDown();
  }

  // Mounts again over the dead mount without a repair, because a kill leaves the store in order.
  void MountAgain() {
    ExpectCheckFindsNoDamage();
    const auto start = std::chrono::steady_clock::now();
    Mount();
    const auto took = std::chrono::steady_clock::now() - start;
    EXPECT_LT(std::chrono::duration_cast<std::chrono::milliseconds>(took).count(), kMountLimitMs);
  }

  void MakeImage(const std::string& name, uint64_t size_bytes) {
    MustRun("truncate -s " + std::to_string(size_bytes) + " " + Volume(name));
  }

  // Returns false if the daemon was killed meanwhile.
  [[nodiscard]] bool FollowUntilAvailable(const std::string& name) const {
    try {
      return WaitForStatus(name, "available");
    } catch (const std::runtime_error&) {
      return false;
    }
  }

  uint64_t Random() { return random_(); }

 private:
  // Notes are allowed: leftovers that the next mount frees.
  void ExpectCheckFindsNoDamage() const {
    const CommandResult check =
        Volfs("check " + Quoted(NodePath("a")) + " " + Quoted(NodePath("b")));
    EXPECT_EQ(check.exit_code, 0) << check.output;
    EXPECT_THAT(check.output, testing::EndsWith("a, b: nothing is wrong\n"));
  }

  std::mt19937_64 random_{std::random_device{}()};
};

// A daemon that is killed while idle, right after an unsynced write or right after mounting loses
// no name, content, attribute or limit (contract.md 7.3).
TEST_F(CrashTest, IdleLosesNothing) {
  constexpr int kKills = 6;
  Mount();
  MakeImage("db.img", kMiB);
  SetCopyRate("12345");
  MustRun("chmod 640 " + Volume("db.img"));
  const uint64_t inode = StatOf(Volume("db.img")).st_ino;
  std::string expected;
  for (int round = 0; round < kKills; ++round) {
    SCOPED_TRACE("kill " + std::to_string(round));
    const std::string word = "round " + std::to_string(round) + "\n";
    const std::string name = "v" + std::to_string(round);
    MustRun("printf %s '" + word + "' | dd of=" + Volume("db.img") +
            " oflag=append conv=notrunc,fsync status=none");
    expected += word;
    ASSERT_EQ(Ask("create", name + " 1M"), 0);
    Kill();
    EXPECT_FALSE(Exists(Volume("db.img"))) << "a dead mount answers";
    MountAgain();
    EXPECT_EQ(ReadText(Volume("db.img")).substr(kMiB), expected);
    EXPECT_EQ(ListOf(Path("volumes")).size(), static_cast<size_t>(round) + 2);
    const struct stat st = StatOf(Volume("db.img"));
    EXPECT_EQ(st.st_mode & 0777, 0640U);
    EXPECT_EQ(st.st_ino, inode);
    EXPECT_EQ(ReadText(Path("control/limits/copy_rate")), "12345\n");
  }
}

// A time that a program has set is durable once stat(2) shows it, as a mode is.
TEST_F(CrashTest, ATimeThatWasSetIsKept) {
  constexpr time_t kLongAgo = 946'684'800;
  Mount();
  MakeImage("db.img", kMiB);
  for (time_t round = 1; round <= 4; ++round) {
    TestFile open(Volume("db.img"));  // so that no close saves it
    const timespec times[] = {{kLongAgo + round, 1}, {kLongAgo + 100 * round, 2}};
    ASSERT_EQ(ErrnoOf(round % 2 == 0 ? ::futimens(open.fd(), times)
                                     : ::utimensat(AT_FDCWD, Volume("db.img").c_str(), times, 0)),
              0);
    Kill();
    (void)open.Close();
    MountAgain();
    const struct stat st = StatOf(Volume("db.img"));
    EXPECT_EQ(st.st_atim.tv_sec, kLongAgo + round);
    EXPECT_EQ(st.st_mtim.tv_sec, kLongAgo + 100 * round);
    EXPECT_EQ(st.st_mtim.tv_nsec, 2);
  }
}

// A daemon is killed under the fsynced writes of four threads. Every block is then as acknowledged
// by fsync or newer, unsynced blocks are old or new sector by sector, and no later state is older
// (contract.md 7.1).
TEST_F(CrashTest, FsyncedWritesAreThere) {
  constexpr int kKills = 16;
  constexpr uint64_t kBlocks = 1024;
  Mount();
  MakeImage("db.img", kBlocks * kPatternBlockBytes);
  BlockLoad load({.path = Volume("db.img"), .blocks = kBlocks, .sync_every = 5, .seed = Random()});
  for (int round = 0; round < kKills; ++round) {
    SCOPED_TRACE("kill " + std::to_string(round));
    load.Start();
    KillAfter(10, 150);
    const int error = load.Stop();
    // The kernel writes on by itself if it serves the volume.
    if (!NativeByDefault()) {
      EXPECT_NE(error, 0) << "the writers did not notice the kill";
    }
    MountAgain();
    ASSERT_EQ(load.CheckAfterCrash(ReadBytes(Volume("db.img"))), "");
  }
  EXPECT_GT(load.writes(), 200U) << "too little load to prove anything";
}

// A daemon is killed while snapshots are made and deleted under fsynced writes. Every acknowledged
// snapshot is there and holds one snapshot point of its request. An unacknowledged one is absent or
// such a snapshot as well. Deleted ones stay absent (T22, T44, R9).
TEST_F(CrashTest, AcknowledgedSnapshotsHoldTheirInstant) {
  constexpr int kKills = 10;
  constexpr uint64_t kBlocks = 256;
  struct Moments {
    uint64_t asked = 0;
    uint64_t answered = 0;  // 0: the answer never came
    bool deleting = false;
  };
  Mount();
  MakeImage("db.img", kBlocks * kPatternBlockBytes);
  BlockLoad load({.path = Volume("db.img"),
                  .blocks = kBlocks,
                  .writers = 2,
                  .sync_every = 10,
                  .seed = Random()});
  ASSERT_EQ(load.Fill(), 0);
  int number = 0;
  int checked = 0;
  for (int round = 0; round < kKills; ++round) {
    SCOPED_TRACE("kill " + std::to_string(round));
    std::map<std::string, Moments> snapshots;
    load.Start();
    std::thread snapshotter([&] {
      for (;;) {
        const std::string name = "s" + std::to_string(number++);
        Moments& moments = snapshots[name];
        moments.asked = load.Now();
        if (Ask("snapshot", "db.img " + name) != 0) return;
        moments.answered = load.Now();
        if (number % 3 == 0) continue;  // two of three are deleted at once
        moments.deleting = true;
        if (Ask("delete", "db.img@" + name) != 0) return;
        snapshots.erase(name);
      }
    });
    KillAfter(30, 150);
    load.Stop();
    snapshotter.join();
    MountAgain();
    const uint64_t now = load.Now();
    // The check runs before the undone writes are forgotten, because snapshots may hold them.
    for (const auto& [name, moments] : snapshots) {
      const std::string path = Path("snapshots/db.img/" + name);
      if (!Exists(path)) {
        EXPECT_TRUE(moments.answered == 0 || moments.deleting) << name << " is lost";
        continue;
      }
      const uint64_t answered = moments.answered == 0 ? now : moments.answered;
      ASSERT_EQ(load.CheckSnapshotPoint(ReadBytes(path), moments.asked, answered), "") << name;
      ++checked;
    }
    for (const std::string& directory : ListOf(Path("snapshots"))) {
      for (const std::string& name : ListOf(Path("snapshots/" + directory))) {
        EXPECT_TRUE(snapshots.contains(name)) << name << " was deleted and is back";
        EXPECT_EQ(Ask("delete", directory + "@" + name), 0);
      }
    }
    ASSERT_EQ(load.CheckAfterCrash(ReadBytes(Volume("db.img"))), "");
  }
  EXPECT_GE(checked, kKills / 2) << "too few snapshots to prove anything";
}

// A daemon is killed while it copies a clone that is written to meanwhile, and the copy continues
// where it was. The number of copied bytes never decreases, each sector of clone and source is as
// synced or newer, and in the end the clone is available, right, and whole without its source (R1,
// R2, T35, T44).
TEST_F(CrashTest, HydrationGoesOnFromWhereItWas) {
  constexpr int kKills = 12;
  constexpr uint64_t kBlocks = 4096;
  Mount();
  MakeImage("db.img", kBlocks * kPatternBlockBytes);
  BlockLoad source({.path = Volume("db.img"),
                    .blocks = kBlocks,
                    .writers = 1,
                    .sync_every = 20,
                    .pause_us = 2000,
                    .seed = Random()});
  ASSERT_EQ(source.Fill(), 0);
  SetCopyRate("0");
  // The clone begins as its source, so it holds the same writes.
  ASSERT_EQ(Ask("clone", "db.img copy"), 0);
  BlockLoad clone({.path = Volume("copy"),
                   .blocks = kBlocks,
                   .writers = 2,
                   .sync_every = 20,
                   .pause_us = 2000,
                   .seed = Random(),
                   .begins_as = &source});
  SetCopyRate("1M");
  uint64_t copied = 0;
  int creating = 0;  // kills during `creating`
  for (int round = 0; round < kKills; ++round) {
    SCOPED_TRACE("kill " + std::to_string(round));
    source.Start();
    clone.Start();
    SleepMs(Random() % 150);
    const std::string status = Field("copy", "status");
    const uint64_t before = Number("copy", "copied_bytes");
    KillAfter(1, 100);
    source.Stop();
    clone.Stop();
    MountAgain();
    const uint64_t after = Number("copy", "copied_bytes");
    if (status == "creating" && Field("copy", "status") == "creating") {
      ++creating;
      EXPECT_GE(before, copied) << "the progress went backwards";
      EXPECT_GE(after, before) << "the progress went backwards over the kill";
      copied = after;
    } else {
      EXPECT_TRUE(status == "creating" || Field("copy", "status") != "creating")
          << "not whole again";
    }
    ASSERT_EQ(clone.CheckAfterCrash(ReadBytes(Volume("copy"))), "") << "the clone";
    ASSERT_EQ(source.CheckAfterCrash(ReadBytes(Volume("db.img"))), "") << "the source";
  }
  EXPECT_GE(creating, kKills / 2) << "too few kills have met a clone that is being copied";
  EXPECT_GT(copied, 0U) << "no progress was ever kept";
  SetCopyRate("max");
  ASSERT_TRUE(WaitForStatus("copy", "available"));
  Unmount();
  std::filesystem::rename(NodePath("a"), NodePath("away"));
  Mount({"b"});
  EXPECT_EQ(clone.CheckNewest(ReadBytes(Volume("copy"))), "") << "without the source's node";
  Unmount();
  std::filesystem::rename(NodePath("away"), NodePath("a"));
}

// A daemon is killed while clones are requested, cancelled and finished in a loop. Each
// acknowledged clone is there, each cancelled one is gone, and no source stays locked (T22, T44).
TEST_F(CrashTest, ClonesAreMadeOrNotAtAll) {
  constexpr int kKills = 10;
  Mount();
  MakeImage("db.img", 2 * kMiB);
  MustRun("head -c 2M /dev/urandom | dd of=" + Volume("db.img") +
          " conv=notrunc,fsync status=none");
  const std::vector<std::byte> bytes = ReadBytes(Volume("db.img"));
  std::string acknowledged;  // the clone that must be there
  std::string in_doubt;      // the one whose fate is unknown
  int number = 0;
  for (int round = 0; round < kKills; ++round) {
    SCOPED_TRACE("kill " + std::to_string(round));
    std::thread cloner([&] {
      for (;;) {
        const std::string name = "c" + std::to_string(number++);
        in_doubt = name;
        if (Ask("clone", "db.img " + name) != 0) return;
        acknowledged = name;
        if (number % 2 == 0) {
          if (!FollowUntilAvailable(name)) return;
        }
        acknowledged.clear();
        if (Ask("delete", name) != 0) return;
      }
    });
    KillAfter(20, 200);
    cloner.join();
    MountAgain();
    for (const std::string& name : ListOf(Path("volumes"))) {
      if (name == "db.img") continue;
      EXPECT_EQ(name, in_doubt) << "a deleted clone is back";
      EXPECT_TRUE(ReadBytes(Volume(name)) == bytes) << name;
      EXPECT_TRUE(WaitForStatus(name, "available")) << Field(name, "error");
      EXPECT_TRUE(ReadBytes(Volume(name)) == bytes) << name << " when it is whole";
      EXPECT_EQ(Ask("delete", name), 0);
      if (name == acknowledged) acknowledged.clear();
    }
    EXPECT_EQ(acknowledged, "") << "an acknowledged clone is lost";
    acknowledged.clear();
    // The mount does not wait: the background frees unreachable layers.
    for (int i = 0; i < 500 && !ListOf(NodePath("b") + "/layers").empty(); ++i) SleepMs(10);
    EXPECT_EQ(ListOf(NodePath("b") + "/layers").size(), 0U) << "space of clones that are gone";
  }
  EXPECT_TRUE(ReadBytes(Volume("db.img")) == bytes);
  EXPECT_GE(number, kKills) << "too few clones to prove anything";
}

// The changes that one thread of the next test has made to its own names.
class Namer {
 public:
  Namer(const std::string& directory, const std::string& control, int number)
      : folder_(directory), control_(control), prefix_("t" + std::to_string(number) + "-") {}

  // Creates, renames and deletes until the daemon is gone.
  void Work(uint64_t seed) {
    std::mt19937_64 random(seed);
    while (Step(random)) {
    }
  }

  // Returns one line for each fault in the present names, which are the known state from now on.
  std::string Check(const std::vector<std::string>& all) {
    std::string complaints;
    std::set<std::string> found;
    for (const std::string& name : all) {
      if (!name.starts_with(prefix_)) continue;
      found.insert(name);
      if (!known_.contains(name) && !doubtful_.contains(name)) {
        complaints += name + " was deleted, or never made\n";
      }
    }
    for (const std::string& name : known_) {
      if (!found.contains(name) && !doubtful_.contains(name)) complaints += name + " is lost\n";
    }
    for (const std::string& name : found) {
      if (const std::string wrong = CheckContents(name); !wrong.empty()) complaints += wrong;
    }
    known_ = found;
    doubtful_.clear();
    return complaints;
  }

  [[nodiscard]] int done() const { return done_; }

 private:
  static constexpr uint64_t kBytes = 64 * 1024;

  bool Step(std::mt19937_64& random) {
    const std::string name = prefix_ + std::to_string(next_++);
    const std::string old = known_.empty() ? "" : *known_.begin();
    const uint64_t kind = known_.size() > 6 ? 3 + random() % 2 : random() % 5;
    if (kind >= 2 && old.empty()) return true;
    doubtful_ = {name, old};
    int error = 0;
    switch (kind) {
      case 0:
        error = CreateFile(name);
        break;
      case 1:
        error = WriteText(control_ + "/create", name + " 64K\n");
        break;
      case 2:
        error = ErrnoOf(::rename((folder_ + "/" + old).c_str(), (folder_ + "/" + name).c_str()));
        break;
      case 3:
        error = ErrnoOf(::unlink((folder_ + "/" + old).c_str()));
        break;
      default:
        error = WriteText(control_ + "/delete", old + "\n");
        break;
    }
    if (error != 0) return false;
    if (kind <= 2) known_.insert(name);
    if (kind >= 2) known_.erase(old);
    doubtful_.clear();
    ++done_;
    return true;
  }

  // Writes contents of the file's own, so that a block that another volume gets later would show.
  int CreateFile(const std::string& name) const {
    const TestFile file(folder_ + "/" + name, O_RDWR | O_CREAT | O_EXCL);
    if (!file.ok()) return file.open_error();
    const std::vector<std::byte> bytes(kBytes, static_cast<std::byte>(prefix_[1]));
    return file.WriteAt(0, bytes);
  }

  // Accepts zeros and the own thread's bytes, never another volume's (contract.md 7.2).
  [[nodiscard]] std::string CheckContents(const std::string& name) const {
    for (const std::byte byte : ReadBytes(folder_ + "/" + name)) {
      if (byte == std::byte{0} || byte == static_cast<std::byte>(prefix_[1])) continue;
      return name + " holds another volume's bytes\n";
    }
    return "";
  }

  const std::string folder_;
  const std::string control_;
  const std::string prefix_;
  std::set<std::string> known_;
  std::set<std::string> doubtful_;  // being changed when the daemon died
  int next_ = 0;
  int done_ = 0;
};

// A daemon is killed while three threads create, rename and delete volumes through files and
// requests. Acknowledged creates and renames are there and acknowledged deletes are gone. No volume
// ever holds another's bytes (contract.md 4, 7.2; T5).
TEST_F(CrashTest, AcknowledgedNamesAreThereAndDeletedOnesAreNot) {
  constexpr int kKills = 12;
  constexpr int kThreads = 3;
  Mount();
  std::vector<Namer> namers;
  for (int i = 0; i < kThreads; ++i) namers.emplace_back(Path("volumes"), Path("control"), i);
  for (int round = 0; round < kKills; ++round) {
    SCOPED_TRACE("kill " + std::to_string(round));
    std::vector<std::thread> threads;
    for (Namer& namer : namers) {
      threads.emplace_back([&namer, seed = Random()] { namer.Work(seed); });
    }
    KillAfter(10, 150);
    for (std::thread& thread : threads) thread.join();
    MountAgain();
    const std::vector<std::string> names = ListOf(Path("volumes"));
    for (Namer& namer : namers) EXPECT_EQ(namer.Check(names), "");
    const std::string layers = NodePath("a") + "/layers";  // freed in the background, too
    for (int i = 0; i < 500 && ListOf(layers).size() != names.size(); ++i) SleepMs(10);
    EXPECT_EQ(ListOf(layers).size(), names.size()) << "layers without a volume";
  }
  int done = 0;
  for (const Namer& namer : namers) done += namer.done();
  EXPECT_GT(done, kKills) << "too little was done to prove anything";
}

// A size that was set through a file is durable within 5 s, without an fsync. If the daemon dies
// earlier, the size is the one before (contract.md 4).
TEST_F(CrashTest, ASizeIsDurableSoonAfterItWasSet) {
  constexpr int kSoonMs = 5000;
  constexpr int kMoreMs = 500;  // for the commit itself
  Mount();
  MustRun("truncate -s 1M " + Volume("v") + " && sync " + Volume("v"));
  MustRun("truncate -s 5M " + Volume("v"));
  SleepMs(kSoonMs + kMoreMs);
  KillAndMount();
  EXPECT_EQ(StatOf(Volume("v")).st_size, 5 << 20);
}

}  // namespace
}  // namespace volfs
