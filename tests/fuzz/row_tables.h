#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace volfs::fuzz {

// A catalog's rows as any user could change them with another program: any value, with the checksum
// made right again.
using Cell = std::variant<int64_t, std::string, std::vector<uint8_t>>;
struct RowTable {
  std::vector<std::string> columns;  // without the checksum
  std::vector<std::vector<Cell>> rows;
};
using RowTables = std::map<std::string, RowTable>;  // by name

// Of a closed node. Abort if SQLite cannot do it.
RowTables LoadTables(const std::string& catalog_path);
// Puts these rows in the place of those that there are. Leaves out a row that breaks a constraint
// of the database (a key that is there twice), and returns all that it left out, by table.
RowTables SaveTables(const std::string& catalog_path, const RowTables& tables);

}  // namespace volfs::fuzz
