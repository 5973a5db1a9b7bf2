#pragma once

#include <atomic>
#include <string>
#include <string_view>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/io/node_directory.h"

namespace volfs::catalog {

// Whether a catalog is fenced, and why: nothing is committed any more until the node is mounted
// again. The first reason stays.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf. Cost of fenced(): one load.
class Fence {
 public:
  // `lost`: not for an error of the catalog's, but as the node is gone.
  void Raise(const std::string& why, bool lost) VOLFS_EXCLUDES(mu_) {
    {
      MutexLock lock(mu_);
      if (why_.empty()) why_ = why;
    }
    if (lost) lost_ = true;
    raised_ = true;
  }
  [[nodiscard]] bool raised() const { return raised_; }
  [[nodiscard]] bool lost() const { return lost_; }
  [[nodiscard]] std::string why() const VOLFS_EXCLUDES(mu_) {
    MutexLock lock(mu_);
    return why_;
  }
  [[nodiscard]] Status Check(std::string_view where) const {
    if (!raised_) return OkStatus();
    return Error{Errc::kIo,
                 StrCat(where, ": fenced after an earlier error; mount the node again to ",
                        "recover: ", why())};
  }
  // Of a node that turns out to be gone: SQLite syncs into files that were removed as well as into
  // any other.
  Status CheckPresent(NodeDirectory& directory) {
    if (Sabotaged(Sabotage::kIgnoreLoss)) return OkStatus();
    Status present = directory.CheckPresent();
    if (!present.ok()) Raise(present.error().message, true);
    return present;
  }

 private:
  std::atomic<bool> raised_{false};
  std::atomic<bool> lost_{false};
  mutable Mutex mu_;
  std::string why_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs::catalog
