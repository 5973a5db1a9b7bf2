#pragma once

#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "blockstore/catalog/catalog.h"
#include "blockstore/layer/image.h"
#include "blockstore/node/node.h"

namespace volfs {

struct SnapshotEntry {
  SnapshotRecord record;
  Node* node = nullptr;
  // weak_ptr: the map is shared by all that have the snapshot open, and goes with the last of them.
  std::weak_ptr<const FrozenImage> image{};
  std::string refused{};  // empty, or why none of it may be shown (row_relations.h)
};

// The snapshots of one store, by their ids and by their names below each volume.
//
// Invariant: every snapshot is found by its id and by its volume's id and its name, or not at all.
//
// Thread-safety: none of its own; used under StoreTables::mu. A pointer to an entry is good until
// that lock is let go.
// Cost: O(log n) but for what returns a list or names a layer.
class SnapshotTable {
 public:
  // Null if there is none.
  [[nodiscard]] const SnapshotEntry* Find(Id id) const;
  [[nodiscard]] const SnapshotEntry* Find(Id volume, const std::string& name) const;
  void Add(SnapshotEntry entry);
  void Remove(Id id);
  void Rename(Id id, const std::string& to);
  // Remembers the image while it is in memory.
  void SetImage(Id id, const std::shared_ptr<const FrozenImage>& image);

  [[nodiscard]] size_t CountOf(Id volume) const;
  [[nodiscard]] std::map<std::string, Id> NamesOf(Id volume) const;
  [[nodiscard]] std::vector<Id> VolumesWithSnapshots() const;

  // --- for the merger, while the node's tree gate is closed --------------------------------------
  [[nodiscard]] std::vector<SnapshotRecord> OnLayer(Id layer) const;
  void SetLayer(Id id, Id layer) { by_id_.at(id).record.layer = layer; }
  // Snapshots of these layers load their maps anew.
  void ForgetImages(const std::unordered_set<Id>& layers);

 private:
  std::map<Id, SnapshotEntry> by_id_;
  std::map<Id, std::map<std::string, Id>> by_name_;  // of each volume that has one
};

}  // namespace volfs
