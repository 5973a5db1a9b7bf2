// Goal: a commit on a failing disk is either refused without effect, or its result is unknown and
// the node is fenced. It is never acknowledged and lost, and never refused and yet there after a
// crash.
// Method: a SQLite VFS over the ordinary one, whose writes and syncs of the WAL fail on demand.
#include <gmock/gmock.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "blockstore/store/store.h"
#include "tests/blockstore/catalog/catalog_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;

// The number of WAL writes that still succeed, and how the later ones fail.
struct Faults {
  int64_t writes_left = -1;  // -1: all
  int failures_left = 1'000'000;
  int write_code = SQLITE_FULL;
  int written_of_4 = 0;        // quarters of the data that a failing write still writes
  bool database_full = false;  // the database cannot be written, so a checkpoint fails
  bool wal_may_grow = true;
  bool database_may_grow = true;
  bool sync_fails = false;
} faults;

struct FaultyFile {
  sqlite3_file base;
  const sqlite3_io_methods* real_methods;
  bool wal;
  alignas(8) char real[1];  // the real VFS's file follows; SQLite aligns to 8
};

sqlite3_file* Real(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<FaultyFile*>(file)->real);
}
sqlite3_vfs* RealVfs() { return sqlite3_vfs_find("unix"); }

int WriteWal(sqlite3_file* file, const void* data, int size, sqlite3_int64 at) {
  sqlite3_int64 end = 0;
  (void)Real(file)->pMethods->xFileSize(Real(file), &end);
  if (!faults.wal_may_grow && at + size > end) return SQLITE_FULL;
  if (faults.writes_left > 0) {
    --faults.writes_left;
  } else if (faults.writes_left == 0 && faults.failures_left > 0) {
    --faults.failures_left;
    const int part = size * faults.written_of_4 / 4;
    if (part != 0) (void)Real(file)->pMethods->xWrite(Real(file), data, part, at);
    return faults.write_code;
  }
  return Real(file)->pMethods->xWrite(Real(file), data, size, at);
}

int Write(sqlite3_file* file, const void* data, int size, sqlite3_int64 at) {
  if (reinterpret_cast<FaultyFile*>(file)->wal) return WriteWal(file, data, size, at);
  if (faults.database_full) return SQLITE_FULL;
  sqlite3_int64 end = 0;
  (void)Real(file)->pMethods->xFileSize(Real(file), &end);
  if (!faults.database_may_grow && at + size > end) return SQLITE_FULL;
  return Real(file)->pMethods->xWrite(Real(file), data, size, at);
}

int Sync(sqlite3_file* file, int flags) {
  const bool fails = reinterpret_cast<FaultyFile*>(file)->wal && faults.sync_fails;
  return fails ? SQLITE_IOERR_FSYNC : Real(file)->pMethods->xSync(Real(file), flags);
}

const sqlite3_io_methods kMethods = {
    1,
    [](sqlite3_file* f) { return Real(f)->pMethods->xClose(Real(f)); },
    [](sqlite3_file* f, void* out, int size, sqlite3_int64 at) {
      return Real(f)->pMethods->xRead(Real(f), out, size, at);
    },
    Write,
    [](sqlite3_file* f, sqlite3_int64 size) { return Real(f)->pMethods->xTruncate(Real(f), size); },
    Sync,
    [](sqlite3_file* f, sqlite3_int64* size) {
      return Real(f)->pMethods->xFileSize(Real(f), size);
    },
    [](sqlite3_file* f, int lock) { return Real(f)->pMethods->xLock(Real(f), lock); },
    [](sqlite3_file* f, int lock) { return Real(f)->pMethods->xUnlock(Real(f), lock); },
    [](sqlite3_file* f, int* out) { return Real(f)->pMethods->xCheckReservedLock(Real(f), out); },
    [](sqlite3_file* f, int op, void* arg) {
      return Real(f)->pMethods->xFileControl(Real(f), op, arg);
    },
    [](sqlite3_file* f) { return Real(f)->pMethods->xSectorSize(Real(f)); },
    [](sqlite3_file* f) { return Real(f)->pMethods->xDeviceCharacteristics(Real(f)); },
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr};

int OpenFaulty(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  auto* faulty = reinterpret_cast<FaultyFile*>(file);
  faulty->base.pMethods = nullptr;
  faulty->wal = (flags & SQLITE_OPEN_WAL) != 0;
  const int code = RealVfs()->xOpen(RealVfs(), name, Real(file), flags, out_flags);
  if (code == SQLITE_OK) faulty->base.pMethods = &kMethods;
  return code;
}

const char* FaultyVfs() {
  static sqlite3_vfs vfs = [] {
    sqlite3_vfs copy = *RealVfs();
    copy.zName = "volfs-test-faulty";
    copy.szOsFile += static_cast<int>(sizeof(FaultyFile));
    copy.xOpen = OpenFaulty;
    copy.pNext = nullptr;
    return copy;
  }();
  sqlite3_vfs_register(&vfs, 0);
  return vfs.zName;
}

// An ordinary node whose catalog is behind the faulty VFS.
class FaultyNode final : public NodeDirectory {
 public:
  explicit FaultyNode(NodeDirectory& real) : real_(real) {}
  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override {
    if (name == "ballast" && mode == OpenMode::kReadWrite) NoteTaken();
    return real_.Open(name, mode);
  }
  Status Remove(const std::string& name) override {
    if (name == "ballast") NoteTaken();
    return real_.Remove(name);
  }
  Status SyncNames() override { return real_.SyncNames(); }
  Result<std::vector<std::string>> ListLayers() override { return real_.ListLayers(); }
  Result<SpaceInfo> Space() override {
    if (is_full) return SpaceInfo{1 << 30, 0};
    return real_.Space();
  }
  Result<uint64_t> AllocatedBytes(const std::string& name) override {
    return real_.AllocatedBytes(name);
  }
  Status CheckPresent() override { return real_.CheckPresent(); }
  std::string catalog_path() const override { return real_.catalog_path(); }
  const char* sqlite_vfs() const override { return FaultyVfs(); }
  const std::string& display_path() const override { return real_.display_path(); }

  bool ballast_helps = false;
  bool took_ballast = false;
  bool is_full = false;

 private:
  void NoteTaken() {
    took_ballast = true;
    if (ballast_helps) faults.writes_left = -1;
  }
  NodeDirectory& real_;
};

class CatalogFaultTest : public CatalogFixture {
 protected:
  CatalogFaultTest() : faulty_(*node_) {
    faults = Faults{};
    catalog_ = std::move(Catalog::Create(faulty_, TestNode()).value());
    Commit({PutVolume{TestVolume(1, "first")}});
    faulty_.took_ballast = false;
  }
  // Simulates a crash of the process: the next open sees the files as they are now.
  size_t VolumesAfterCrash() {
    const TempDir copy;
    for (const char* name : {"catalog.db", "catalog.db-wal"}) {
      fs::copy_file(dir_ / name, copy / name);
    }
    const auto node = std::move(OpenPosixNode(copy.path()).value());
    const auto opened = Catalog::Open(*node);
    EXPECT_TRUE(opened.ok());
    return opened.value()->Load().value().volumes.size();
  }
  uint64_t BallastMiB() { return fs::file_size(dir_ / "ballast") >> 20; }
  static CatalogChange Something(uint64_t n) {
    return {PutVolume{TestVolume(n, "v" + std::to_string(n))}};
  }
  Status CommitSecond() { return catalog_->Commit({PutVolume{TestVolume(2, "second")}}); }
  void ExpectUsable() {
    faults = Faults{};
    EXPECT_FALSE(catalog_->fenced());
    Commit({PutVolume{TestVolume(3, "third")}});
    EXPECT_EQ(Load().volumes.size(), VolumesAfterCrash());
  }

  FaultyNode faulty_;
};

TEST_F(CatalogFaultTest, TheBallastIsGivenAwayForACommitWithoutRoom) {
  faulty_.ballast_helps = true;
  faults.writes_left = 0;
  EXPECT_EQ(Outcome(CommitSecond()), "ok");
  EXPECT_EQ(BallastMiB(), 7U) << "a piece is enough";
  EXPECT_EQ(VolumesAfterCrash(), 2U);
  ASSERT_TRUE(catalog_->Checkpoint().ok());
  EXPECT_EQ(BallastMiB(), 8U) << "there is room again";
  ExpectUsable();
}

// As room runs out, requests that create stop first, then commits that record; frees never stop.
TEST_F(CatalogFaultTest, WhatMakesSomethingNewTakesNothingOfTheReserve) {
  faults = Faults{.wal_may_grow = false, .database_may_grow = false};
  faulty_.is_full = true;
  uint64_t made = 10;
  Status last = OkStatus();
  for (; last.ok() && made < 2000; ++made) {
    last = catalog_->CheckMayGrow();
    if (last.ok()) last = catalog_->Commit(Something(made), Room::kGrow);
  }
  EXPECT_EQ(Outcome(last), Word(Errc::kNoSpace));
  EXPECT_THAT(last.error().message, testing::HasSubstr("delete volumes or snapshots"));
  EXPECT_GT(made, 12U) << "what the catalog's files have room for is accepted";
  EXPECT_EQ(BallastMiB(), 8U);
  for (uint64_t n = 10; n + 1 < made; ++n) {
    const Status freed = catalog_->Commit({DeleteVolume{TestId(n)}}, Room::kFree);
    ASSERT_TRUE(freed.ok()) << freed.error().message;
  }
  EXPECT_EQ(VolumesAfterCrash(), 1U);
  EXPECT_EQ(BallastMiB(), 8U) << "deleting finds room in the files";
  faults.database_may_grow = true;  // by the room that a checkpoint cut off it
  EXPECT_TRUE(catalog_->CheckMayGrow().ok()) << "and gives some";
  ExpectUsable();
}

TEST_F(CatalogFaultTest, WhatRecordsLeavesTheLastQuarterToWhatFrees) {
  faulty_.is_full = true;
  faults.writes_left = 0;  // no amount of freed reserve is enough
  EXPECT_EQ(Outcome(CommitSecond()), Word(Errc::kNoSpace));
  EXPECT_EQ(BallastMiB(), 2U);
  EXPECT_EQ(catalog_->missing_reserve_bytes(), 6U << 20);
  const Status freed = catalog_->Commit({DeleteVolume{TestId(1)}}, Room::kFree);
  EXPECT_EQ(Outcome(freed), Word(Errc::kNoSpace));
  EXPECT_FALSE(fs::exists(dir_ / "ballast"));

  faults = Faults{};  // there is room for a commit, but not for the reserve
  EXPECT_EQ(Outcome(catalog_->Commit(Something(2), Room::kGrow)), Word(Errc::kNoSpace));
  EXPECT_EQ(Outcome(catalog_->CheckReserve()), Word(Errc::kNoSpace));
  EXPECT_EQ(Outcome(CommitSecond()), "ok") << "what was accepted is recorded";
  faulty_.is_full = false;
  EXPECT_EQ(Outcome(catalog_->Commit(Something(4), Room::kGrow)), "ok") << "it is made whole first";
  EXPECT_EQ(BallastMiB(), 8U);
  ExpectUsable();
}

// A log of four times the size that is kept asks the background to shorten it. At sixteen times the
// size a commit shortens it.
TEST_F(CatalogFaultTest, TheLogIsBoundedAndGivenBack) {
  constexpr uint64_t kMiB = 1 << 20;
  int asked = 0;
  catalog_->OnLogLong([&] { ++asked; });
  LayerRecord layer = TestLayer(TestId(7));
  layer.parent = TestId(8);
  Commit({PutLayer{TestLayer(TestId(8))}, PutLayer{layer}});
  uint64_t longest = 0;
  uint64_t written = 0;
  uint64_t shortened = 0;
  for (uint64_t round = 0; written < 60 * kMiB; ++round) {
    PresenceRuns runs;
    for (uint64_t chunk = 0; chunk < 300; ++chunk) {
      runs.Set({chunk * PresenceChunk::kChunkBlocks + round * 2, 1}, BlockState::kPresent);
    }
    Commit({SetPresence{layer.id, runs}});
    const uint64_t length = fs::file_size(dir_ / "catalog.db-wal");
    longest = std::max(longest, length);
    written += 300 * 4096;
    if (asked == 5 && shortened == 0) {
      ASSERT_TRUE(catalog_->ShortenLog().ok());
      EXPECT_FALSE(catalog_->LogIsLong());
      ++shortened;
    }
  }
  EXPECT_GT(asked, 5);
  EXPECT_GT(longest, 4 * kMiB);
  EXPECT_LT(longest, 16 * kMiB + 4 * kMiB);
  ASSERT_TRUE(catalog_->Checkpoint().ok());
  EXPECT_EQ(fs::file_size(dir_ / "catalog.db-wal"), kMiB);
  Commit({PutVolume{TestVolume(2, "second")}});
  EXPECT_EQ(VolumesAfterCrash(), 2U) << "what follows a log that was given back is found";
  EXPECT_TRUE(catalog_->Verify().ok());
}

// Whichever write finds no room, and however much of it was written, there are two outcomes: the
// commit has no effect, now and after a crash, or the node is fenced.
TEST_F(CatalogFaultTest, WithoutRoomNothingHappenedOrTheNodeIsFenced) {
  for (const int quarters : {0, 2, 4}) {
    for (int n = 0; n < 12; ++n) {
      SCOPED_TRACE("write " + std::to_string(n) + ", quarters " + std::to_string(quarters));
      faults = Faults{.writes_left = n, .written_of_4 = quarters, .database_full = n % 2 == 0};
      const Status status = CommitSecond();
      faults = Faults{};
      if (status.ok()) {  // a commit needs fewer writes
        Commit({DeleteVolume{TestId(2)}});
      } else if (catalog_->fenced()) {
        EXPECT_EQ(Outcome(status), Word(Errc::kIo));
        catalog_.reset();
        catalog_ = std::move(Catalog::Open(faulty_).value());
        EXPECT_LE(Load().volumes.size(), 2U);
        Commit({DeleteVolume{TestId(2)}});
      } else {
        EXPECT_EQ(Outcome(status), Word(Errc::kNoSpace));
        EXPECT_EQ(Load().volumes.size(), 1U);
        EXPECT_EQ(VolumesAfterCrash(), 1U);
      }
    }
  }
  EXPECT_TRUE(faulty_.took_ballast);
  ExpectUsable();
}

TEST_F(CatalogFaultTest, WhereTheWalCannotGrowItIsUsedAgain) {
  faults.wal_may_grow = false;
  for (uint64_t n = 10; n < 60; ++n) {
    Commit({PutVolume{TestVolume(n, "v" + std::to_string(n))}});
    Commit({DeleteVolume{TestId(n)}});
  }
  EXPECT_FALSE(faulty_.took_ballast);
  EXPECT_EQ(VolumesAfterCrash(), 1U);
  ExpectUsable();
}

TEST_F(CatalogFaultTest, AFullDiskDoesNotFenceWhereTheWalWouldHaveToGrow) {
  const Faults full{.database_full = true, .wal_may_grow = false};
  faults = full;
  // The room within the log is used first.
  for (uint64_t n = 10; n < 5000; ++n) {
    if (!catalog_->Commit({PutVolume{TestVolume(n, "v" + std::to_string(n))}}).ok()) break;
    ASSERT_LT(n, 4999U);
  }
  for (int i = 0; i < 5; ++i) {
    faults = full;
    EXPECT_EQ(Outcome(CommitSecond()), Word(Errc::kNoSpace));
  }
  ExpectUsable();
}

// The worst case: a failing write that writes everything, so that after the last of them all of
// the refused commit is in the WAL. Then its first frame is overwritten, so that no recovery can
// take it for a commit.
TEST_F(CatalogFaultTest, ARefusedCommitThatIsWholeInTheWalIsSealed) {
  uint64_t seals = 0;
  for (int n = 0; n < 12; ++n) {
    SCOPED_TRACE("write " + std::to_string(n));
    fs::remove(dir_ / "ballast");
    const uint64_t commits = catalog_->commits();
    faults = Faults{.writes_left = n, .failures_left = 1, .written_of_4 = 4, .database_full = true};
    const Status status = CommitSecond();
    faults = Faults{};
    if (status.ok()) {
      EXPECT_GT(n, 1) << "no write failed";
      break;
    }
    EXPECT_EQ(Outcome(status), Word(Errc::kNoSpace));
    EXPECT_FALSE(catalog_->fenced());
    EXPECT_EQ(VolumesAfterCrash(), 1U);
    seals += catalog_->commits() - commits;
  }
  EXPECT_EQ(seals, 1U) << "only the last write makes it whole";
  ExpectUsable();
}

TEST_F(CatalogFaultTest, OneCommitWithoutRoomDoesNotRefuseTheOthersOfItsGroup) {
  constexpr uint64_t kThreads = 6;
  faults = Faults{.writes_left = 1, .failures_left = 4, .database_full = true};
  std::atomic<int> acknowledged{0};
  std::vector<std::thread> threads;
  for (uint64_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      const VolumeRecord volume = TestVolume(10 + t, "v" + std::to_string(t));
      if (catalog_->Commit({PutVolume{volume}}).ok()) ++acknowledged;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_FALSE(catalog_->fenced());
  EXPECT_GE(acknowledged, 2);
  EXPECT_EQ(Load().volumes.size(), 1U + static_cast<size_t>(acknowledged));
  ExpectUsable();
}

TEST_F(CatalogFaultTest, AFailedWriteFences) {
  faults = Faults{.writes_left = 0, .write_code = SQLITE_IOERR_WRITE};
  EXPECT_EQ(Outcome(CommitSecond()), Word(Errc::kIo));
  faults = Faults{};
  EXPECT_TRUE(catalog_->fenced());
  EXPECT_EQ(Outcome(CommitSecond()), Word(Errc::kIo)) << "nothing is tried again";
  EXPECT_EQ(catalog_->Load().error().code, Errc::kIo);
  EXPECT_EQ(Outcome(catalog_->Checkpoint()), Word(Errc::kIo));
  catalog_.reset();
  catalog_ = std::move(Catalog::Open(faulty_).value());
  EXPECT_LE(Load().volumes.size(), 2U);
  EXPECT_TRUE(catalog_->Verify().ok());
}

TEST_F(CatalogFaultTest, AFailedSyncFencesAndItsChangeMayBeThereLater) {
  faults.sync_fails = true;
  EXPECT_EQ(Outcome(CommitSecond()), Word(Errc::kIo));
  faults = Faults{};
  EXPECT_TRUE(catalog_->fenced());
  EXPECT_EQ(VolumesAfterCrash(), 2U) << "that is why it is called unknown";
}

// A refused commit without a waiting caller, for want of room, is an error of its volume at once.
// Closing the store reports it too, until such a commit succeeds.
TEST_F(CatalogFaultTest, ARefusedCommitIsTheVolumesTrouble) {
  catalog_.reset();
  auto opened = Node::Open(std::make_unique<FaultyNode>(*node_));
  ASSERT_TRUE(opened.ok()) << opened.error().message;
  std::vector<std::unique_ptr<Node>> nodes;
  nodes.push_back(std::move(opened.value()));
  StoreOptions options;
  options.merge = false;
  auto made = Store::Open(std::move(nodes), options);
  ASSERT_TRUE(made.ok()) << made.error().message;
  Store& store = *made.value();
  CreateRequest request;
  request.name = "v";
  request.size_bytes = 1 << 20;
  const auto volume = store.Create(request, Caller{}).value();
  ASSERT_TRUE(store.TakeSnapshot("v", "s", Caller{}).ok());
  const std::vector<std::byte> data(4096, std::byte{7});
  ASSERT_TRUE(volume->WriteAt(data, 0).ok());

  faults.writes_left = 0;
  const Status refused = volume->Sync();
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().code, Errc::kNoSpace);
  EXPECT_NE(volume->state().trouble().find("not durable yet"), std::string::npos)
      << volume->state().trouble();
  EXPECT_EQ(volume->state().failure(), "") << "it can be written";
  EXPECT_EQ(store.Info(*volume).status, "error");
  EXPECT_EQ(store.Info(*volume).error, volume->state().trouble());
  const std::vector<std::string> unsaved = store.CommitAll();
  ASSERT_EQ(unsaved.size(), 1U);
  EXPECT_EQ(unsaved.front().find("volume v: "), 0U) << unsaved.front();

  faults.writes_left = -1;
  EXPECT_TRUE(volume->Sync().ok());
  EXPECT_EQ(volume->state().trouble(), "");
  EXPECT_EQ(store.Info(*volume).status, "available");
  ASSERT_TRUE(volume->WriteAt(data, 4096).ok());
  faults.writes_left = 0;
  const Status closed = store.Close();
  ASSERT_FALSE(closed.ok());
  EXPECT_NE(closed.error().message.find("not durable: volume v"), std::string::npos)
      << closed.error().message;
  faults.writes_left = -1;
}

}  // namespace
}  // namespace volfs
