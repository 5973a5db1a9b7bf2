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

// Settings that are remembered: those of the mount in the first node's catalog, those of a volume
// in its own node's.
//
// Thread-safety: all methods from any thread. Locks: change_mu_, held over the commit of a change,
// > the tables' and mu_, a leaf (the values).
class Settings {
 public:
  Settings(Node& first, StoreTables& tables) : first_(first), tables_(tables) {}

  // Takes over what a catalog says. The first of several values counts.
  void Load(const std::string& key, const std::string& value) VOLFS_EXCLUDES(mu_);
  // Empty if it was never set.
  [[nodiscard]] std::string Get(const std::string& key) const VOLFS_EXCLUDES(mu_);
  // Durable when it returns.
  Status Set(const std::string& key, const std::string& value) VOLFS_EXCLUDES(change_mu_, mu_);

  // Of one clone, beside the limit of all: Throttle::kUnlimited for none, 0 pauses it. Remembered
  // on its node for as long as it is not whole. kInvalid if that is not so, kIo.
  Status SetCopyRate(Volume& clone, uint64_t bytes_per_second) VOLFS_EXCLUDES(change_mu_);
  // NativeServing::wanted, durably. kBusy while it is open.
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
