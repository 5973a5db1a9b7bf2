#include "blockstore/store/recovery.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/volume_settings.h"

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
  // Nobody's peer any more (node/forget.h): the clones that need it still know its name.
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

Status Recovery::FindDoubts() {
  std::vector<NodeRows> rows;
  for (const auto& node : store_.nodes_) {
    NodeRows& of_node = rows.emplace_back();
    of_node.rows = &node->contents();
    ASSIGN_OR_RETURN(const std::vector<Id> layers, node->catalog().LayersWithPresence());
    of_node.with_presence.insert(layers.begin(), layers.end());
    for (const LayerRecord& layer : node->contents().layers) {
      if (layer.has_file || !of_node.with_presence.contains(layer.id)) continue;
      const auto note = [&](const PresenceRun& run) {
        if (run.state == BlockState::kPresent) of_node.here_without_file.insert(layer.id);
      };
      const Status loaded = node->catalog().LoadPresence(layer.id, note);
      // Damaged rows are an error of the volumes that read them.
      if (!loaded.ok() && loaded.error().code != Errc::kCorrupt) return loaded;
      if (!loaded.ok()) node->Distrust(loaded.error().message);
    }
  }
  doubts_ = FindContradictions(rows);
  for (const auto& [uuid, why] : doubts_.nodes) FindByUuid(uuid)->Distrust(why);
  return OkStatus();
}

Status Recovery::Run() {
  FindAbsent();
  for (const auto& node : store_.nodes_) {
    if (node->directory().read_only()) {
      LogInfo(StrCat("node ", node->name(),
                     ": is only read; recovery changes it in "
                     "memory only"));
    }
    if (node->block_size() != store_.block_size_) {
      return Error{Errc::kInvalid, StrCat("node ", node->name(), " has blocks of ",
                                          node->block_size(), " bytes, the first node of ",
                                          store_.block_size_, "; they cannot be mounted together")};
    }
    RETURN_IF_ERROR(LoadLayers(*node));
  }
  RETURN_IF_ERROR(FindDoubts());
  for (const auto& node : store_.nodes_) {
    LinkLayers(*node);
    RETURN_IF_ERROR(LoadVolumes(*node));
    RETURN_IF_ERROR(LoadSnapshots(*node));
    for (const HoldRecord& hold : node->contents().holds) holds_[{node.get(), hold.clone}] = hold;
  }
  for (const auto& node : store_.nodes_) {
    for (const CloneRecord& clone : node->contents().clones) {
      RETURN_IF_ERROR(ReconcileClone(*node, clone));
    }
  }
  for (const auto& node : store_.nodes_) RETURN_IF_ERROR(ReconcileHolds(*node));
  RETURN_IF_ERROR(DropEmptyTombstones());
  for (const auto& node : store_.nodes_) {
    RETURN_IF_ERROR(LoadVolumeSettings(*node));
    if (node->trusted()) RETURN_IF_ERROR(RemoveOrphans(*node));
    if (node->trusted() && !WasClean(node->contents())) ListUnpunched(*node);
    MutexLock lock(store_.mu_);
    store_.tidy_failed_ = store_.tidy_failed_ || !node->trusted();
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
    LogWarning(StrCat("node ", peer.name, " (last at ", peer.path,
                      ") is not mounted; clones that "
                      "need it: ",
                      clones.empty() ? "none" : clones));
  }
  return OkStatus();
}

// A deleted volume keeps its name for its snapshots only.
Status Recovery::DropEmptyTombstones() {
  MutexLock lock(store_.mu_);
  for (auto tombstone = store_.tombstones_.begin(); tombstone != store_.tombstones_.end();) {
    if (store_.snapshot_names_.contains(tombstone->first) || !tombstone->second.node->trusted()) {
      ++tombstone;
      continue;
    }
    RETURN_IF_ERROR(
        tombstone->second.node->catalog().Commit({DeleteVolume{tombstone->first}}, Room::kFree));
    tombstone = store_.tombstones_.erase(tombstone);
  }
  return OkStatus();
}

Status Recovery::LoadLayers(Node& node) {
  const bool clean = WasClean(node.contents());
  store_.layers_.Expect(node.contents().layers.size());
  store_.reclaimer_->Expect(node.contents().layers.size());
  for (const LayerRecord& record : node.contents().layers) {
    if (store_.layers_.Find(record.id) != nullptr) {
      return Error{Errc::kCorrupt, StrCat("node ", node.name(),
                                          " has a layer with the id of another "
                                          "one; was its directory copied?")};
    }
    Layer* const layer = store_.layers_.Add(&node, record, LayerTable::Origin::kCatalog);
    if (!clean) layer->MarkCacheSuspect();
    store_.reclaimer_->Add(layer);
  }
  return OkStatus();
}

void Recovery::LinkLayers(Node& node) {
  for (const LayerRecord& record : node.contents().layers) {
    if (record.parent == kNoId) continue;
    Layer* const parent = store_.layers_.Find(record.parent);
    const bool doubtful = doubts_.layers.contains(record.id);
    if (parent == nullptr && !doubtful) {
      // Its ranges are errors; whose fault that is, the clone's status says.
      store_.layers_.AddMissing(record.parent, NameOf(record.parent_node));
    } else if (parent == nullptr) {
      continue;
    } else if (doubtful || (!node.trusted() && parent->node() != &node)) {
      // Never given back in this mount: whether it is needed cannot be told.
      store_.reclaimer_->AddUse(parent);
    } else if (record.parent_node.empty()) {
      store_.reclaimer_->AddChild(parent, store_.layers_.Find(record.id));
    }
  }
}

Status Recovery::LoadVolumes(Node& node) {
  MutexLock lock(store_.mu_);
  for (const VolumeRecord& record : node.contents().volumes) {
    const bool tombstone = record.head == kNoId;  // shares its name with the one restored from it
    const auto taken = store_.by_name_.find(record.name);
    if (!tombstone && taken != store_.by_name_.end()) {
      return Error{Errc::kExists, StrCat("nodes ", taken->second->node().name(), " and ",
                                         node.name(), " both have a volume ", record.name,
                                         "; mount one of them alone and "
                                         "rename it with `volfs mv`")};
    }
    if (store_.by_id_.contains(record.id) || store_.tombstones_.contains(record.id)) {
      return Error{Errc::kCorrupt, StrCat("volume ", record.name, " of node ", node.name(),
                                          " has the id of another; was its directory copied?")};
    }
    if (tombstone) {
      store_.tombstones_[record.id] = {record, &node};
      continue;
    }
    Layer* head = store_.layers_.Find(record.head);
    if (head == nullptr || head->node() != &node) {  // it is refused
      head = store_.layers_.AddLost(record.head, node.name());
    }
    store_.reclaimer_->AddReference(head);
    // shared_ptr: see store.h, "looking".
    auto volume = std::make_shared<Volume>(
        VolumeContext{store_.layers_, node.epoch(), store_.block_size_}, node, record, head);
    store_.by_name_[record.name] = volume;
    store_.by_id_[record.id] = volume;
    heads_[head->id()] = volume;
    const auto refused = doubts_.volumes.find(record.id);
    if (refused != doubts_.volumes.end()) volume->state().Refuse(refused->second);
  }
  return OkStatus();
}

Status Recovery::LoadSnapshots(Node& node) {
  MutexLock lock(store_.mu_);
  for (const SnapshotRecord& record : node.contents().snapshots) {
    if (store_.snapshots_.contains(record.id)) {
      return Error{Errc::kCorrupt, StrCat("snapshot ", record.name, " of node ", node.name(),
                                          " has the id of another; was its directory copied?")};
    }
    Layer* const layer = store_.layers_.Find(record.layer);
    if (layer != nullptr) store_.reclaimer_->AddReference(layer);
    Store::SnapshotEntry& entry = store_.snapshots_[record.id];
    entry.record = record;
    entry.node = &node;
    const auto refused = doubts_.snapshots.find(record.id);
    if (refused != doubts_.snapshots.end()) entry.refused = refused->second;
    store_.snapshot_names_[record.volume][record.name] = record.id;
  }
  return OkStatus();
}

std::shared_ptr<Volume> Recovery::FindVolume(const Node& node, Id id) {
  MutexLock lock(store_.mu_);
  const auto found = store_.by_id_.find(id);
  if (found == store_.by_id_.end() || &found->second->node() != &node) return nullptr;
  return found->second;
}

Status Recovery::ReconcileClone(Node& b, const CloneRecord& clone) {
  Node* const a = FindByUuid(clone.source_node);
  const std::shared_ptr<Volume> volume = FindVolume(b, clone.clone);
  const bool trusted = b.trusted() && (a == nullptr || a->trusted());
  if (volume != nullptr && volume->state().refused()) {
    KeepRefused(volume, clone);
    return OkStatus();
  }
  switch (clone.state) {
    case CloneState::kCopying:
      if (volume != nullptr) KeepClone(b, volume, clone);
      return OkStatus();  // a job without a volume: the node is not trusted, so its hold stays
    case CloneState::kIntent:
    case CloneState::kDeleting:
      if (trusted) return ForgetClone(b, volume, clone);
      if (volume == nullptr) return OkStatus();
      volume->state().Refuse("it is being deleted, which waits until its node can be trusted");
      KeepRefused(volume, clone);
      return OkStatus();
    case CloneState::kReleasing:
      break;
  }
  if (a == nullptr || !trusted) {
    MutexLock lock(store_.mu_);
    Store::CloneEntry entry;
    entry.record = clone;
    entry.owed = true;
    store_.clones_[clone.clone] = std::move(entry);
    return OkStatus();
  }
  if (holds_.erase({a, clone.clone}) != 0) {
    RETURN_IF_ERROR(a->catalog().Commit({DeleteHold{clone.clone}}, Room::kFree));
  }
  return b.catalog().Commit({DeleteClone{clone.clone}}, Room::kFree);
}

Status Recovery::ForgetClone(Node& b, const std::shared_ptr<Volume>& volume,
                             const CloneRecord& clone) {
  Node* const a = FindByUuid(clone.source_node);
  if (a != nullptr && holds_.erase({a, clone.clone}) != 0) {
    RETURN_IF_ERROR(a->catalog().Commit({DeleteHold{clone.clone}}, Room::kFree));
  }
  CatalogChange change;
  if (volume != nullptr) {
    // Its layer is left without a point; the background frees it.
    change.emplace_back(DeleteVolume{clone.clone});
    heads_.erase(volume->head()->id());
    store_.reclaimer_->DropReference(volume->head());
    MutexLock lock(store_.mu_);
    store_.by_name_.erase(volume->name());
    store_.by_id_.erase(clone.clone);
  }
  change.emplace_back(DeleteClone{clone.clone});
  LogInfo(StrCat("clone ", clone.name, " of ", clone.source_name,
                 " was not complete when the last "
                 "mount ended; its remains are removed"));
  return b.catalog().Commit(std::move(change), Room::kFree);
}

void Recovery::KeepRefused(const std::shared_ptr<Volume>& volume, const CloneRecord& clone) {
  Store::CloneEntry entry;
  entry.record = clone;
  entry.source_node = FindByUuid(clone.source_node);
  entry.trouble = volume->state().failure();
  MutexLock lock(store_.mu_);
  store_.clones_[clone.clone] = std::move(entry);
}

void Recovery::KeepClone(Node& b, const std::shared_ptr<Volume>& volume, const CloneRecord& clone) {
  Node* const a = FindByUuid(clone.source_node);
  Store::CloneEntry entry;
  entry.record = clone;
  entry.source_node = a;
  Layer* const head = volume->head();
  Layer* const under = store_.layers_.Find(head->record().parent);
  const bool there = a != nullptr && under != nullptr && under->node() == a;
  const auto hold = holds_.find({a, clone.clone});
  if (there) entry.held = under;
  if (a == nullptr) {
    entry.trouble = StrCat("node ", clone.source_node_name, " is not mounted");
  } else if (hold == holds_.end() || !there) {
    entry.trouble = StrCat("node ", a->name(),
                           " no longer holds its source, so the part not copied "
                           "yet is lost; delete this clone and make it again");
    // Its layer may be there, without what nobody else needs: that must not be read as zeros. Of a
    // clone on its source's own node it has all, as one that lies over it.
    if (a != &b) head->MarkParentLost(store_.layers_.AddLost(head->record().parent, a->name()));
    // It is kept all the same: it has all if just the hold's row was lost, and that is restored.
    if (there) store_.reclaimer_->AddUse(under);
  } else {
    entry.lock = hold->second.snapshot != kNoId ? hold->second.snapshot : hold->second.volume;
  }
  MutexLock lock(store_.mu_);
  if (entry.lock != kNoId) store_.locked_[entry.lock] = clone.clone;
  store_.clones_[clone.clone] = std::move(entry);
}

void Recovery::LockForAbsent(const HoldRecord& hold) {
  Store::CloneEntry entry;
  entry.absent = true;
  entry.lock = hold.snapshot != kNoId ? hold.snapshot : hold.volume;
  entry.record.name = hold.clone_name;
  MutexLock lock(store_.mu_);
  store_.locked_.emplace(entry.lock, hold.clone);
  store_.clones_[hold.clone] = std::move(entry);
}

Status Recovery::ReconcileHolds(Node& a) {
  for (const HoldRecord& hold : a.contents().holds) {
    if (!holds_.contains({&a, hold.clone})) continue;
    const Node* const b = FindByUuid(hold.clone_node);
    // touch nothing: its node may come back, or its rows be restored
    const bool untouched = (b == nullptr && !Sabotaged(Sabotage::kReleaseForAbsent)) ||
                           (b != nullptr && !b->trusted()) || !a.trusted();
    bool known = false;
    {
      MutexLock lock(store_.mu_);
      known = store_.clones_.contains(hold.clone);
    }
    if (untouched && !known) LockForAbsent(hold);
    if (untouched || known) {
      if (Layer* const layer = store_.layers_.Find(hold.layer)) store_.reclaimer_->AddUse(layer);
      continue;
    }
    LogInfo(StrCat("node ", a.name(), ": a hold for clone ", hold.clone_name,
                   ", which does not exist, is released"));
    RETURN_IF_ERROR(a.catalog().Commit({DeleteHold{hold.clone}}, Room::kFree));
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
  return stale.empty() || !node.trusted() ? OkStatus()
                                          : node.catalog().Commit(std::move(stale), Room::kFree);
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
  volume->second->state().set_verification(wanted ? Verification::kWanted : Verification::kDone);
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
  volume->native().set_wanted(true);
  if (volume->state().refused()) return true;
  if (const Status adopted = volume->native().AdoptAfterCrash(); !adopted.ok()) {
    LogWarning(StrCat(volume->name(), ": ", adopted.error().message));
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
  ASSIGN_OR_RETURN(const std::vector<std::string> names, node.directory().ListLayers());
  for (const std::string& name : names) {
    const Id id = IdFromFileName(name);
    Layer* const layer = id == kNoId ? nullptr : store_.layers_.Find(id);
    if (layer != nullptr && layer->node() == &node && layer->record().has_file) continue;
    if (node.directory().read_only()) continue;
    if (id == kNoId) {
      LogWarning(
          StrCat("node ", node.name(), ": layers/", name, " is not a file of volfs; left alone"));
      continue;
    }
    RETURN_IF_ERROR(node.directory().Remove("layers/" + name));
    LogInfo(StrCat("node ", node.name(), ": removed layers/", name, ", which no record knows"));
  }
  return OkStatus();
}

}  // namespace volfs
