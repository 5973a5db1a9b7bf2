#include "tests/fuzz/row_tables.h"

#include <sqlite3.h>

#include "blockstore/catalog/rows.h"
#include "tests/fuzz/fuzz_targets.h"

namespace volfs::fuzz {
namespace {

class Database {
 public:
  explicit Database(const std::string& path) {
    Require(sqlite3_open(path.c_str(), &db_) == SQLITE_OK, "the catalog can be opened");
    Run("PRAGMA locking_mode=EXCLUSIVE");
    Run("PRAGMA synchronous=OFF");
  }
  ~Database() { sqlite3_close(db_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  void Run(const std::string& sql) {
    Require(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK, sql);
  }
  sqlite3_stmt* Prepare(const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    Require(sqlite3_prepare_v2(db_, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK, sql);
    return statement;
  }

 private:
  sqlite3* db_ = nullptr;
};

Cell CellAt(sqlite3_stmt* row, int column) {
  if (sqlite3_column_type(row, column) == SQLITE_INTEGER) return sqlite3_column_int64(row, column);
  const auto* const bytes = static_cast<const uint8_t*>(sqlite3_column_blob(row, column));
  const auto size = static_cast<size_t>(sqlite3_column_bytes(row, column));
  std::vector<uint8_t> copy(bytes, bytes + size);
  if (sqlite3_column_type(row, column) == SQLITE_BLOB) return copy;
  return std::string(copy.begin(), copy.end());
}

struct Binder {
  sqlite3_stmt* statement;
  int place;
  catalog::RowChecksum& crc;
  void operator()(int64_t value) const {
    crc.Add(value);
    sqlite3_bind_int64(statement, place, value);
  }
  void operator()(const std::string& text) const {
    crc.Add(std::string_view(text));
    sqlite3_bind_text(statement, place, text.data(), static_cast<int>(text.size()),
                      SQLITE_TRANSIENT);
  }
  void operator()(const std::vector<uint8_t>& bytes) const {
    crc.Add(std::span(bytes));
    sqlite3_bind_blob(statement, place, bytes.empty() ? "" : static_cast<const void*>(bytes.data()),
                      static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
  }
};

// Returns false if a constraint of the database forbids the row.
bool Insert(sqlite3_stmt* statement, const std::string& name, const std::vector<Cell>& row) {
  catalog::RowChecksum crc(name);
  int place = 0;
  for (const Cell& cell : row) std::visit(Binder{statement, ++place, crc}, cell);
  sqlite3_bind_int64(statement, ++place, crc.value());
  const bool inserted = sqlite3_step(statement) == SQLITE_DONE;
  sqlite3_reset(statement);
  return inserted;
}

}  // namespace

RowTables LoadTables(const std::string& catalog_path) {
  RowTables tables;
  Database database(catalog_path);
  sqlite3_stmt* const names = database.Prepare(
      "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'");
  while (sqlite3_step(names) == SQLITE_ROW) tables[std::get<std::string>(CellAt(names, 0))];
  sqlite3_finalize(names);
  for (auto& [name, table] : tables) {
    sqlite3_stmt* const select = database.Prepare("SELECT * FROM " + name);
    const int columns = sqlite3_column_count(select) - 1;  // the last one is the checksum
    for (int i = 0; i < columns; ++i) table.columns.emplace_back(sqlite3_column_name(select, i));
    while (sqlite3_step(select) == SQLITE_ROW) {
      auto& row = table.rows.emplace_back();
      for (int i = 0; i < columns; ++i) row.push_back(CellAt(select, i));
    }
    sqlite3_finalize(select);
  }
  return tables;
}

RowTables SaveTables(const std::string& catalog_path, const RowTables& tables) {
  RowTables left_out;
  Database database(catalog_path);
  database.Run("BEGIN IMMEDIATE");
  for (const auto& [name, table] : tables) {
    database.Run("DELETE FROM " + name);
    std::string marks = "?";
    for (size_t i = 0; i < table.columns.size(); ++i) marks += ", ?";
    sqlite3_stmt* const insert =
        database.Prepare("INSERT INTO " + name + " VALUES (" + marks + ")");
    for (const auto& row : table.rows) {
      if (!Insert(insert, name, row)) left_out[name].rows.push_back(row);
    }
    sqlite3_finalize(insert);
  }
  database.Run("COMMIT");
  database.Run("PRAGMA wal_checkpoint(TRUNCATE)");
  return left_out;
}

}  // namespace volfs::fuzz
