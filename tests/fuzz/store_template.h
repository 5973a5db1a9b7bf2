#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "blockstore/store/store.h"
#include "tests/fuzz/row_tables.h"
#include "tests/support/temp_dir.h"

namespace volfs::fuzz {

// The contents of a plain file. Most files are sparse, and some are large.
struct FileBytes {
  uint64_t size_bytes = 0;
  std::map<uint64_t, std::string> data;  // by offset, without the holes
};
using Files = std::map<std::string, FileBytes>;  // by path

// A small closed store of the nodes "a" and "b", made once in a process and restored for each
// input. All its ids are the same in every process, so an input has the same meaning everywhere.
class StoreTemplate {
 public:
  // `fill` makes the contents through the store's own methods. Meanwhile nothing is copied or
  // merged.
  explicit StoreTemplate(const std::function<void(Store&)>& fill);

  void Restore();
  [[nodiscard]] std::string NodePath(int node) const { return dir_ / (node == 0 ? "a" : "b"); }
  [[nodiscard]] std::string CatalogPath(int node) const { return NodePath(node) + "/catalog.db"; }
  [[nodiscard]] const RowTables& tables(int node) const { return tables_[node]; }

  // Opens the store as a mount does.
  Result<std::unique_ptr<Store>> Open(bool merge, bool hydrate = false) const;

 private:
  void NumberIds();

  TempDir dir_;
  RowTables tables_[2];
  Files files_;  // all but the ballast
};

// Returns the plain files of a node directory without the ballast.
Files FilesOf(const std::string& node_path);

}  // namespace volfs::fuzz
