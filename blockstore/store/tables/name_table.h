#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "blockstore/catalog/catalog.h"
#include "blockstore/node/node.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// A deleted volume whose snapshots live on and keep its name.
struct Tombstone {
  VolumeRecord record;
  Node* node = nullptr;
};

// The names of one store: the volumes, the tombstones, and the names that running requests have
// reserved.
//
// Invariants:
//   N1  At most one volume has a given name, and no request reserves the name of a volume.
//   N2  An id belongs to a volume or to a tombstone, not to both.
//   N3  A volume shares its name with tombstones only if it was restored from their snapshots.
//
// Thread-safety: none of its own; used under StoreTables::mu. Cost: O(log n), but O(n) for Taken
// and Ids, which walk the tombstones, and for lists.
class NameTable {
 public:
  // --- volumes -----------------------------------------------------------------------------------
  // Returns null if there is none. shared_ptr: an open file or a running request keeps a volume
  // that is deleted meanwhile.
  [[nodiscard]] std::shared_ptr<Volume> Find(const std::string& name) const;
  [[nodiscard]] std::shared_ptr<Volume> Find(Id id) const;
  [[nodiscard]] std::vector<std::shared_ptr<Volume>> Volumes() const;  // by name
  // Adds a volume that is called `name`. Removes a tombstone with its id, whose record the volume
  // has taken over.
  void Add(const std::string& name, const std::shared_ptr<Volume>& volume);
  void Remove(const std::string& name, Id id);
  void Rename(const std::string& from, const std::string& to);

  // --- names -------------------------------------------------------------------------------------
  // Returns whether a volume has the name, or a request has reserved it.
  [[nodiscard]] bool InUse(const std::string& name) const;
  // Returns whether the name is InUse, or a tombstone keeps it.
  [[nodiscard]] bool Taken(const std::string& name) const;
  void Reserve(const std::string& name) { reserved_.insert(name); }
  void GiveBack(const std::string& name) { reserved_.erase(name); }

  // Returns the ids that share a name: the volume's first, then those of tombstones.
  [[nodiscard]] std::vector<Id> Ids(const std::string& name) const;
  // Returns the name of a volume or tombstone, empty if there is none.
  [[nodiscard]] std::string NameOf(Id volume) const;
  // The record of a volume or tombstone, or a part of it. Requires: there is one.
  [[nodiscard]] Attributes AttributesOf(Id volume) const;
  [[nodiscard]] VolumeRecord RecordOf(Id volume) const;

  // --- tombstones --------------------------------------------------------------------------------
  [[nodiscard]] bool HasTombstone(Id id) const { return tombstones_.contains(id); }
  void AddTombstone(const Tombstone& tombstone) { tombstones_[tombstone.record.id] = tombstone; }
  void RemoveTombstone(Id id) { tombstones_.erase(id); }
  [[nodiscard]] std::vector<Tombstone> Tombstones() const;  // by id

 private:
  std::map<std::string, std::shared_ptr<Volume>> by_name_;
  std::map<Id, std::shared_ptr<Volume>> by_id_;
  std::map<Id, Tombstone> tombstones_;
  std::set<std::string> reserved_;
};

}  // namespace volfs
