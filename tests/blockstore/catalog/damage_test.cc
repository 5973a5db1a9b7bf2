// Goal: a catalog that was damaged, edited by hand or made by a newer program is refused with the
// place of the damage. It is never believed, and never causes a crash.
#include <filesystem>
#include <fstream>

#include "tests/blockstore/catalog/catalog_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;

class CatalogDamageTest : public CatalogFixture {
 protected:
  // Makes at least one row in each table.
  void CreateFull() {
    Create();
    CloneRecord clone;
    clone.clone = TestId(10);
    clone.state = CloneState::kCopying;
    PresenceRuns runs;
    runs.Set({3, 1}, BlockState::kPresent);
    runs.Set({8192, 4096 * 3}, BlockState::kZero);
    Commit({PutPeer{{"uuid-b", "beta", "/b", 12}}, PutLayer{TestLayer(kLayerId)},
            PutVolume{TestVolume(5, "db.img")},
            PutSnapshot{{TestId(6), TestId(5), "monday", kLayerId, 123, 9, {}}},
            PutHold{{TestId(8), "node-b", "copy.img", kLayerId, TestId(5), kNoId}}, PutClone{clone},
            PutSetting{"limit", "1"}, SetPresence{kLayerId, runs}});
    catalog_.reset();
    ASSERT_EQ(Outcome(OpenAndLoad()), "ok");
  }
  void ExpectCorrupt(const std::string& edit, const std::string& named) {
    SCOPED_TRACE(edit);
    const fs::path saved = dir_ / "saved";
    fs::copy_file(dir_ / "catalog.db", saved);
    EditByHand(edit);
    const Status status = OpenAndLoad();
    EXPECT_EQ(Outcome(status), Word(Errc::kCorrupt));
    if (!status.ok()) {
      EXPECT_NE(status.error().message.find(named), std::string::npos) << status.error().message;
    }
    fs::copy_file(saved, dir_ / "catalog.db", fs::copy_options::overwrite_existing);
    fs::remove(dir_ / "catalog.db-wal");
    fs::remove(saved);
  }
  // Returns the columns of a table as (name, type) pairs, without the checksum.
  std::vector<std::pair<std::string, std::string>> ColumnsOf(const std::string& table) {
    std::vector<std::pair<std::string, std::string>> columns;
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open(node_->catalog_path().c_str(), &db), SQLITE_OK);
    const auto add = [](void* out, int, char** values, char**) {
      static_cast<decltype(columns)*>(out)->emplace_back(values[0], values[1]);
      return 0;
    };
    const std::string sql = "SELECT name, type FROM pragma_table_info('" + table + "')";
    EXPECT_EQ(sqlite3_exec(db, sql.c_str(), add, &columns, nullptr), SQLITE_OK);
    sqlite3_close(db);
    return columns;
  }
};

constexpr const char* kTables[] = {"meta",     "node",    "volume_types", "peers",
                                   "layers",   "volumes", "holds",        "snapshots",
                                   "settings", "clones",  "presence"};

TEST_F(CatalogDamageTest, AChangedColumnOfAnyTableIsFound) {
  CreateFull();
  for (const char* table : kTables) {
    for (const auto& [column, type] : ColumnsOf(table)) {
      const std::string name = column;
      const std::string changed = type == "INTEGER" ? name + " + 256"
                                  : type == "TEXT"  ? name + " || 'x'"
                                                    : "zeroblob(1024)";
      // Changes one row only: a change of all rows could break a unique column.
      ExpectCorrupt("UPDATE " + std::string(table) + " SET " + name + " = " + changed +
                        " WHERE crc = (SELECT min(crc) FROM " + table + ")",
                    "table " + std::string(table));
    }
  }
}

TEST_F(CatalogDamageTest, TheMessageNamesTheRow) {
  CreateFull();
  ExpectCorrupt("UPDATE volumes SET size_bytes = 1", "row id=1280: its checksum does not match");
  ExpectCorrupt("UPDATE peers SET path = '/c'", "row uuid=uuid-b: ");
  ExpectCorrupt("UPDATE presence SET state = 2 WHERE first_chunk = 0", "first_chunk=0: ");
  ExpectCorrupt("UPDATE clones SET state = 77", "row clone=2560: column state cannot be 77");
  ExpectCorrupt("UPDATE layers SET has_file = 2", "column has_file cannot be 2");
  ExpectCorrupt("DELETE FROM node", "table node has no row");
}

TEST_F(CatalogDamageTest, AChangedTableIsFound) {
  CreateFull();
  ExpectCorrupt("ALTER TABLE volumes ADD COLUMN more INTEGER", "table volumes is not as it was");
  ExpectCorrupt("DROP TABLE holds", "table holds is missing");
  ExpectCorrupt("CREATE TRIGGER t AFTER INSERT ON volumes BEGIN DELETE FROM layers; END",
                "triggers");
  ExpectCorrupt("DELETE FROM meta WHERE key = 'feature_refuse'", "feature mask");
  ExpectCorrupt("PRAGMA application_id = 1", "not a volfs catalog");
}

// Method: flip every 53rd byte of the database, one at a time. A flip in an unused byte changes
// nothing; Open, Load or Verify finds each of the others.
TEST_F(CatalogDamageTest, AFlippedByteIsFoundOrHarmless) {
  CreateFull();
  catalog_ = std::move(Catalog::Open(*node_).value());
  ASSERT_TRUE(catalog_->Checkpoint().ok());
  const CatalogContents before = Load();
  catalog_.reset();
  fs::remove(dir_ / "catalog.db-wal");
  const auto size = static_cast<std::streamoff>(fs::file_size(dir_ / "catalog.db"));
  int found = 0;
  for (std::streamoff at = 0; at < size; at += 53) {
    std::fstream file(dir_ / "catalog.db", std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const char good = static_cast<char>(file.get());
    file.seekp(at).put(static_cast<char>(good ^ 0x11)).flush();
    {
      const auto opened = Catalog::Open(*node_);
      if (!opened.ok() || !opened.value()->Verify().ok()) {
        ++found;
      } else {
        const auto contents = opened.value()->Load();
        ASSERT_TRUE(contents.ok());
        EXPECT_EQ(contents.value().volumes, before.volumes) << "at byte " << at;
        EXPECT_EQ(contents.value().layers, before.layers) << "at byte " << at;
        EXPECT_EQ(contents.value().clones, before.clones) << "at byte " << at;
      }
    }
    file.seekp(at).put(good).flush();
    fs::remove(dir_ / "catalog.db-wal");
  }
  EXPECT_GT(found, 20);
  EXPECT_EQ(Outcome(OpenAndLoad()), "ok");
}

TEST_F(CatalogDamageTest, ATruncatedDatabaseIsCorrupt) {
  CreateFull();
  catalog_ = std::move(Catalog::Open(*node_).value());
  ASSERT_TRUE(catalog_->Checkpoint().ok());
  catalog_.reset();
  fs::remove(dir_ / "catalog.db-wal");
  uint8_t pages = 0;  // in use; the file has more (FORMAT.md, section 8)
  std::ifstream(dir_ / "catalog.db", std::ios::binary)
      .seekg(31)
      .read(reinterpret_cast<char*>(&pages), 1);
  const auto size = uintmax_t{4096} * pages;
  ASSERT_GT(fs::file_size(dir_ / "catalog.db"), size);
  for (const auto length : {size - 4096, size / 2, uintmax_t{4096}, uintmax_t{1000}}) {
    fs::resize_file(dir_ / "catalog.db", length);
    EXPECT_EQ(Outcome(OpenAndLoad()), Word(Errc::kCorrupt)) << length;
  }
  std::ofstream(dir_ / "catalog.db") << std::string(8192, 'x');
  EXPECT_EQ(Outcome(OpenAndLoad()), Word(Errc::kCorrupt));
}

TEST_F(CatalogDamageTest, AnotherProgramsDatabaseIsLeftAlone) {
  EditByHand("CREATE TABLE notes (a)");
  std::ifstream before_file(dir_ / "catalog.db", std::ios::binary);
  const std::string before(std::istreambuf_iterator<char>(before_file), {});
  EXPECT_EQ(Outcome(OpenAndLoad()), Word(Errc::kCorrupt));
  EXPECT_EQ(Catalog::Create(*node_, TestNode()).error().code, Errc::kCorrupt);
  std::ifstream after_file(dir_ / "catalog.db", std::ios::binary);
  EXPECT_EQ(before, std::string(std::istreambuf_iterator<char>(after_file), {}));
}

TEST_F(CatalogDamageTest, ASymbolicLinkInItsPlaceIsRefused) {
  Create();
  catalog_.reset();
  fs::rename(dir_ / "catalog.db", dir_ / "elsewhere.db");
  fs::create_symlink("elsewhere.db", dir_ / "catalog.db");
  EXPECT_FALSE(OpenAndLoad().ok());
}

class CatalogFeatureTest : public CatalogDamageTest {
 protected:
  // Sets a mask as a newer program does: with the right checksum. The bytes are "meta", the key,
  // the value.
  void SetMask(const std::string& key, uint64_t mask, uint32_t crc) {
    EditByHand("UPDATE meta SET value = " + std::to_string(mask) +
               ", crc = " + std::to_string(crc) + " WHERE key = '" + key + "'");
  }
};

// The checksums of the rows (FORMAT.md, "Checksums") with the value 2^40.
constexpr uint64_t kUnknownBit = uint64_t{1} << 40;
constexpr uint32_t kRefuseCrc = 0x4cc69fd1;
constexpr uint32_t kReadOnlyCrc = 0xd10e6ba0;
constexpr uint32_t kIgnoreCrc = 0xa087ac94;

TEST_F(CatalogFeatureTest, AnUnknownRefuseBitIsRefused) {
  CreateFull();
  SetMask("feature_refuse", kUnknownBit, kRefuseCrc);
  EXPECT_EQ(Outcome(OpenAndLoad()), Word(Errc::kNotSupported));
  EXPECT_EQ(Catalog::Create(*node_, TestNode()).error().code, Errc::kNotSupported);
}

TEST_F(CatalogFeatureTest, AnUnknownReadOnlyBitAllowsReadingOnly) {
  CreateFull();
  SetMask("feature_read_only", kUnknownBit, kReadOnlyCrc);
  Reopen();
  EXPECT_TRUE(catalog_->read_only());
  EXPECT_EQ(Load().volumes.size(), 1U);
  EXPECT_EQ(Outcome(catalog_->Commit({PutSetting{"a", "b"}})), Word(Errc::kReadOnly));
  EXPECT_TRUE(catalog_->Checkpoint().ok());
  EXPECT_FALSE(catalog_->fenced());
}

TEST_F(CatalogFeatureTest, AnUnknownIgnoreBitAndTableDoNotMatter) {
  CreateFull();
  SetMask("feature_ignore", kUnknownBit, kIgnoreCrc);
  EditByHand("CREATE TABLE hints (a)");
  Reopen();
  EXPECT_FALSE(catalog_->read_only());
  Commit({PutSetting{"a", "b"}});
}

TEST_F(CatalogFeatureTest, AFutureVersionIsRefusedAndKept) {
  CreateFull();
  EditByHand("PRAGMA user_version = 2");
  EXPECT_EQ(Outcome(OpenAndLoad()), Word(Errc::kNotSupported));
  EXPECT_EQ(Catalog::Create(*node_, TestNode()).error().code, Errc::kNotSupported);
  EditByHand("PRAGMA user_version = 1");
  EXPECT_EQ(Outcome(OpenAndLoad()), "ok");
}

// A log as a crash leaves it, with one bit changed at rest.
class CatalogLogTest : public CatalogFixture {
 protected:
  CatalogLogTest() {
    Create();
    for (uint64_t n = 1; n <= 4; ++n) {
      Commit({PutVolume{TestVolume(10 * n, "v" + std::to_string(n))}});
      log_bytes_after_.push_back(UsedLogBytes());
    }
  }
  // Returns the end of the last frame that carries the header's salts. The rest is free for reuse.
  uint64_t UsedLogBytes() const {
    std::ifstream file(dir_ / "catalog.db-wal", std::ios::binary);
    const std::string log(std::istreambuf_iterator<char>(file), {});
    uint64_t end = 32;
    while (end + 4120 <= log.size() && log.compare(end + 8, 8, log, 16, 8) == 0) end += 4120;
    return end;
  }
  // Opens a changed copy, as a mount does. The catalog that is still open stands for a killed
  // daemon.
  Status LoadWithChangedBit(uint64_t byte, int bit) {
    const TempDir copy;
    for (const char* name : {"catalog.db", "catalog.db-wal"})
      fs::copy_file(dir_ / name, copy / name);
    {
      std::fstream log(copy / "catalog.db-wal", std::ios::in | std::ios::out | std::ios::binary);
      log.seekg(static_cast<std::streamoff>(byte));
      const auto changed = static_cast<char>(log.get() ^ (1 << bit));
      log.seekp(static_cast<std::streamoff>(byte));
      log.put(changed);
    }
    const auto node = std::move(OpenPosixNode(copy.path()).value());
    const auto opened = Catalog::Open(*node);
    if (!opened.ok()) return opened.error();
    const auto contents = opened.value()->Load();
    if (!contents.ok()) return contents.error();
    volumes_ = contents.value().volumes.size();
    return OkStatus();
  }
  std::vector<uint64_t> log_bytes_after_;  // after each commit
  size_t volumes_ = 0;
};

TEST_F(CatalogLogTest, AChangedBitBeforeTheLastCommitIsTold) {
  for (uint64_t byte = 0; byte < log_bytes_after_[2]; byte += 197) {
    SCOPED_TRACE("byte " + std::to_string(byte));
    EXPECT_EQ(Outcome(LoadWithChangedBit(byte, static_cast<int>(byte % 8))), Word(Errc::kCorrupt));
  }
}

TEST_F(CatalogLogTest, AChangedBitOfTheHeaderIsTold) {
  for (uint64_t byte = 0; byte < 32; ++byte) {
    SCOPED_TRACE("byte " + std::to_string(byte));
    EXPECT_EQ(Outcome(LoadWithChangedBit(byte, static_cast<int>(byte % 8))), Word(Errc::kCorrupt));
  }
}

// A damaged last commit looks the same as a crash one moment earlier (catalog/wal.h).
TEST_F(CatalogLogTest, AChangedBitOfTheLastCommitTakesThatBack) {
  ASSERT_EQ(Outcome(LoadWithChangedBit(log_bytes_after_[3] - 100, 0)), "ok");
  EXPECT_EQ(volumes_, 3U);
}

TEST_F(CatalogLogTest, AfterAnOrderlyEndTheLogMeansNothing) {
  catalog_.reset();
  for (const uint64_t byte : {uint64_t{7}, uint64_t{40}, log_bytes_after_[2] - 50}) {
    SCOPED_TRACE("byte " + std::to_string(byte));
    EXPECT_EQ(Outcome(LoadWithChangedBit(byte, 3)), "ok");
    EXPECT_EQ(volumes_, 4U);
  }
}

}  // namespace
}  // namespace volfs
