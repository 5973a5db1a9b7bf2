// Goal: an acknowledged commit is there after any end of the process, whole, in the order of the
// commits. Names are unique. Two daemons never share a catalog.
#include "blockstore/catalog/catalog.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/blockstore/catalog/catalog_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;

class CatalogTest : public CatalogFixture {};

CloneRecord TestClone(uint64_t n) {
  return {.clone = TestId(n),
          .state = CloneState::kCopying,
          .name = "",
          .source_name = "db.img@monday",
          .source_node = "node-b",
          .source_node_name = "beta",
          .source_layer = TestId(9),
          .source_bytes = 1 << 20,
          .total_bytes = 4096,
          .total_known = true,
          .copied_bytes = 4096,
          .cursor_block = uint64_t{1} << 40,
          .error = "the source is away\n"};
}

TEST_F(CatalogTest, KeepsEveryFieldOfEveryRecord) {
  Create();
  NodeRecord node = TestNode();
  node.generation = 7;
  std::swap(node.types[0], node.types[1]);
  const PeerRecord peer{"uuid-b", "beta", "/srv/node b\xff", 12};
  const LayerRecord layer = TestLayer(kLayerId);
  VolumeRecord volume = TestVolume(5, "db.img");
  volume.attributes = {1000, 4294967295U, 0640, -1, 2, 3};
  const SnapshotRecord snapshot{TestId(6), TestId(5), "monday", kLayerId, 123, -9, {}};
  const HoldRecord hold{TestId(8), "node-b", "copy.img", kLayerId, TestId(5), kNoId};
  const CloneRecord clone = TestClone(10);
  Commit({PutNode{node}, PutPeer{peer}, PutLayer{layer}, PutVolume{volume}, PutSnapshot{snapshot},
          PutHold{hold}, PutClone{clone}, PutSetting{"copy_bytes_per_second", "0"}});
  for (const bool reopened : {false, true}) {
    SCOPED_TRACE(reopened);
    if (reopened) Reopen();
    const CatalogContents found = Load();
    EXPECT_EQ(found.node, node);
    EXPECT_EQ(found.peers, std::vector{peer});
    EXPECT_EQ(found.layers, std::vector{layer});
    EXPECT_EQ(found.volumes, std::vector{volume});
    EXPECT_EQ(found.snapshots, std::vector{snapshot});
    EXPECT_EQ(found.holds, std::vector{hold});
    EXPECT_EQ(found.clones, std::vector{clone});
    ASSERT_EQ(found.settings.size(), 1U);
    EXPECT_EQ(found.settings[0].second, "0");
    EXPECT_TRUE(catalog_->Verify().ok());
  }
}

TEST_F(CatalogTest, PutReplacesByKeyAndDeleteForgets) {
  Create();
  Commit({PutVolume{TestVolume(5, "a")}, PutPeer{{"uuid-b", "beta", "/b", 1}},
          PutHold{{TestId(8), "n", "c", kLayerId, TestId(5), kNoId}}, PutClone{TestClone(10)},
          PutSnapshot{{TestId(6), TestId(5), "s", kLayerId, 1, 1, {}}}});
  VolumeRecord renamed = TestVolume(5, "b");
  renamed.head = kNoId;
  Commit({PutVolume{renamed}});
  EXPECT_EQ(Load().volumes, std::vector{renamed});
  Commit({DeleteVolume{TestId(5)}, DeletePeer{"uuid-b"}, DeleteHold{TestId(8)},
          DeleteClone{TestId(10)}, DeleteSnapshot{TestId(6)}, DeleteVolume{TestId(99)}});
  const CatalogContents found = Load();
  EXPECT_TRUE(found.volumes.empty() && found.peers.empty() && found.holds.empty() &&
              found.clones.empty() && found.snapshots.empty());
}

TEST_F(CatalogTest, AVolumeNameIsUnique) {
  Create();
  Commit({PutVolume{TestVolume(5, "db.img")}});
  EXPECT_EQ(Outcome(catalog_->Commit({PutVolume{TestVolume(6, "db.img")}})), Word(Errc::kExists));
  CloneRecord intent = TestClone(7);
  intent.state = CloneState::kIntent;
  intent.name = "db.img";
  EXPECT_EQ(Outcome(catalog_->Commit({PutClone{intent}})), Word(Errc::kExists));
  EXPECT_FALSE(catalog_->fenced());
  Commit({DeleteVolume{TestId(5)}, PutVolume{TestVolume(6, "db.img")}});
}

TEST_F(CatalogTest, AnIntentReservesItsNameUntilItBecomesAVolume) {
  Create();
  CloneRecord intent = TestClone(7);
  intent.state = CloneState::kIntent;
  intent.name = "copy.img";
  Commit({PutClone{intent}});
  EXPECT_EQ(Outcome(catalog_->Commit({PutVolume{TestVolume(5, "copy.img")}})), Word(Errc::kExists));
  CloneRecord rival = intent;
  rival.clone = TestId(8);
  EXPECT_EQ(Outcome(catalog_->Commit({PutClone{rival}})), Word(Errc::kExists));
  intent.state = CloneState::kCopying;
  Commit({PutVolume{TestVolume(7, "copy.img")}, PutClone{intent}});
  Commit({PutVolume{TestVolume(7, "renamed.img")}, PutVolume{TestVolume(5, "copy.img")}});
}

TEST_F(CatalogTest, SnapshotNamesAreUniqueInTheirVolumeOnly) {
  Create();
  Commit({PutSnapshot{{TestId(6), TestId(1), "s", kLayerId, 1, 1, {}}},
          PutSnapshot{{TestId(7), TestId(2), "s", kLayerId, 1, 1, {}}}});
  EXPECT_EQ(
      Outcome(catalog_->Commit({PutSnapshot{{TestId(8), TestId(1), "s", kLayerId, 1, 1, {}}}})),
      Word(Errc::kExists));
}

TEST_F(CatalogTest, ARefusedChangeChangesNothing) {
  Create();
  Commit({PutVolume{TestVolume(5, "a")}});
  EXPECT_FALSE(catalog_
                   ->Commit({DeleteVolume{TestId(5)}, PutVolume{TestVolume(6, "b")},
                             PutVolume{TestVolume(7, "b")}})
                   .ok());
  EXPECT_EQ(Load().volumes, std::vector{TestVolume(5, "a")});
}

TEST_F(CatalogTest, RefusesMalformedRecords) {
  Create();
  std::vector<CatalogOp> bad;
  for (const char* name :
       {"", ".", "..", "-a", ".a", "a/b", "a b", "a\n", "a:b", "\xc3\xa4", "@"}) {
    bad.push_back(PutVolume{TestVolume(5, name)});
  }
  bad.push_back(PutVolume{TestVolume(5, std::string(129, 'a'))});
  bad.push_back(PutVolume{TestVolume(5, std::string("a\0b", 3))});
  VolumeRecord volume = TestVolume(5, "a");
  volume.id = kNoId;
  bad.push_back(PutVolume{volume});
  volume.id = TestId(1) | 3;  // a facet is not part of an id
  bad.push_back(PutVolume{volume});
  volume = TestVolume(5, "a");
  volume.size_bytes = kMaxVolumeBytes + 1;
  bad.push_back(PutVolume{volume});
  volume = TestVolume(5, "a");
  volume.attributes.mode = 010000;
  bad.push_back(PutVolume{volume});
  LayerRecord layer = TestLayer(kLayerId);
  layer.parent = kLayerId;
  bad.push_back(PutLayer{layer});
  CloneRecord clone = TestClone(5);
  clone.state = CloneState::kIntent;  // and no name
  bad.push_back(PutClone{clone});
  clone.state = static_cast<CloneState>(9);
  bad.push_back(PutClone{clone});
  PresenceRuns runs;
  runs.Set({0, 1}, BlockState::kPresent);
  bad.push_back(SetPresence{kLayerId, runs});  // there is no such layer
  for (size_t i = 0; i < bad.size(); ++i) {
    EXPECT_EQ(Outcome(catalog_->Commit({bad[i]})), Word(Errc::kInvalid)) << "number " << i;
  }
  EXPECT_FALSE(catalog_->fenced());
  Commit({PutVolume{TestVolume(5, std::string(128, 'a'))}});
}

TEST_F(CatalogTest, CommitsOfManyThreadsShareTransactionsAndAreAllThere) {
  Create();
  Commit({PutVolume{TestVolume(1'000'000, "taken")}});
  constexpr int kThreads = 8;
  constexpr int kEach = 100;
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const uint64_t n = 1 + static_cast<uint64_t>(t * kEach + i);
        EXPECT_TRUE(catalog_->Commit({PutVolume{TestVolume(n, "v" + std::to_string(n))}}).ok());
        // A refused commit must not take the other commits of its group with it.
        if (i % 10 == 0 && !catalog_->Commit({PutVolume{TestVolume(n + 5000, "taken")}}).ok()) {
          ++refused;
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, kThreads * kEach / 10);
  EXPECT_LE(catalog_->commits(), 1 + uint64_t{kThreads * kEach});
  Reopen();
  EXPECT_EQ(Load().volumes.size(), 1 + size_t{kThreads * kEach});
}

// Method: a child commits volumes one by one and reports each over a pipe; it is killed in the
// middle, again and again. Every reported volume must be there.
TEST_F(CatalogTest, AKilledProcessKeepsEveryAcknowledgedCommit) {
  Create();
  catalog_.reset();
  uint64_t acknowledged = 0;
  for (int round = 0; round < 10; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      auto opened = Catalog::Open(*node_);
      for (uint64_t n = acknowledged + 1; opened.ok(); ++n) {
        const VolumeRecord volume = TestVolume(n, "v" + std::to_string(n));
        if (!opened.value()->Commit({PutVolume{volume}}).ok()) break;
        if (::write(pipe_ends[1], &n, sizeof n) != sizeof n) break;
        if (n % 37 == 0 && !opened.value()->Checkpoint().ok()) break;
      }
      ::_exit(1);
    }
    ::close(pipe_ends[1]);
    uint64_t told = 0;
    for (int i = 0; i < 50 && ::read(pipe_ends[0], &told, sizeof told) == sizeof told; ++i) {
      acknowledged = told;
    }
    ::kill(child, SIGKILL);
    int how = 0;
    ::waitpid(child, &how, 0);
    EXPECT_TRUE(WIFSIGNALED(how));
    while (::read(pipe_ends[0], &told, sizeof told) == sizeof told) acknowledged = told;
    ::close(pipe_ends[0]);
    Reopen();
    const size_t found = Load().volumes.size();
    EXPECT_GE(found, acknowledged);
    EXPECT_LE(found, acknowledged + 1) << "more than one commit was in flight";
    acknowledged = found;
    catalog_.reset();
  }
  EXPECT_GE(acknowledged, 400U);
}

TEST_F(CatalogTest, ASecondOpenIsRefusedWhileOneIsOpen) {
  Create();
  Commit({PutVolume{TestVolume(5, "a")}});
  EXPECT_EQ(Catalog::Open(*node_).error().code, Errc::kLocked);
  EXPECT_EQ(Catalog::Create(*node_, TestNode()).error().code, Errc::kLocked);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto opened = Catalog::Open(*node_);
    ::_exit(!opened.ok() && opened.error().code == Errc::kLocked ? 0 : 1);
  }
  int how = 0;
  ::waitpid(child, &how, 0);
  EXPECT_TRUE(WIFEXITED(how) && WEXITSTATUS(how) == 0) << "another process could open it";
  Commit({PutVolume{TestVolume(6, "b")}});
  Reopen();
  EXPECT_EQ(Load().volumes.size(), 2U);
}

TEST_F(CatalogTest, OpensOnlyWhatWasCreatedAndCreatesOnlyOnce) {
  EXPECT_EQ(Catalog::Open(*node_).error().code, Errc::kNotFound);
  EXPECT_FALSE(fs::exists(dir_ / "catalog.db")) << "looking for it must not make it";
  Create();
  catalog_.reset();
  EXPECT_EQ(Catalog::Create(*node_, TestNode()).error().code, Errc::kExists);
  Reopen();
  EXPECT_EQ(Load().node, TestNode());
}

TEST_F(CatalogTest, ACreationThatDidNotFinishIsNothingAndCanBeRepeated) {
  std::ofstream(dir_ / "catalog.db") << "";
  EXPECT_EQ(Catalog::Open(*node_).error().code, Errc::kNotFound);
  EditByHand("PRAGMA journal_mode = WAL; CREATE TABLE t (a); DROP TABLE t");
  EXPECT_EQ(Catalog::Open(*node_).error().code, Errc::kNotFound);
  std::ofstream(dir_ / "ballast") << "short";
  Create();
  EXPECT_EQ(Load().node, TestNode());
}

TEST_F(CatalogTest, FilesAreForTheirOwnerOnlyAndTheWalStays) {
  Create();
  Commit({PutVolume{TestVolume(5, "a")}});
  catalog_.reset();
  for (const char* name : {"catalog.db", "catalog.db-wal", "ballast"}) {
    struct stat info {};
    ASSERT_EQ(::stat((dir_ / name).c_str(), &info), 0) << name;
    EXPECT_EQ(info.st_mode & 0777, 0600U) << name;
  }
  EXPECT_EQ(fs::file_size(dir_ / "ballast"), 8U << 20);
  EXPECT_FALSE(fs::exists(dir_ / "catalog.db-shm"));
}

TEST_F(CatalogTest, ACheckpointChangesNothingAndMakesABallastThatIsMissing) {
  Create();
  fs::remove(dir_ / "ballast");
  Reopen();
  Commit({PutVolume{TestVolume(5, "a")}});
  ASSERT_TRUE(catalog_->Checkpoint().ok());
  EXPECT_EQ(fs::file_size(dir_ / "ballast"), 8U << 20);
  Commit({PutVolume{TestVolume(6, "b")}});
  Reopen();
  EXPECT_EQ(Load().volumes.size(), 2U);
}

}  // namespace
}  // namespace volfs
