#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/node/node.h"
#include "blockstore/store/tables/store_tables.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// Settings that later mounts remember: those of the mount in the first node's catalog, those of a
// volume in its own node's.
//
// Thread-safety: all methods from any thread. Locks: change_mu_, held over the commit of a change,
// > the tables' and mu_, a leaf (the values).
class Settings {
 public:
  Settings(Node& first, StoreTables& tables) : first_(first), tables_(tables) {}

  // Takes over a value from a catalog, at the mount. The first value of a key counts.
  void Load(const std::string& key, const std::string& value) VOLFS_EXCLUDES(mu_);
  // Returns the value, empty if it was never set.
  [[nodiscard]] std::string Get(const std::string& key) const VOLFS_EXCLUDES(mu_);
  // Sets the value, durably.
  Status Set(const std::string& key, const std::string& value) VOLFS_EXCLUDES(change_mu_, mu_);

  // Sets the limit of one clone, in bytes per second, beside the limit of all: Throttle::kUnlimited
  // for none, 0 pauses it. Its node remembers it until the clone is whole. Returns kInvalid if the
  // clone is whole already, kIo.
  Status SetCopyRate(Volume& clone, uint64_t bytes_per_second) VOLFS_EXCLUDES(change_mu_);
  // Sets NativeServing::wanted, durably. Returns kBusy while the volume is open.
  Status SetNative(Volume& volume, bool native) VOLFS_EXCLUDES(change_mu_);

 private:
  static Status SetNativeClosed(Volume& volume, bool native);

  Node& first_;
  StoreTables& tables_;
  Mutex change_mu_;
  mutable Mutex mu_;
  std::map<std::string, std::string> values_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
