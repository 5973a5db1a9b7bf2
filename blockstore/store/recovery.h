#pragma once

#include <map>
#include <string>
#include <utility>

#include "blockstore/catalog/row_relations.h"
#include "blockstore/store/parts.h"

namespace volfs {

// Fills the parts of a new Store from the catalogs of its nodes, and finishes or undoes the work
// that a crash has cut off between two nodes. Cost: no pass over data; the time grows with the
// number of volumes, snapshots and layers only.
//
// The rules for each pair of nodes (A: the source's, B: the clone's):
//   B has an intent, no clone            release the hold on A if A is there, drop the intent
//   B there, A has a hold that B does not know   release it, and log it
//   clone independent, hold still on A   release it; A missing: owed, the clone is available
//   clone dependent, A missing           keep; its missing ranges are errors, status says why
//   clone dependent, A there, no hold    status `error`; A's layers are not read
//   B being cancelled                    release the hold on A if A is there, forget the clone
//   B missing                            touch nothing
//
// Then files in layers/ that no record knows are removed (a crash between making a file and
// committing its record, or between deleting a record and removing its file).
//
// After an unclean stop (the setting kCleanKey of a node is not "1") the layers that may hold
// writes that were never committed are listed (CrashGarbage) to be punched, in the background.
// These are heads and frozen layers: a head may have been frozen before the background of an
// earlier mount came to it.
//
// Rows that contradict each other (row_relations.h) do not keep a store from being mounted if it
// can be told which volumes and snapshots they concern: these are refused. Their node, and the
// nodes of layers that may lie under them, are not trusted (Node::Distrust). Where one of both
// nodes is not trusted, nothing in the table above is released, forgotten or removed.
//
// Thread-safety: none; used once, by Store::Open, before any other thread of the store runs.
class Recovery {
 public:
  explicit Recovery(StoreParts& into) : parts_(into) {}
  Status Run();

 private:
  Status FindDoubts();
  // Returns null if there is none, or if it is on another node.
  std::shared_ptr<Volume> FindVolume(const Node& node, Id id);
  // Puts the clone into error. Its job and hold stay as they are until it is deleted.
  void KeepRefused(const std::shared_ptr<Volume>& volume, const CloneRecord& clone);
  // Locks the source of a clone that is known by its hold only, so that no request deletes or
  // clones it.
  void LockForAbsent(const HoldRecord& hold);
  Status DropEmptyTombstones();
  Status LoadLayers(Node& node);
  void LinkLayers(Node& node);
  Status LoadVolumes(Node& node);
  Status LoadSnapshots(Node& node);
  Status ReconcileClone(Node& b, const CloneRecord& clone);
  void KeepClone(Node& b, const std::shared_ptr<Volume>& volume, const CloneRecord& clone);
  // `volume` is null if no record of it was found.
  Status ForgetClone(Node& b, const std::shared_ptr<Volume>& volume, const CloneRecord& clone);
  Status ReconcileHolds(Node& a);
  Status LoadVolumeSettings(Node& node);
  bool TakeCopyRate(Id clone, const std::string& value);
  bool TakeVerification(Id clone, const std::string& value);
  bool TakeIo(Id id, const std::string& value);
  Status RemoveOrphans(Node& node);
  void ListUnpunched(Node& node);
  void FindAbsent();
  [[nodiscard]] Node* FindByUuid(const std::string& uuid) const;
  [[nodiscard]] std::string NameOf(const std::string& uuid) const;

  StoreParts& parts_;
  Contradictions doubts_;
  std::map<std::pair<const Node*, Id>, HoldRecord> holds_;  // by their node and clone
  std::map<Id, std::shared_ptr<Volume>> heads_;             // by layer
};

}  // namespace volfs
