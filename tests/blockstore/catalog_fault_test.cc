// Goal: what a failing disk does to a commit is told truly: refused and nothing happened, or
// unknown and fenced; never acknowledged and lost, never refused and yet there after a crash.
// Method: a SQLite VFS over the ordinary one whose writes and syncs of the WAL fail on demand.
#include <atomic>
#include <filesystem>
#include <thread>

#include "tests/blockstore/catalog_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;

// How many more writes of the WAL succeed, and what happens to those after them.
struct Faults {
  int64_t writes_left = -1;  // -1: all
  int failures_left = 1'000'000;
  int write_code = SQLITE_FULL;
  int written_of_4 = 0;  // quarters of the data that a failing write leaves behind all the same
  bool database_full = false;  // the database cannot be written, so a checkpoint fails
  bool wal_may_grow = true;
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
    return real_.Open(name, mode);
  }
  Status Remove(const std::string& name) override {
    removed_ballast |= name == "ballast";
    if (name == "ballast" && ballast_helps) faults.writes_left = -1;
    return real_.Remove(name);
  }
  Status SyncNames() override { return real_.SyncNames(); }
  Result<std::vector<std::string>> ListLayers() override { return real_.ListLayers(); }
  Result<SpaceInfo> Space() override { return real_.Space(); }
  Result<uint64_t> AllocatedBytes(const std::string& name) override {
    return real_.AllocatedBytes(name);
  }
  std::string catalog_path() const override { return real_.catalog_path(); }
  const char* sqlite_vfs() const override { return FaultyVfs(); }
  const std::string& display_path() const override { return real_.display_path(); }

  bool ballast_helps = false;
  bool removed_ballast = false;

 private:
  NodeDirectory& real_;
};

class CatalogFaultTest : public CatalogFixture {
 protected:
  CatalogFaultTest() : faulty_(*node_) {
    faults = Faults{};
    catalog_ = std::move(Catalog::Create(faulty_, TestNode()).value());
    Commit({PutVolume{TestVolume(1, "first")}});
    faulty_.removed_ballast = false;
  }
  // A crash of the process: what is in the files now is what the next open finds.
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
  EXPECT_FALSE(fs::exists(dir_ / "ballast"));
  EXPECT_EQ(VolumesAfterCrash(), 2U);
  ASSERT_TRUE(catalog_->Checkpoint().ok());
  EXPECT_TRUE(fs::exists(dir_ / "ballast")) << "there is room again";
  ExpectUsable();
}

// Whichever write finds no room, and however much of it was written: either nothing happened, now
// and after a crash, or the node is fenced.
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
  EXPECT_TRUE(faulty_.removed_ballast);
  ExpectUsable();
}

TEST_F(CatalogFaultTest, WhereTheWalCannotGrowItIsUsedAgain) {
  faults.wal_may_grow = false;
  for (uint64_t n = 10; n < 60; ++n) {
    Commit({PutVolume{TestVolume(n, "v" + std::to_string(n))}});
    Commit({DeleteVolume{TestId(n)}});
  }
  EXPECT_FALSE(faulty_.removed_ballast);
  EXPECT_EQ(VolumesAfterCrash(), 1U);
  ExpectUsable();
}

TEST_F(CatalogFaultTest, AFullDiskDoesNotFenceWhereTheWalWouldHaveToGrow) {
  for (int i = 0; i < 5; ++i) {
    faults = Faults{.database_full = true, .wal_may_grow = false};
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

}  // namespace
}  // namespace volfs
