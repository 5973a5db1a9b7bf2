#pragma once

#include <memory>
#include <string>

#include "blockstore/store/store.h"

namespace volfs {

// A name and a source's lock, taken by one request under Store::mu_ before it works without; what
// it has not kept when it ends is given back.
class Store::Reservation {
 public:
  explicit Reservation(Store& store) : store_(store) {}
  ~Reservation() VOLFS_EXCLUDES(store_.mu_);
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  // What Store::Reserve*Locked has entered in its tables.
  void HasName(const std::string& name) { name_ = name; }
  void HasSource(Id source) { source_ = source; }
  // The source's lock is now the clone's.
  void PassedSource() { source_ = kNoId; }
  // Nobody knows what is on disk: the name stays taken until the next mount.
  void AbandonName() { name_.clear(); }
  // ... and the source locked: there may be a clone that needs it.
  void Abandon() {
    AbandonName();
    source_ = kNoId;
  }

 private:
  Store& store_;
  std::string name_;
  Id source_ = kNoId;
};

// What one clone request is going to do, checked and reserved.
struct Store::ClonePlan {
  explicit ClonePlan(Store& store) : reservation(store) {}

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
