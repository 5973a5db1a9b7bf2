#include "blockstore/recovery.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "blockstore/log.h"
#include "blockstore/sabotage.h"
#include "blockstore/volume_settings.h"

namespace volfs {
namespace {

Id IdFromFileName(const std::string& name) {
  if (name.size() != 16 || name.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return kNoId;
  }
  return std::stoull(name, nullptr, 16);
}

bool WasClean(const CatalogContents& contents) {
  for (const auto& [key, value] : contents.settings) {
    if (key == kCleanKey) return value == "1";
  }
  return true;  // a new node
}

}  // namespace

Node* Recovery::FindByUuid(const std::string& uuid) const {
  for (const auto& node : store_.nodes_) {
    if (node->uuid() == uuid) return node.get();
  }
  return nullptr;
}

std::string Recovery::NameOf(const std::string& uuid) const {
  for (const PeerRecord& peer : store_.absent_) {
    if (peer.uuid == uuid) return peer.name;
  }
  // Nobody's peer any more (node_forget.h): the clones that need it still know its name.
  for (const auto& node : store_.nodes_) {
    for (const CloneRecord& clone : node->contents().clones) {
      if (clone.source_node == uuid) return clone.source_node_name;
    }
  }
  return uuid;
}

void Recovery::FindAbsent() {
  for (const auto& node : store_.nodes_) {
    for (const PeerRecord& peer : node->contents().peers) {
      const bool known = std::any_of(store_.absent_.begin(), store_.absent_.end(),
                                     [&](const PeerRecord& p) { return p.uuid == peer.uuid; });
      if (!known && FindByUuid(peer.uuid) == nullptr) store_.absent_.push_back(peer);
    }
  }
}

Status Recovery::Run() {
  FindAbsent();
  for (const auto& node : store_.nodes_) {
    if (node->directory().read_only()) {
      LogInfo(Text("node ", node->name(),
                   ": is only read; what is undone or finished is so in "
                   "memory"));
    }
    if (node->block_size() != store_.block_size_) {
      return Error{Errc::kInvalid, Text("node ", node->name(), " has blocks of ",
                                        node->block_size(), " bytes, the first node of ",
                                        store_.block_size_, "; they cannot be mounted together")};
    }
    VOLFS_TRY(LoadLayers(*node));
  }
  for (const auto& node : store_.nodes_) {
    VOLFS_TRY(LinkLayers(*node));
    VOLFS_TRY(LoadVolumes(*node));
    LoadSnapshots(*node);
    for (const HoldRecord& hold : node->contents().holds) {
      holds_[hold.clone] = hold;
      hold_nodes_[hold.clone] = node.get();
    }
  }
  for (const auto& node : store_.nodes_) {
    for (const CloneRecord& clone : node->contents().clones) {
      VOLFS_TRY(ReconcileClone(*node, clone));
    }
  }
  for (const auto& node : store_.nodes_) VOLFS_TRY(ReconcileHolds(*node));
  VOLFS_TRY(DropEmptyGhosts());
  for (const auto& node : store_.nodes_) {
    VOLFS_TRY(LoadVolumeSettings(*node));
    VOLFS_TRY(RemoveOrphans(*node));
    if (!WasClean(node->contents())) ListUnpunched(*node);
    MutexLock lock(store_.mu_);
    for (const auto& [key, value] : node->contents().settings) {
      store_.settings_.emplace(key, value);
    }
    NodeRecord kept = node->record();
    node->contents() = CatalogContents{};
    node->contents().node = std::move(kept);
  }
  // What was to be undone or finished was, if only in memory.
  for (const auto& node : store_.nodes_) {
    if (node->directory().read_only()) node->catalog().BecomeReadOnly();
  }
  for (const PeerRecord& peer : store_.absent_) {
    std::string clones;
    MutexLock lock(store_.mu_);
    for (const auto& [id, entry] : store_.clones_) {
      if (entry.record.source_node != peer.uuid || entry.owed) continue;
      clones += (clones.empty() ? "" : ", ") + store_.by_id_.at(id)->name();
    }
    LogWarning(Text("node ", peer.name, " (last at ", peer.path,
                    ") is not mounted; clones that "
                    "need it: ",
                    clones.empty() ? "none" : clones));
  }
  return OkStatus();
}

// A deleted volume keeps its name for its snapshots only.
Status Recovery::DropEmptyGhosts() {
  MutexLock lock(store_.mu_);
  for (auto ghost = store_.ghosts_.begin(); ghost != store_.ghosts_.end();) {
    if (store_.snapshot_names_.contains(ghost->first)) {
      ++ghost;
      continue;
    }
    VOLFS_TRY(ghost->second.node->catalog().Commit({DeleteVolume{ghost->first}}, Room::kFree));
    ghost = store_.ghosts_.erase(ghost);
  }
  return OkStatus();
}

Status Recovery::LoadLayers(Node& node) {
  const bool clean = WasClean(node.contents());
  store_.layers_.Expect(node.contents().layers.size());
  store_.reclaimer_->Expect(node.contents().layers.size());
  for (const LayerRecord& record : node.contents().layers) {
    if (store_.layers_.Find(record.id) != nullptr) {
      return Error{Errc::kCorrupt, Text("node ", node.name(),
                                        " has a layer with the id of another "
                                        "one; was its directory copied?")};
    }
    Layer* const layer = store_.layers_.Add(&node, record, LayerTable::Origin::kCatalog);
    if (!clean) layer->DistrustCache();
    store_.reclaimer_->Add(layer);
  }
  return OkStatus();
}

Status Recovery::LinkLayers(Node& node) {
  for (const LayerRecord& record : node.contents().layers) {
    if (record.parent == kNoId) continue;
    Layer* parent = store_.layers_.Find(record.parent);
    if (record.parent_node.empty()) {
      if (parent == nullptr || parent->node() != &node) {
        return Error{Errc::kCorrupt, Text("the catalog of node ", node.name(),
                                          " names a layer that it does not have")};
      }
      store_.reclaimer_->AddChild(parent, store_.layers_.Find(record.id));
    } else if (parent == nullptr) {
      // Its ranges are errors; whose fault that is, the clone's status says.
      store_.layers_.AddMissing(record.parent, NameOf(record.parent_node));
    }
  }
  return OkStatus();
}

Status Recovery::LoadVolumes(Node& node) {
  MutexLock lock(store_.mu_);
  for (const VolumeRecord& record : node.contents().volumes) {
    const bool ghost = record.head == kNoId;  // shares its name with the one restored from it
    const auto taken = store_.by_name_.find(record.name);
    if (!ghost && taken != store_.by_name_.end()) {
      return Error{Errc::kExists, Text("nodes ", taken->second->node().name(), " and ", node.name(),
                                       " both have a volume ", record.name,
                                       "; mount one of them alone and "
                                       "rename it with `volfs mv`")};
    }
    if (store_.by_id_.contains(record.id) || store_.ghosts_.contains(record.id)) {
      return Error{Errc::kCorrupt, Text("volume ", record.name, " of node ", node.name(),
                                        " has the id of another; was its directory copied?")};
    }
    if (ghost) {
      store_.ghosts_[record.id] = {record, &node};
      continue;
    }
    Layer* const head = store_.layers_.Find(record.head);
    if (head == nullptr || head->node() != &node) {
      return Error{Errc::kCorrupt, Text("volume ", record.name, " of node ", node.name(),
                                        ": its layer is not in the catalog")};
    }
    store_.reclaimer_->AddPoint(head);
    // shared_ptr: see store_.h, "looking".
    auto volume = std::make_shared<Volume>(
        VolumeContext{store_.layers_, node.epoch(), store_.block_size_}, node, record, head);
    store_.by_name_[record.name] = volume;
    store_.by_id_[record.id] = volume;
    heads_[head->id()] = volume;
  }
  return OkStatus();
}

void Recovery::LoadSnapshots(Node& node) {
  MutexLock lock(store_.mu_);
  for (const SnapshotRecord& record : node.contents().snapshots) {
    Layer* const layer = store_.layers_.Find(record.layer);
    if (layer != nullptr) store_.reclaimer_->AddPoint(layer);
    store_.snapshots_[record.id] = {record, &node, {}};
    store_.snapshot_names_[record.volume][record.name] = record.id;
  }
}

Status Recovery::ReconcileClone(Node& b, const CloneRecord& clone) {
  Node* const a = FindByUuid(clone.source_node);
  switch (clone.state) {
    case CloneState::kCopying:
      return KeepClone(b, clone);
    case CloneState::kIntent:
    case CloneState::kDeleting:
      return ForgetClone(b, clone);
    case CloneState::kReleasing:
      break;
  }
  if (a == nullptr) {
    MutexLock lock(store_.mu_);
    Store::CloneEntry entry;
    entry.record = clone;
    entry.owed = true;
    store_.clones_[clone.clone] = std::move(entry);
    return OkStatus();
  }
  if (holds_.erase(clone.clone) != 0)
    VOLFS_TRY(a->catalog().Commit({DeleteHold{clone.clone}}, Room::kFree));
  return b.catalog().Commit({DeleteClone{clone.clone}}, Room::kFree);
}

Status Recovery::ForgetClone(Node& b, const CloneRecord& clone) {
  Node* const a = FindByUuid(clone.source_node);
  if (a != nullptr && holds_.erase(clone.clone) != 0) {
    VOLFS_TRY(a->catalog().Commit({DeleteHold{clone.clone}}, Room::kFree));
  }
  CatalogChange change;
  {
    MutexLock lock(store_.mu_);
    const auto volume = store_.by_id_.find(clone.clone);
    if (volume != store_.by_id_.end()) {
      // Its layer is left without a point; the background frees it.
      change.emplace_back(DeleteVolume{clone.clone});
      heads_.erase(volume->second->head()->id());
      store_.reclaimer_->DropPoint(volume->second->head());
      store_.by_name_.erase(volume->second->name());
      store_.by_id_.erase(volume);
    }
  }
  change.emplace_back(DeleteClone{clone.clone});
  LogInfo(Text("clone ", clone.name, " of ", clone.source_name,
               " was not complete when the last "
               "mount ended; what there was of it is removed"));
  return b.catalog().Commit(std::move(change), Room::kFree);
}

Status Recovery::KeepClone(Node& b, const CloneRecord& clone) {
  Node* const a = FindByUuid(clone.source_node);
  MutexLock lock(store_.mu_);
  const auto volume = store_.by_id_.find(clone.clone);
  if (volume == store_.by_id_.end()) {
    return Error{Errc::kCorrupt, Text("the catalog of node ", b.name(), " has a copy job for ",
                                      clone.name, ", but no such volume")};
  }
  Store::CloneEntry entry;
  entry.record = clone;
  entry.source_node = a;
  const auto hold = holds_.find(clone.clone);
  if (a == nullptr) {
    entry.trouble = Text("node ", clone.source_node_name, " is not mounted");
  } else if (hold == holds_.end() || hold_nodes_.at(clone.clone) != a) {
    entry.trouble = Text("node ", a->name(),
                         " no longer holds its source, so what was not copied "
                         "yet is lost; delete this clone and make it again");
    // Its layer may be there, without what nobody else needs: that must not be read as zeros. Of a
    // clone on its source's own node it has all, as one that lies over it.
    Layer* const head = volume->second->head();
    if (a != &b) head->LoseParent(store_.layers_.AddLost(head->record().parent, a->name()));
  } else {
    entry.held = store_.layers_.Find(hold->second.layer);
    if (entry.held == nullptr) {
      return Error{Errc::kCorrupt, Text("the catalog of node ", a->name(), " has a hold for clone ",
                                        clone.name, " on a layer that it does not have")};
    }
    entry.lock = hold->second.snapshot != kNoId ? hold->second.snapshot : hold->second.volume;
    store_.locked_[entry.lock] = clone.clone;
  }
  store_.clones_[clone.clone] = std::move(entry);
  return OkStatus();
}

Status Recovery::ReconcileHolds(Node& a) {
  for (const HoldRecord& hold : a.contents().holds) {
    if (!holds_.contains(hold.clone) || hold_nodes_.at(hold.clone) != &a) continue;
    const Node* const b = FindByUuid(hold.clone_node);
    // touch nothing: its node may come back
    bool needed = b == nullptr && !Sabotaged(Sabotage::kReleaseForAbsent);
    {
      MutexLock lock(store_.mu_);
      needed = needed || store_.clones_.contains(hold.clone);
      if (b == nullptr) {
        const Id source = hold.snapshot != kNoId ? hold.snapshot : hold.volume;
        store_.locked_.emplace(source, hold.clone);
        Store::CloneEntry entry;
        entry.absent = true;
        entry.lock = source;
        entry.record.name = hold.clone_name;
        store_.clones_[hold.clone] = std::move(entry);
      }
    }
    if (needed) {
      if (Layer* const layer = store_.layers_.Find(hold.layer)) store_.reclaimer_->AddUse(layer);
      continue;
    }
    LogInfo(Text("node ", a.name(), ": a hold for clone ", hold.clone_name,
                 ", which does not exist, is released"));
    VOLFS_TRY(a.catalog().Commit({DeleteHold{hold.clone}}, Room::kFree));
  }
  return OkStatus();
}

// Those that mean nothing any more are removed: the clone became whole, or was deleted.
Status Recovery::LoadVolumeSettings(Node& node) {
  CatalogChange stale;
  for (const auto& [key, value] : node.contents().settings) {
    bool taken = true;
    if (key.starts_with(kCopyRatePrefix)) {
      taken = TakeCopyRate(IdFromFileName(key.substr(kCopyRatePrefix.size())), value);
    } else if (key.starts_with(kIoPrefix)) {
      taken = TakeIo(IdFromFileName(key.substr(kIoPrefix.size())), value);
    } else if (key.starts_with(kVerifyPrefix)) {
      taken = TakeVerification(IdFromFileName(key.substr(kVerifyPrefix.size())), value);
    }
    if (!taken) stale.emplace_back(DeleteSetting{key});
  }
  return stale.empty() ? OkStatus() : node.catalog().Commit(std::move(stale), Room::kFree);
}

bool Recovery::TakeCopyRate(Id clone, const std::string& value) {
  uint64_t rate = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), rate);
  if (error != std::errc() || end != value.data() + value.size()) return false;
  MutexLock lock(store_.mu_);
  const auto found = store_.clones_.find(clone);
  if (found == store_.clones_.end() || !store_.by_id_.contains(clone) || found->second.owed) {
    return false;
  }
  found->second.copy_rate = rate;
  return true;
}

bool Recovery::TakeVerification(Id clone, const std::string& value) {
  MutexLock lock(store_.mu_);
  const auto volume = store_.by_id_.find(clone);
  if (volume == store_.by_id_.end()) return false;
  const bool wanted = value == kVerifyWanted && store_.clones_.contains(clone);
  if (!wanted && value != kVerifyDone) return false;
  volume->second->set_verification(wanted ? Verification::kWanted : Verification::kDone);
  return true;
}

bool Recovery::TakeIo(Id id, const std::string& value) {
  std::shared_ptr<Volume> volume;
  {
    MutexLock lock(store_.mu_);
    const auto found = store_.by_id_.find(id);
    if (found == store_.by_id_.end() || value != kIoNative) return false;
    volume = found->second;
  }
  volume->set_wants_native(true);
  if (const Status adopted = volume->AdoptAfterCrash(); !adopted.ok()) {
    LogWarning(Text(volume->name(), ": ", adopted.error().message));
  }
  return true;
}

void Recovery::ListUnpunched(Node& node) {
  MutexLock lock(store_.mu_);
  for (const LayerRecord& record : node.contents().layers) {
    if (!record.has_file) continue;
    // A flat one has no garbage, and a layer that is nobody's head needs no volume's locks.
    const auto head = record.parent == kNoId ? heads_.end() : heads_.find(record.id);
    store_.unpunched_.push_back({record.id, head == heads_.end() ? nullptr : head->second});
  }
}

Status Recovery::RemoveOrphans(Node& node) {
  VOLFS_ASSIGN(const std::vector<std::string> names, node.directory().ListLayers());
  for (const std::string& name : names) {
    const Id id = IdFromFileName(name);
    Layer* const layer = id == kNoId ? nullptr : store_.layers_.Find(id);
    if (layer != nullptr && layer->node() == &node && layer->record().has_file) continue;
    if (node.directory().read_only()) continue;
    if (id == kNoId) {
      LogWarning(
          Text("node ", node.name(), ": layers/", name, " is not a file of volfs; left alone"));
      continue;
    }
    VOLFS_TRY(node.directory().Remove("layers/" + name));
    LogInfo(Text("node ", node.name(), ": removed layers/", name, ", which no record knows"));
  }
  return OkStatus();
}

}  // namespace volfs
