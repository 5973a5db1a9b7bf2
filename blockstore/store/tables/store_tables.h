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

// The tables of one store, the one lock that guards them, and the questions that need several
// tables at one moment. A request checks and reserves under the lock, works without it, and
// publishes under it.
//
// Thread-safety: any thread. Locks: mu, never held over I/O (rank: ARCHITECTURE.md).
struct StoreTables {
  mutable Mutex mu;
  NameTable names VOLFS_GUARDED_BY(mu);
  SnapshotTable snapshots VOLFS_GUARDED_BY(mu);
  CloneTable clones VOLFS_GUARDED_BY(mu);

  // Take the lock for one lookup.
  [[nodiscard]] std::shared_ptr<Volume> Find(const std::string& name) const VOLFS_EXCLUDES(mu);
  [[nodiscard]] std::shared_ptr<Volume> Find(Id id) const VOLFS_EXCLUDES(mu);
  [[nodiscard]] std::vector<std::shared_ptr<Volume>> Volumes() const VOLFS_EXCLUDES(mu);
  [[nodiscard]] bool IsClone(Id id) const VOLFS_EXCLUDES(mu);  // CloneEntry::creating

  // Finds a snapshot of the volume or of the tombstones with that name: they share one directory,
  // where each snapshot has a name of its own. Returns null if there is none.
  [[nodiscard]] const SnapshotEntry* FindSnapshot(const std::string& volume,
                                                  const std::string& name) const VOLFS_REQUIRES(mu);
  // Returns kBusy while the volume or snapshot `key`, which the message calls `what`, is locked as
  // a source.
  [[nodiscard]] Status CheckUnlocked(Id key, const std::string& what) const VOLFS_REQUIRES(mu);
  // Returns kBusy unless `source` is whole and healthy.
  [[nodiscard]] Status CheckSource(const Volume& source) const VOLFS_REQUIRES(mu);
  // Returns the present name of the clone's source or, while its node is not mounted, its name at
  // the request.
  [[nodiscard]] std::string SourceNameOf(const CloneEntry& entry) const VOLFS_REQUIRES(mu);

  // Enter the name or the source's lock into the tables and into `reservation`. Require: the name
  // is free, the source unlocked.
  void ReserveName(Reservation& reservation, const std::string& name) VOLFS_REQUIRES(mu);
  void ReserveSource(Reservation& reservation, Id source) VOLFS_REQUIRES(mu);
};

// A name and a source's lock, which one request takes before it works. The destructor gives back
// each that the request has not kept.
class Reservation {
 public:
  explicit Reservation(StoreTables& tables) : tables_(tables) {}
  ~Reservation() VOLFS_EXCLUDES(tables_.mu);
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  // Called by StoreTables::Reserve*.
  void HasName(const std::string& name) { name_ = name; }
  void HasSource(Id source) { source_ = source; }
  // Keeps the source's lock, which is the clone's now.
  void PassedSource() { source_ = kNoId; }
  // Keeps the name taken until the next mount, because it is not known what is on disk.
  void AbandonName() { name_.clear(); }
  // Keeps also the source locked, because there may be a clone that needs it.
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
