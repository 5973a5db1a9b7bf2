#pragma once

#include "blockstore/catalog/catalog.h"
#include "blockstore/catalog/presence.h"
#include "blockstore/catalog/rows.h"
#include "blockstore/catalog/sqlite.h"

namespace volfs::catalog {

// Whether a change can be applied at all, without looking at the database. kInvalid says which
// record is malformed.
Status ValidateChange(const CatalogChange& change);

// All tables of one connection, and its transactions.
//
// Thread-safety: none; as its Connection, which outlives it.
class Tables {
 public:
  explicit Tables(Connection& connection);

  Status Begin();
  // After an error the transaction is still open, or SQLite has rolled it back: call Rollback.
  Status Commit();
  // Rolls back the open transaction, if there is one. An error leaves the connection unusable.
  Status Rollback();

  // Applies the change in the open transaction. After kExists or kInvalid (refused) the part before
  // the refused operation is applied, so that the caller must roll back. Requires: ValidateChange.
  Status Apply(const CatalogChange& change);
  // A change of one page that no other transaction ever wrote.
  Status Seal();
  Status NoteLineage();

  Result<CatalogContents> Load();
  PresenceTable& presence() { return presence_; }
  // Everything that Load and LoadPresence check, of all layers, and SQLite's own structure.
  Status Verify();

 private:
  friend struct ChangeApplier;
  Status PutNodeRows(const NodeRecord& record);
  // kExists if a volume or an intent other than `id` has the name.
  Status CheckNameIsFree(const std::string& name, Id id);
  Status CheckLayerExists(Id layer);

  Connection& connection_;
  RecordTable<MetaRow> meta_;
  RecordTable<NodeRow> node_;
  RecordTable<TypeRow> types_;
  RecordTable<PeerRecord> peers_;
  RecordTable<LayerRecord> layers_;
  RecordTable<VolumeRecord> volumes_;
  RecordTable<SnapshotRecord> snapshots_;
  RecordTable<HoldRecord> holds_;
  RecordTable<CloneRecord> clones_;
  RecordTable<SettingRow> settings_;
  PresenceTable presence_;
  Statement begin_;
  Statement commit_;
  Statement rollback_;
  Statement clear_types_;
  Statement find_name_;
  Statement find_layer_;
};

}  // namespace volfs::catalog
