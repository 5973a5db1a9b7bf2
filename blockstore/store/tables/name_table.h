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

// What the volumes of one store are called: the volumes, the tombstones, and the names that
// requests at work have reserved.
//
// Invariants:
//   N1  A name is that of one volume at most, and no request reserves the name of a volume.
//   N2  An id is that of a volume or of a tombstone, not of both.
//   N3  A volume may share its name with tombstones: it was restored from their snapshots then.
//
// Thread-safety: none of its own; used under StoreTables::mu.
// Cost: O(log n) but for what goes through the tombstones or returns a list.
class NameTable {
 public:
  // --- volumes -----------------------------------------------------------------------------------
  // Null if there is none. shared_ptr: an open file or a running request keeps a volume that is
  // deleted meanwhile.
  [[nodiscard]] std::shared_ptr<Volume> Find(const std::string& name) const;
  [[nodiscard]] std::shared_ptr<Volume> Find(Id id) const;
  [[nodiscard]] std::vector<std::shared_ptr<Volume>> Volumes() const;  // by name
  // Adds a volume that is called `name`. A tombstone with its id is gone: the volume has taken the
  // deleted one's record over.
  void Add(const std::string& name, const std::shared_ptr<Volume>& volume);
  void Remove(const std::string& name, Id id);
  void Rename(const std::string& from, const std::string& to);

  // --- names -------------------------------------------------------------------------------------
  // A volume has it, or a request has reserved it.
  [[nodiscard]] bool InUse(const std::string& name) const;
  // ... or a tombstone keeps it.
  [[nodiscard]] bool Taken(const std::string& name) const;
  void Reserve(const std::string& name) { reserved_.insert(name); }
  void GiveBack(const std::string& name) { reserved_.erase(name); }

  // The ids that share a name: of the volume first, and of the tombstones.
  [[nodiscard]] std::vector<Id> Ids(const std::string& name) const;
  // Of a volume or tombstone; empty if there is none.
  [[nodiscard]] std::string NameOf(Id volume) const;
  // The same. Requires: there is one.
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
