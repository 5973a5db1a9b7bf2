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
  std::shared_ptr<CloneJob> job{};  // null: it cannot be copied now, `trouble` says why
  std::string trouble{};
  Node* source_node = nullptr;  // null: not mounted
  Layer* held = nullptr;   // what it is copied from; there may be no hold, then `trouble` says so
  Id lock = kNoId;         // the volume or snapshot whose lock it has
  bool owed = false;       // whole, but the hold could not be released: A is not mounted
  bool absent = false;     // known by its hold only: the clone's own node is not mounted
  uint64_t max_bytes = 0;  // that it may have to copy, as long as that is not counted
  uint64_t copy_rate = Throttle::kUnlimited;

  // Its user sees it as `creating`: it is neither owed nor known by its hold only.
  [[nodiscard]] bool creating() const { return !owed && !absent; }
};

// The clones of one store that still depend on their sources, and the locks of sources: of a volume
// or snapshot one clone, snapshot or revert is made at a time, and while a clone of it is copied no
// other is made.
//
// Thread-safety: none of its own; used under StoreTables::mu. A pointer to an entry is good until
// that lock is let go.
// Cost: O(log n) but for Needs and what goes through entries().
class CloneTable {
 public:
  // Null if there is none.
  [[nodiscard]] const CloneEntry* Find(Id clone) const;
  CloneEntry* Find(Id clone);
  [[nodiscard]] const std::map<Id, CloneEntry>& entries() const { return entries_; }
  void Put(Id clone, CloneEntry entry);
  void Remove(Id clone) { entries_.erase(clone); }
  // Does a clone that is not whole need the volume or snapshot `source`?
  [[nodiscard]] bool Needs(Id source) const;

  // --- locks of sources --------------------------------------------------------------------------
  [[nodiscard]] bool Locked(Id source) const { return locks_.contains(source); }
  // The clone that has the lock; kNoId for a request that is at work. Requires: Locked.
  [[nodiscard]] Id HolderOf(Id source) const { return locks_.at(source); }
  // Requires: not Locked. `clone` is kNoId for a request.
  void Lock(Id source, Id clone);
  // A request passes its lock on to the clone that it has made.
  void PassLock(Id source, Id clone) { locks_[source] = clone; }
  void Unlock(Id source) { locks_.erase(source); }
  // Unlocks `source` if `clone` has its lock.
  void UnlockOf(Id source, Id clone);

 private:
  std::map<Id, CloneEntry> entries_;
  std::map<Id, Id> locks_;  // source -> clone, or kNoId
};

}  // namespace volfs
