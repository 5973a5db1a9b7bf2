#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "blockstore/base/error.h"

namespace volfs {
class NodeDirectory;
}

namespace volfs::catalog {

class OverlayFile;

// Lets SQLite use a node's catalog files without a write to the node. SQLite reads from the node;
// its writes stay in memory and end with the Overlay. A log that was never checkpointed is
// therefore read as a recovery reads it, even on a disk that cannot be written.
//
// Memory: 4 KiB for each page that was written; none for pages that are only read.
// Thread-safety: one connection at a time, under the catalog's lock. The table that leads from a
// path to its Overlay has a lock of its own, a leaf.
class Overlay {
 public:
  static constexpr const char* kVfsName = "volfs-overlay";

  // `node` must outlive it, and it every connection to path().
  explicit Overlay(NodeDirectory& node);
  ~Overlay();
  Overlay(const Overlay&) = delete;
  Overlay& operator=(const Overlay&) = delete;

  // The database, for SQLite's VFS of that name.
  [[nodiscard]] std::string path() const;

  // For the VFS. `name` is relative to the node's directory.
  Result<std::shared_ptr<OverlayFile>> Find(const std::string& name);  // null: there is none
  std::shared_ptr<OverlayFile> Make(const std::string& name);          // empty, in memory only
  void Remove(const std::string& name);

 private:
  NodeDirectory& node_;
  const uint64_t number_;  // of all in this process
  // The files that were opened, made (then without a file of the node) or removed (null).
  std::map<std::string, std::shared_ptr<OverlayFile>> files_;
};

}  // namespace volfs::catalog
