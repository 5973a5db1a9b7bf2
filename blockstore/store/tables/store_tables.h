#pragma once

#include <memory>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/store/tables/clone_table.h"
#include "blockstore/store/tables/name_table.h"
#include "blockstore/store/tables/snapshot_table.h"

namespace volfs {

class Reservation;

// The tables of one store, the one lock that guards them, and what is asked of several of them at
// one moment. A request checks and reserves under the lock, works without it, and publishes under
// it.
//
// Thread-safety: any thread. Locks: mu, never held over I/O (rank: ARCHITECTURE.md).
struct StoreTables {
  mutable Mutex mu;
  NameTable names VOLFS_GUARDED_BY(mu);
  SnapshotTable snapshots VOLFS_GUARDED_BY(mu);
  CloneTable clones VOLFS_GUARDED_BY(mu);

  // One look, under the lock for as long as it takes.
  [[nodiscard]] std::shared_ptr<Volume> Find(const std::string& name) const VOLFS_EXCLUDES(mu);
  [[nodiscard]] std::shared_ptr<Volume> Find(Id id) const VOLFS_EXCLUDES(mu);
  [[nodiscard]] std::vector<std::shared_ptr<Volume>> Volumes() const VOLFS_EXCLUDES(mu);
  [[nodiscard]] bool IsClone(Id id) const VOLFS_EXCLUDES(mu);  // CloneEntry::creating

  // Null if there is none. Of a volume and of tombstones with its name, whose snapshots are in one
  // directory, under names of their own each.
  [[nodiscard]] const SnapshotEntry* FindSnapshot(const std::string& volume,
                                                  const std::string& name) const VOLFS_REQUIRES(mu);
  // kBusy while the volume or snapshot `key`, which the message calls `what`, is locked as a
  // source.
  [[nodiscard]] Status CheckUnlocked(Id key, const std::string& what) const VOLFS_REQUIRES(mu);
  // kBusy unless `source` is whole and healthy.
  [[nodiscard]] Status CheckSource(const Volume& source) const VOLFS_REQUIRES(mu);
  // What is cloned, as it is called now; while its node is away, as it was called at the request.
  [[nodiscard]] std::string SourceNameOf(const CloneEntry& entry) const VOLFS_REQUIRES(mu);

  // Enter what a request takes. Require: the name is free, the source unlocked.
  void ReserveName(Reservation& reservation, const std::string& name) VOLFS_REQUIRES(mu);
  void ReserveSource(Reservation& reservation, Id source) VOLFS_REQUIRES(mu);
};

// A name and a source's lock, taken by one request before it works; what it has not kept when it
// ends is given back.
class Reservation {
 public:
  explicit Reservation(StoreTables& tables) : tables_(tables) {}
  ~Reservation() VOLFS_EXCLUDES(tables_.mu);
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  // What StoreTables::Reserve* has entered.
  void HasName(const std::string& name) { name_ = name; }
  void HasSource(Id source) { source_ = source; }
  // The source's lock is now the clone's.
  void PassedSource() { source_ = kNoId; }
  // It is not known what is on disk: the name stays taken until the next mount.
  void AbandonName() { name_.clear(); }
  // ... and the source locked: there may be a clone that needs it.
  void Abandon() {
    AbandonName();
    source_ = kNoId;
  }

 private:
  StoreTables& tables_;
  std::string name_;
  Id source_ = kNoId;
};

}  // namespace volfs
