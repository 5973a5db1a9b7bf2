// Goal: FORMAT.md is right. Method: the bytes of its worked example are decoded, and compared with
// those that the catalog writes for the same layer.
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/blockstore/catalog/catalog_fixture.h"

namespace volfs {
namespace {

namespace fs = std::filesystem;

std::string Document() {
#ifdef VOLFS_SOURCE_DIR
  const fs::path root = VOLFS_SOURCE_DIR;
#else
  const fs::path root = fs::path(__FILE__).parent_path().parent_path().parent_path();
#endif
  std::ifstream file(root / "blockstore" / "FORMAT.md");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Returns the bytes of the fenced block with that name; ".." stands for as many zeros as make
// `size`.
std::vector<uint8_t> BytesOf(const std::string& name, size_t size) {
  const std::string document = Document();
  const std::string fence = "```" + name + "\n";
  const size_t begin = document.find(fence);
  EXPECT_NE(begin, std::string::npos) << name;
  if (begin == std::string::npos) return {};
  const size_t first = begin + fence.size();
  std::istringstream words(document.substr(first, document.find("```", first) - first));
  std::vector<uint8_t> bytes;
  size_t gap = std::string::npos;
  for (std::string word; words >> word;) {
    if (word == "..") {
      gap = bytes.size();
    } else {
      bytes.push_back(static_cast<uint8_t>(std::stoul(word, nullptr, 16)));
    }
  }
  if (gap != std::string::npos) {
    bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(gap), size - bytes.size(), 0);
  }
  EXPECT_EQ(bytes.size(), size) << name;
  return bytes;
}

bool DocumentSays(uint32_t crc) {
  std::ostringstream text;
  text << "0x" << std::hex << crc << " = " << std::dec << crc;
  return Document().find(text.str()) != std::string::npos;
}

struct StoredRow {
  int64_t layer, first_chunk, chunk_count, state, crc;
  std::vector<uint8_t> bits;
};

class FormatTest : public CatalogFixture {
 protected:
  std::vector<StoredRow> StoredRows() {
    catalog_.reset();
    sqlite3* db = nullptr;
    EXPECT_EQ(sqlite3_open(node_->catalog_path().c_str(), &db), SQLITE_OK);
    sqlite3_stmt* rows = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db,
                                 "SELECT layer, first_chunk, chunk_count, state, crc, bits "
                                 "FROM presence ORDER BY first_chunk",
                                 -1, &rows, nullptr),
              SQLITE_OK);
    std::vector<StoredRow> found;
    while (sqlite3_step(rows) == SQLITE_ROW) {
      const auto at = [rows](int column) { return int64_t{sqlite3_column_int64(rows, column)}; };
      const auto* bits = static_cast<const uint8_t*>(sqlite3_column_blob(rows, 5));
      found.push_back({at(0), at(1), at(2), at(3), at(4),
                       std::vector<uint8_t>(bits, bits + sqlite3_column_bytes(rows, 5))});
    }
    sqlite3_finalize(rows);
    sqlite3_close(db);
    return found;
  }
};

uint32_t Crc(const std::vector<uint8_t>& bytes) {
  return static_cast<uint32_t>(crc32(0, bytes.data(), static_cast<uInt>(bytes.size())));
}

TEST_F(FormatTest, TheWorkedExampleDecodesToWhatItsTextSays) {
  const std::vector<uint8_t> bits = BytesOf("presence-bits", 1024);
  PresenceChunk chunk;
  ASSERT_TRUE(chunk.FromBytes(bits.data(), bits.size()));
  for (uint64_t i = 0; i < PresenceChunk::kChunkBlocks; ++i) {
    const bool here = i == 0 || i == 3 || i == 4095;
    const bool zero = i == 1 || (i >= 4 && i <= 11);
    EXPECT_EQ(chunk.Get(i), here   ? BlockState::kPresent
                            : zero ? BlockState::kZero
                                   : BlockState::kAbsent)
        << "block " << i;
  }
}

TEST_F(FormatTest, TheCatalogStoresTheWorkedExampleAsPrinted) {
  Create();
  constexpr uint64_t kBase = 5 * PresenceChunk::kChunkBlocks;
  PresenceRuns runs;
  runs.Set({kBase, 1}, BlockState::kPresent);
  runs.Set({kBase + 1, 1}, BlockState::kZero);
  runs.Set({kBase + 3, 1}, BlockState::kPresent);
  runs.Set({kBase + 4, 8}, BlockState::kZero);
  runs.Set({kBase + 4095, 1}, BlockState::kPresent);
  runs.Set({kBase + 4096, 65536 * PresenceChunk::kChunkBlocks}, BlockState::kZero);
  Commit({PutLayer{TestLayer(kLayerId)}, SetPresence{kLayerId, runs}});

  const std::vector<uint8_t> bits = BytesOf("presence-bits", 1024);
  std::vector<uint8_t> mixed = BytesOf("presence-mixed-prefix", 48);
  mixed.insert(mixed.end(), bits.begin(), bits.end());
  const std::vector<uint8_t> uniform = BytesOf("presence-uniform", 48);
  EXPECT_TRUE(DocumentSays(Crc(mixed))) << std::hex << Crc(mixed);
  EXPECT_TRUE(DocumentSays(Crc(uniform))) << std::hex << Crc(uniform);

  const std::vector<StoredRow> rows = StoredRows();
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].layer, 81985529216486656);
  EXPECT_EQ(rows[0].first_chunk, 5);
  EXPECT_EQ(rows[0].chunk_count, 1);
  EXPECT_EQ(rows[0].state, 3);
  EXPECT_EQ(rows[0].bits, bits);
  EXPECT_EQ(rows[0].crc, int64_t{Crc(mixed)});
  EXPECT_EQ(rows[1].first_chunk, 6);
  EXPECT_EQ(rows[1].chunk_count, 65536);
  EXPECT_EQ(rows[1].state, 2);
  EXPECT_TRUE(rows[1].bits.empty());
  EXPECT_EQ(rows[1].crc, int64_t{Crc(uniform)});
}

// Reads the database's marks as another program would, from the header of the file (SQLite's
// "Database File Format": page size at 16, user_version at 60, application_id at 68, big-endian).
TEST_F(FormatTest, TheDatabaseIsMarkedAsPrinted) {
  Create();
  ASSERT_TRUE(catalog_->Checkpoint().ok());
  catalog_.reset();
  std::ifstream file(dir_ / "catalog.db", std::ios::binary);
  std::string header(100, '\0');
  file.read(header.data(), static_cast<std::streamsize>(header.size()));
  EXPECT_EQ(header.substr(0, 16), std::string("SQLite format 3\0", 16));
  EXPECT_EQ(header.substr(16, 2), std::string("\x10\0", 2));
  EXPECT_EQ(header.substr(18, 2), "\x02\x02") << "WAL";
  EXPECT_EQ(header.substr(60, 4), std::string("\0\0\0\x01", 4));
  EXPECT_EQ(header.substr(68, 4), "volf");
}

// Every table of the database and every column of it is in the document.
TEST_F(FormatTest, TheDocumentNamesEveryColumn) {
  Create();
  catalog_.reset();
  sqlite3* db = nullptr;
  ASSERT_EQ(sqlite3_open(node_->catalog_path().c_str(), &db), SQLITE_OK);
  const std::string document = Document();
  std::vector<std::string> names;
  const auto add = [](void* out, int, char** values, char**) {
    static_cast<std::vector<std::string>*>(out)->emplace_back(values[0]);
    return 0;
  };
  EXPECT_EQ(sqlite3_exec(db,
                         "SELECT name FROM sqlite_schema WHERE type = 'table' UNION "
                         "SELECT c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c "
                         "WHERE t.type = 'table' AND t.name <> 'meta'",
                         add, &names, nullptr),
            SQLITE_OK);
  sqlite3_close(db);
  EXPECT_GT(names.size(), 50U);
  for (const std::string& name : names) {
    EXPECT_NE(document.find("`" + name + "`"), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace volfs
