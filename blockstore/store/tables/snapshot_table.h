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
  // weak_ptr: all opens of the snapshot share the map, which goes with the last of them.
  std::weak_ptr<const FrozenImage> image{};
  std::string refused{};  // empty, or why it may not be read (row_relations.h)
  // The bytes that a deletion would free, as they were counted last. Readers get this count until
  // `until` (MonotonicNow).
  struct Freed {
    uint64_t bytes = 0;
    Nanoseconds until{0};
  };
  Freed freed{};
};

// The snapshots of one store, by their ids and by their names below each volume.
//
// Invariant: a snapshot that is found by its id is also found by its volume's id and its name, and
// the other way round.
//
// Thread-safety: none of its own; used under StoreTables::mu. A pointer to an entry is good until
// that lock is let go. Cost: O(log n), but O(n) for lists and for methods that take layers.
class SnapshotTable {
 public:
  // Returns null if there is none.
  [[nodiscard]] const SnapshotEntry* Find(Id id) const;
  [[nodiscard]] const SnapshotEntry* Find(Id volume, const std::string& name) const;
  void Add(SnapshotEntry entry);
  void Remove(Id id);
  void Rename(Id id, const std::string& to);
  // Remembers the image for as long as a reader keeps it in memory.
  void SetImage(Id id, const std::shared_ptr<const FrozenImage>& image);

  // Does nothing if the snapshot is gone.
  void SetFreed(Id id, const SnapshotEntry::Freed& freed);

  [[nodiscard]] size_t CountOf(Id volume) const;
  [[nodiscard]] std::map<std::string, Id> NamesOf(Id volume) const;
  [[nodiscard]] std::vector<Id> VolumesWithSnapshots() const;
  [[nodiscard]] std::vector<Id> Ids() const;  // ascending

  // --- for the merger, while the node's tree gate is closed --------------------------------------
  [[nodiscard]] std::vector<SnapshotRecord> OnLayer(Id layer) const;
  void SetLayer(Id id, Id layer) { by_id_.at(id).record.layer = layer; }
  // Makes the next open of each snapshot of these layers load its map anew.
  void ForgetImages(const std::unordered_set<Id>& layers);

 private:
  std::map<Id, SnapshotEntry> by_id_;
  std::map<Id, std::map<std::string, Id>> by_name_;  // of each volume that has one
};

}  // namespace volfs
