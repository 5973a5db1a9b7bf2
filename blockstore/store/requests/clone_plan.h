#pragma once

#include <memory>
#include <optional>
#include <string>

#include "blockstore/catalog/catalog.h"
#include "blockstore/layer/image.h"
#include "blockstore/node/node.h"
#include "blockstore/store/tables/store_tables.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// The plan of one clone request: its values are checked, its name and source are reserved.
struct ClonePlan {
  explicit ClonePlan(StoreTables& tables) : reservation(tables) {}

  Reservation reservation;
  Id id = kNoId;  // of the clone
  std::string name;
  std::string type;
  uint64_t size_bytes = 0;
  Attributes attributes;
  std::string token;
  std::string words;
  bool verify = false;

  std::shared_ptr<Volume> source;  // null: of a snapshot
  Id snapshot = kNoId;
  Id source_volume = kNoId;
  std::string source_words;  // "db.img" or "db.img@monday"
  Node* source_node = nullptr;
  const Node* tree_node = nullptr;  // the node whose tree gate the request has passed
  uint64_t source_bytes = 0;
  uint64_t data_bytes = 0;  // an upper bound of the copying
  [[nodiscard]] Id lock_key() const { return snapshot != kNoId ? snapshot : source_volume; }

  Node* named_node = nullptr;  // from the request; null: none was named, or it is not mounted
  Node* target = nullptr;

  // Set at the snapshot point.
  std::shared_ptr<const FrozenImage> image;
  Layer* frozen = nullptr;
  std::optional<CloneRecord> clone;  // none: linked
};

}  // namespace volfs
