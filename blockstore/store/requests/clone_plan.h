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

// What one clone request is going to do, checked and reserved.
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
  const Node* tree_node = nullptr;  // whose tree of layers is locked meanwhile
  uint64_t source_bytes = 0;
  uint64_t data_bytes = 0;  // an upper bound of what has to be copied
  [[nodiscard]] Id lock_key() const { return snapshot != kNoId ? snapshot : source_volume; }

  Node* named_node = nullptr;  // as the request said; null: none, or not there
  Node* target = nullptr;

  // Known once the instant is fixed.
  std::shared_ptr<const FrozenImage> image;
  Layer* frozen = nullptr;
  std::optional<CloneRecord> clone;  // none: linked
};

}  // namespace volfs
