#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace volfs::fuzz {

// A catalog's rows with the changes that any user could make with another program: any value, with
// the checksum corrected.
using Cell = std::variant<int64_t, std::string, std::vector<uint8_t>>;
struct RowTable {
  std::vector<std::string> columns;  // without the checksum
  std::vector<std::vector<Cell>> rows;
};
using RowTables = std::map<std::string, RowTable>;  // by name

// Reads the tables of a closed node. Aborts if SQLite cannot.
RowTables LoadTables(const std::string& catalog_path);
// Replaces all rows by these. Leaves out a row that breaks a constraint of the database (such as a
// second row with the same key), and returns the rows left out, by table.
RowTables SaveTables(const std::string& catalog_path, const RowTables& tables);

}  // namespace volfs::fuzz
