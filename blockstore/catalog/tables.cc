#include "blockstore/catalog/tables.h"

#include <cassert>
#include <unordered_set>

#include "blockstore/base/runtime.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/format.h"

namespace volfs::catalog {
namespace {

Status Invalid(std::string_view what, std::string_view problem) {
  return Error{Errc::kInvalid,
               StrCat("a change of the catalog was refused: ", what, ": ", problem)};
}

template <typename R>
Status CheckRecord(std::string_view what, const R& record) {
  const std::string problem = Problem(record);
  return problem.empty() ? OkStatus() : Invalid(what, problem);
}

// The requirements of each operation, independent of the database.
struct OpValidator {
  Status operator()(const PutNode& op) const {
    RETURN_IF_ERROR(CheckRecord("node", NodeRow{1, op.record}));
    for (const VolumeType& type : op.record.types) {
      RETURN_IF_ERROR(CheckRecord("volume type", TypeRow{0, type}));
    }
    return OkStatus();
  }
  Status operator()(const PutPeer& op) const { return CheckRecord("peer", op.record); }
  Status operator()(const PutLayer& op) const { return CheckRecord("layer", op.record); }
  Status operator()(const PutVolume& op) const { return CheckRecord("volume", op.record); }
  Status operator()(const PutSnapshot& op) const { return CheckRecord("snapshot", op.record); }
  Status operator()(const PutHold& op) const { return CheckRecord("hold", op.record); }
  Status operator()(const PutClone& op) const { return CheckRecord("clone", op.record); }
  Status operator()(const PutSetting& op) const {
    return CheckRecord("setting", SettingRow{op.key, op.value});
  }
  Status operator()(const SetPresence& op) const {
    bool fits = true;
    op.runs.ForEach([&](const PresenceRun& run) {
      fits = fits && run.count != 0 && run.first < kMaxBlocks &&
             run.count <= kMaxBlocks - run.first && run.state <= BlockState::kZero;
    });
    return fits ? OkStatus() : Invalid("presence", "no layer has such a block");
  }
  template <typename Deletion>
  Status operator()(const Deletion&) const {
    return OkStatus();
  }
};

}  // namespace

Status ValidateChange(const CatalogChange& change) {
  for (const CatalogOp& op : change) RETURN_IF_ERROR(std::visit(OpValidator{}, op));
  return OkStatus();
}

// One operation, in the open transaction.
struct ChangeApplier {
  Tables& t;
  Status operator()(const PutNode& op) const { return t.PutNodeRows(op.record); }
  Status operator()(const PutPeer& op) const { return t.peers_.Put(op.record); }
  Status operator()(const DeletePeer& op) const { return t.peers_.Delete(op.uuid); }
  Status operator()(const PutLayer& op) const { return t.layers_.Put(op.record); }
  Status operator()(const DeleteLayer& op) const {
    RETURN_IF_ERROR(t.presence_.Clear(op.id));
    return t.layers_.Delete(op.id);
  }
  Status operator()(const PutVolume& op) const {
    RETURN_IF_ERROR(t.CheckNameIsFree(op.record.name, op.record.id));
    return t.volumes_.Put(op.record);
  }
  Status operator()(const DeleteVolume& op) const { return t.volumes_.Delete(op.id); }
  Status operator()(const PutSnapshot& op) const { return t.snapshots_.Put(op.record); }
  Status operator()(const DeleteSnapshot& op) const { return t.snapshots_.Delete(op.id); }
  Status operator()(const PutHold& op) const { return t.holds_.Put(op.record); }
  Status operator()(const DeleteHold& op) const { return t.holds_.Delete(op.clone); }
  Status operator()(const PutClone& op) const {
    if (op.record.state == CloneState::kIntent) {
      RETURN_IF_ERROR(t.CheckNameIsFree(op.record.name, op.record.clone));
    }
    return t.clones_.Put(op.record);
  }
  Status operator()(const DeleteClone& op) const { return t.clones_.Delete(op.clone); }
  Status operator()(const SetPresence& op) const {
    RETURN_IF_ERROR(t.CheckLayerExists(op.layer));
    return t.presence_.Set(op.layer, op.runs);
  }
  Status operator()(const ClearPresence& op) const { return t.presence_.Clear(op.layer); }
  Status operator()(const PutSetting& op) const {
    return t.settings_.Put(SettingRow{op.key, op.value});
  }
  Status operator()(const DeleteSetting& op) const { return t.settings_.Delete(op.key); }
  Status operator()(const NoteLineage&) const { return t.NoteLineage(); }
};

Tables::Tables(Connection& connection)
    : connection_(connection),
      meta_(connection, "meta"),
      node_(connection, "node"),
      types_(connection, "volume_types"),
      peers_(connection, "peers"),
      layers_(connection, "layers"),
      volumes_(connection, "volumes"),
      snapshots_(connection, "snapshots"),
      holds_(connection, "holds"),
      clones_(connection, "clones"),
      settings_(connection, "settings"),
      presence_(connection),
      begin_(connection, "BEGIN IMMEDIATE"),
      commit_(connection, "COMMIT"),
      rollback_(connection, "ROLLBACK"),
      clear_types_(connection, "DELETE FROM volume_types"),
      find_name_(connection,
                 "SELECT id FROM volumes WHERE name = ?1 AND id <> ?2 UNION ALL "
                 "SELECT clone FROM clones WHERE state = 1 AND name = ?1 AND clone <> ?2"),
      find_layer_(connection, "SELECT 1 FROM layers WHERE id = ?") {}

Status Tables::Begin() { return Query(begin_).Run(); }
Status Tables::Commit() { return Query(commit_).Run(); }

Status Tables::Rollback() {
  // Some errors make SQLite roll back by itself.
  if (sqlite3_get_autocommit(connection_.handle()) != 0) return OkStatus();
  return Query(rollback_).Run();
}

Status Tables::Apply(const CatalogChange& change) {
  for (const CatalogOp& op : change) RETURN_IF_ERROR(std::visit(ChangeApplier{*this}, op));
  return OkStatus();
}

Status Tables::Seal() { return meta_.Put(MetaRow{"seal", Random64()}); }

Status Tables::PutNodeRows(const NodeRecord& record) {
  NodeRow row{1, record};
  row.node.types.clear();
  RETURN_IF_ERROR(node_.Put(row));
  RETURN_IF_ERROR(Query(clear_types_).Run());
  uint64_t position = 0;
  for (const VolumeType& type : record.types)
    RETURN_IF_ERROR(types_.Put(TypeRow{position++, type}));
  return OkStatus();
}

Status Tables::NoteLineage() {
  ASSIGN_OR_RETURN(const std::vector<MetaRow> rows, meta_.Load());
  for (MetaRow row : rows) {
    if (row.key != "feature_ignore" || (row.value & kIgnoreLineage) != 0) continue;
    row.value |= kIgnoreLineage;
    RETURN_IF_ERROR(meta_.Put(row));
  }
  return OkStatus();
}

Status Tables::CheckNameIsFree(const std::string& name, Id id) {
  Query query(find_name_);
  query.Text(name).Integer(id);
  ASSIGN_OR_RETURN(const bool taken, query.Next());
  if (!taken) return OkStatus();
  return Error{Errc::kExists, StrCat(connection_.where(), ": the name ", name, " is taken")};
}

Status Tables::CheckLayerExists(Id layer) {
  Query query(find_layer_);
  query.Integer(layer);
  ASSIGN_OR_RETURN(const bool found, query.Next());
  return found ? OkStatus() : Invalid("presence", StrCat("there is no layer ", layer));
}

Result<CatalogContents> Tables::Load() {
  CatalogContents contents;
  ASSIGN_OR_RETURN(auto nodes, node_.Load());
  if (nodes.size() != 1) return connection_.Corrupt("table node has no row");
  contents.node = std::move(nodes.front().node);
  ASSIGN_OR_RETURN(auto types, types_.Load());
  for (TypeRow& row : types) contents.node.types.push_back(std::move(row.type));
  ASSIGN_OR_RETURN(contents.peers, peers_.Load());
  ASSIGN_OR_RETURN(contents.layers, layers_.Load());
  ASSIGN_OR_RETURN(contents.volumes, volumes_.Load());
  ASSIGN_OR_RETURN(contents.snapshots, snapshots_.Load());
  ASSIGN_OR_RETURN(contents.holds, holds_.Load());
  ASSIGN_OR_RETURN(contents.clones, clones_.Load());
  ASSIGN_OR_RETURN(auto settings, settings_.Load());
  for (SettingRow& row : settings) {
    contents.settings.emplace_back(std::move(row.key), std::move(row.value));
  }
  return contents;
}

Status Tables::Verify() {
  Statement check(connection_, "PRAGMA integrity_check(1)");
  {
    Query query(check);
    ASSIGN_OR_RETURN(const bool answered, query.Next());
    if (!answered || query.TextAt(0) != "ok") return connection_.Corrupt(query.TextAt(0));
  }
  ASSIGN_OR_RETURN(const CatalogContents contents, Load());
  ASSIGN_OR_RETURN(const std::vector<Id> with_presence, presence_.Layers());
  std::unordered_set<Id> known;
  for (const LayerRecord& record : contents.layers) known.insert(record.id);
  for (const Id layer : with_presence) {
    if (!known.contains(layer)) {
      return connection_.Corrupt(StrCat("table presence has rows of no layer, layer=", layer));
    }
    ASSIGN_OR_RETURN(const PresenceImage image, presence_.Read(layer));
    RETURN_IF_ERROR(image.Visit(layer, connection_.where(), [](const PresenceRun&) {}));
  }
  return OkStatus();
}

}  // namespace volfs::catalog
