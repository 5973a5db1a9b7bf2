// Who is called what: names and locks that a request reserves, and what a name leads to.
#include <algorithm>
#include <array>
#include <cassert>
#include <cstdio>

#include "blockstore/base/str_cat.h"
#include "blockstore/store/clone_plan.h"
#include "blockstore/store/store.h"

namespace volfs {

void Store::ReserveNameLocked(Reservation& reservation, const std::string& name) {
  reserved_names_.insert(name);
  reservation.HasName(name);
}

void Store::ReserveSourceLocked(Reservation& reservation, Id source) {
  assert(!locked_.contains(source));
  locked_[source] = kNoId;
  reservation.HasSource(source);
}

Store::Reservation::~Reservation() {
  MutexLock lock(store_.mu_);
  if (!name_.empty()) store_.reserved_names_.erase(name_);
  if (source_ != kNoId) store_.locked_.erase(source_);
}

bool Store::NameTakenLocked(const std::string& name) const {
  return by_name_.contains(name) || reserved_names_.contains(name) ||
         std::any_of(tombstones_.begin(), tombstones_.end(),
                     [&](const auto& tombstone) { return tombstone.second.record.name == name; });
}

std::vector<Id> Store::IdsLocked(const std::string& name) const {
  std::vector<Id> ids;
  const auto live = by_name_.find(name);
  if (live != by_name_.end()) ids.push_back(live->second->id());
  for (const auto& [id, tombstone] : tombstones_) {
    if (tombstone.record.name == name) ids.push_back(id);
  }
  return ids;
}

std::string Store::NameLocked(Id volume) const {
  const auto live = by_id_.find(volume);
  if (live != by_id_.end()) return live->second->name();
  const auto tombstone = tombstones_.find(volume);
  return tombstone == tombstones_.end() ? "" : tombstone->second.record.name;
}

Attributes Store::AttributesLocked(Id volume) const {
  const auto live = by_id_.find(volume);
  return live != by_id_.end() ? live->second->attributes()
                              : tombstones_.at(volume).record.attributes;
}

Store::TreeLock Store::LockTreeOf(const std::string& volume, const std::string& snapshot) {
  TreeLock tree;
  {
    MutexLock lock(mu_);
    const auto live = by_name_.find(volume);
    if (!snapshot.empty()) {
      if (const auto* found = FindSnapshotLocked(volume, snapshot)) tree.node = found->node;
    } else if (live != by_name_.end()) {
      tree.node = &live->second->node();
    }
  }
  if (tree.node != nullptr) tree.passage = tree.node->tree_gate().Enter();
  return tree;
}

Status Store::CheckSameNode(const Node* tree, const Node& node, const std::string& what) {
  if (tree == &node) return OkStatus();
  return Error{Errc::kBusy, StrCat(what, ": its name has come from another just now; try again")};
}

const Store::SnapshotEntry* Store::FindSnapshotLocked(const std::string& volume,
                                                      const std::string& name) const {
  for (const Id id : IdsLocked(volume)) {
    const auto names = snapshot_names_.find(id);
    if (names == snapshot_names_.end()) continue;
    const auto found = names->second.find(name);
    if (found != names->second.end()) return &snapshots_.at(found->second);
  }
  return nullptr;
}

Status Store::CheckUnlockedLocked(Id key, const std::string& what) const {
  const auto lock = locked_.find(key);
  if (lock == locked_.end()) return OkStatus();
  const auto clone = clones_.find(lock->second);
  if (clone == clones_.end()) {
    return Error{Errc::kBusy, StrCat(what, ": another clone or snapshot of it is being made")};
  }
  const auto volume = by_id_.find(lock->second);
  const std::string name =
      volume == by_id_.end() ? clone->second.record.name : volume->second->name();
  const auto& job = clone->second.job;
  const double percent = job == nullptr ? 0 : job->progress().percent();
  std::array<char, 16> hydrated{};
  std::snprintf(hydrated.data(), hydrated.size(), "%.2f", percent);
  return Error{
      Errc::kBusy,
      StrCat(what, ": a clone of it (", name, ", ", hydrated.data(),
             " per cent) is still being copied; wait for it, or `volfs cancel ", name, "`")};
}

// A source must be whole and healthy.
Status Store::CheckSourceLocked(const Volume& source) const {
  const auto clone = clones_.find(source.id());
  if (clone != clones_.end() && !clone->second.owed) {
    return Error{Errc::kBusy, StrCat(source.name(),
                                     ": it is itself a clone that is still being "
                                     "copied; wait until it is available")};
  }
  if (source.opens().deleting())
    return Error{Errc::kBusy, StrCat(source.name(), ": it is being deleted")};
  if (const std::string why = source.state().failure(); !why.empty()) {
    return Error{Errc::kBusy, StrCat(source.name(), ": it is in error: ", why)};
  }
  return OkStatus();
}

}  // namespace volfs
