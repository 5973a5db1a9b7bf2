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

// The plan of one clone request: PlanClone checks its values and reserves its name and source, and
// the later steps fill in the rest. Used only by the thread of the request.
struct ClonePlan {
  explicit ClonePlan(StoreTables& tables) : reservation(tables) {}

  Reservation reservation;
  Id id = kNoId;  // of the clone
  std::string name;
  std::string type;
  uint64_t size_bytes = 0;
  Attributes attributes;
  std::string token;  // as in CloneRequest
  std::string words;
  bool verify = false;

  std::shared_ptr<Volume> source;  // null: the source is a snapshot
  Id snapshot = kNoId;
  Id source_volume = kNoId;
  std::string source_words;  // "db.img" or "db.img@monday"
  Node* source_node = nullptr;
  const Node* tree_node = nullptr;  // the node whose tree gate the request has passed
  uint64_t source_bytes = 0;
  uint64_t data_bytes = 0;  // an upper bound of the bytes to copy
  // The volume or snapshot whose lock the request takes (CloneTable).
  [[nodiscard]] Id lock_key() const { return snapshot != kNoId ? snapshot : source_volume; }

  Node* named_node = nullptr;  // from the request; null: none was named, or it is not mounted
  Node* target = nullptr;      // the clone's node

  // The image that the clone reads; set at the snapshot point.
  std::shared_ptr<const FrozenImage> image;
  Layer* frozen = nullptr;           // its top layer
  std::optional<CloneRecord> clone;  // none: linked
};

}  // namespace volfs
