#include "blockstore/store/tables/clone_table.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace volfs {

const CloneEntry* CloneTable::Find(Id clone) const {
  const auto found = entries_.find(clone);
  return found == entries_.end() ? nullptr : &found->second;
}

CloneEntry* CloneTable::Find(Id clone) {
  const auto found = entries_.find(clone);
  return found == entries_.end() ? nullptr : &found->second;
}

void CloneTable::Put(Id clone, CloneEntry entry) { entries_[clone] = std::move(entry); }

bool CloneTable::Needs(Id source) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& entry) {
    return entry.second.lock == source && !entry.second.owed;
  });
}

void CloneTable::Lock(Id source, Id clone) {
  assert(!locks_.contains(source));
  locks_[source] = clone;
}

void CloneTable::UnlockOf(Id source, Id clone) {
  const auto lock = locks_.find(source);
  if (lock != locks_.end() && lock->second == clone) locks_.erase(lock);
}

}  // namespace volfs
