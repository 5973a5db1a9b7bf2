#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "blockstore/catalog/catalog.h"
#include "blockstore/clone/clone_job.h"
#include "blockstore/node/node.h"
#include "blockstore/sync/throttle.h"

namespace volfs {

// A clone that is not whole yet, or whose hold is still to be released.
struct CloneEntry {
  CloneRecord record;
  std::shared_ptr<CloneJob> job{};  // null: cannot run now, `trouble` says why
  std::string trouble{};
  Node* source_node = nullptr;  // null: not mounted
  Layer* held = nullptr;        // the layer to copy from; null without a hold, `trouble` tells
  Id lock = kNoId;              // the volume or snapshot that it has locked as a source
  bool owed = false;            // whole, but the node of its hold is not mounted
  bool absent = false;          // known by its hold only: its own node is not mounted
  uint64_t max_bytes = 0;       // an upper bound of the copying, until it is counted
  uint64_t copy_rate = Throttle::kUnlimited;

  // Returns whether users see the clone as `creating`.
  [[nodiscard]] bool creating() const { return !owed && !absent; }
};

// The clones of one store that still depend on their sources, and the locks of sources. The lock of
// a volume or snapshot lets one request at a time make a clone or snapshot of it, or revert it. A
// clone that is being copied keeps the lock of its source. A lock is an entry here, and no thread
// waits for it: the request is refused.
//
// Thread-safety: none of its own; used under StoreTables::mu. A pointer to an entry is good until
// that lock is let go. Cost: O(log n), except Needs and walks of entries(), which are O(n).
class CloneTable {
 public:
  // Returns null if there is none.
  [[nodiscard]] const CloneEntry* Find(Id clone) const;
  CloneEntry* Find(Id clone);
  [[nodiscard]] const std::map<Id, CloneEntry>& entries() const { return entries_; }
  void Put(Id clone, CloneEntry entry);
  void Remove(Id clone) { entries_.erase(clone); }
  // Returns whether a clone that is not whole needs the volume or snapshot `source`.
  [[nodiscard]] bool Needs(Id source) const;

  // --- locks of sources --------------------------------------------------------------------------
  [[nodiscard]] bool Locked(Id source) const { return locks_.contains(source); }
  // Returns the clone that has the lock, kNoId if a request has it. Requires: Locked.
  [[nodiscard]] Id HolderOf(Id source) const { return locks_.at(source); }
  // Requires: not Locked. `clone` is kNoId for a request.
  void Lock(Id source, Id clone);
  // Passes the lock of a request on to the clone that it has made.
  void PassLock(Id source, Id clone) { locks_[source] = clone; }
  void Unlock(Id source) { locks_.erase(source); }
  // Unlocks `source` if `clone` has its lock.
  void UnlockOf(Id source, Id clone);

 private:
  std::map<Id, CloneEntry> entries_;
  std::map<Id, Id> locks_;  // source -> clone, or kNoId
};

}  // namespace volfs
