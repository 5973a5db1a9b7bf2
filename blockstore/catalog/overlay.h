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

// A node's catalog files as SQLite may use them although nothing of the node is ever written: what
// SQLite reads comes from the node, what it writes stays in memory and ends with the Overlay. So a
// log that was never checkpointed is read as a recovery reads it, on a disk that cannot be written,
// too.
//
// Memory: 4 KiB for each page that was written; nothing for what is only read.
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

  // What the VFS asks for; `name` is relative to the node's directory.
  Result<std::shared_ptr<OverlayFile>> Find(const std::string& name);  // null: there is none
  std::shared_ptr<OverlayFile> Make(const std::string& name);          // empty, in memory only
  void Remove(const std::string& name);

 private:
  NodeDirectory& node_;
  const uint64_t number_;  // of all in this process
  // What was opened, made (then without a file of the node) or removed (null).
  std::map<std::string, std::shared_ptr<OverlayFile>> files_;
};

}  // namespace volfs::catalog
