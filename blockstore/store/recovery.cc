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
  for (const auto& node : parts_.nodes) {
    if (node->uuid() == uuid) return node.get();
  }
  return nullptr;
}

std::string Recovery::NameOf(const std::string& uuid) const {
  for (const PeerRecord& peer : parts_.absent) {
    if (peer.uuid == uuid) return peer.name;
  }
  // A forgotten node is in no peer record (node/forget.h), but the clones that need it know its
  // name.
  for (const auto& node : parts_.nodes) {
    for (const CloneRecord& clone : node->contents().clones) {
      if (clone.source_node == uuid) return clone.source_node_name;
    }
  }
  return uuid;
}

void Recovery::FindAbsent() {
  for (const auto& node : parts_.nodes) {
    for (const PeerRecord& peer : node->contents().peers) {
      const bool known = std::any_of(parts_.absent.begin(), parts_.absent.end(),
                                     [&](const PeerRecord& p) { return p.uuid == peer.uuid; });
      if (!known && FindByUuid(peer.uuid) == nullptr) parts_.absent.push_back(peer);
    }
  }
}

Status Recovery::FindDoubts() {
  std::vector<NodeRows> rows;
  for (const auto& node : parts_.nodes) {
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
      // Damaged rows are an error of the volumes that read them, not of the mount.
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
  for (const auto& node : parts_.nodes) {
    if (node->directory().read_only()) {
      LogInfo(StrCat("node ", node->name(),
                     ": is only read; recovery changes it in "
                     "memory only"));
    }
    if (node->block_size() != parts_.block_size) {
      return Error{Errc::kInvalid, StrCat("node ", node->name(), " has blocks of ",
                                          node->block_size(), " bytes, the first node of ",
                                          parts_.block_size, "; they cannot be mounted together")};
    }
    RETURN_IF_ERROR(LoadLayers(*node));
  }
  RETURN_IF_ERROR(FindDoubts());
  for (const auto& node : parts_.nodes) {
    LinkLayers(*node);
    RETURN_IF_ERROR(LoadVolumes(*node));
    RETURN_IF_ERROR(LoadSnapshots(*node));
    for (const HoldRecord& hold : node->contents().holds) holds_[{node.get(), hold.clone}] = hold;
  }
  for (const auto& node : parts_.nodes) {
    for (const CloneRecord& clone : node->contents().clones) {
      RETURN_IF_ERROR(ReconcileClone(*node, clone));
    }
  }
  for (const auto& node : parts_.nodes) RETURN_IF_ERROR(ReconcileHolds(*node));
  RETURN_IF_ERROR(DropEmptyTombstones());
  for (const auto& node : parts_.nodes) {
    RETURN_IF_ERROR(LoadVolumeSettings(*node));
    if (node->trusted()) RETURN_IF_ERROR(RemoveOrphans(*node));
    if (node->trusted() && !WasClean(node->contents())) ListUnpunched(*node);
    if (!node->trusted()) parts_.garbage.KeepSome();
    for (const auto& [key, value] : node->contents().settings) parts_.settings.Load(key, value);
    NodeRecord kept = node->record();
    node->contents() = CatalogContents{};
    node->contents().node = std::move(kept);
  }
  // All cut-off work is undone or finished now, on these nodes in memory only.
  for (const auto& node : parts_.nodes) {
    if (node->directory().read_only()) node->catalog().BecomeReadOnly();
  }
  for (const PeerRecord& peer : parts_.absent) {
    std::string clones;
    MutexLock lock(parts_.tables.mu);
    for (const auto& [id, entry] : parts_.tables.clones.entries()) {
      if (entry.record.source_node != peer.uuid || entry.owed) continue;
      clones += (clones.empty() ? "" : ", ") + parts_.tables.names.Find(id)->name();
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
  MutexLock lock(parts_.tables.mu);
  for (const Tombstone& tombstone : parts_.tables.names.Tombstones()) {
    const Id id = tombstone.record.id;
    if (parts_.tables.snapshots.CountOf(id) != 0 || !tombstone.node->trusted()) continue;
    RETURN_IF_ERROR(tombstone.node->catalog().Commit({DeleteVolume{id}}, Room::kFree));
    parts_.tables.names.RemoveTombstone(id);
  }
  return OkStatus();
}

Status Recovery::LoadLayers(Node& node) {
  const bool clean = WasClean(node.contents());
  parts_.layers.Expect(node.contents().layers.size());
  parts_.tree.Expect(node.contents().layers.size());
  for (const LayerRecord& record : node.contents().layers) {
    if (parts_.layers.Find(record.id) != nullptr) {
      return Error{Errc::kCorrupt, StrCat("node ", node.name(),
                                          " has a layer with the id of another "
                                          "one; was its directory copied?")};
    }
    Layer* const layer = parts_.layers.Add(&node, record, LayerTable::Origin::kCatalog);
    if (!clean) layer->MarkCacheSuspect();
    parts_.tree.Add(layer);
  }
  return OkStatus();
}

void Recovery::LinkLayers(Node& node) {
  for (const LayerRecord& record : node.contents().layers) {
    if (record.parent == kNoId) continue;
    Layer* const parent = parts_.layers.Find(record.parent);
    const bool doubtful = doubts_.layers.contains(record.id);
    if (parent == nullptr && !doubtful) {
      // Reads of its ranges fail; the status of the clone names the node.
      parts_.layers.AddMissing(record.parent, NameOf(record.parent_node));
    } else if (parent == nullptr) {
      continue;
    } else if (doubtful || (!node.trusted() && parent->node() != &node)) {
      // Kept for the whole mount: whether the layer is needed cannot be told.
      parts_.tree.AddPin(parent);
    } else if (record.parent_node.empty()) {
      parts_.tree.AddChild(parent, parts_.layers.Find(record.id));
    }
  }
}

Status Recovery::LoadVolumes(Node& node) {
  MutexLock lock(parts_.tables.mu);
  for (const VolumeRecord& record : node.contents().volumes) {
    const bool tombstone = record.head == kNoId;  // may share its name with a volume
    const std::shared_ptr<Volume> taken = parts_.tables.names.Find(record.name);
    if (!tombstone && taken != nullptr) {
      return Error{Errc::kExists, StrCat("nodes ", taken->node().name(), " and ", node.name(),
                                         " both have a volume ", record.name,
                                         "; mount one of them alone and "
                                         "rename it with `volfs mv`")};
    }
    if (parts_.tables.names.Find(record.id) != nullptr ||
        parts_.tables.names.HasTombstone(record.id)) {
      return Error{Errc::kCorrupt, StrCat("volume ", record.name, " of node ", node.name(),
                                          " has the id of another; was its directory copied?")};
    }
    if (tombstone) {
      parts_.tables.names.AddTombstone({record, &node});
      continue;
    }
    Layer* head = parts_.layers.Find(record.head);
    if (head == nullptr || head->node() != &node) {  // the volume is refused
      head = parts_.layers.AddLost(record.head, node.name());
    }
    parts_.tree.AddReference(head);
    // shared_ptr: see name_table.h.
    auto volume = std::make_shared<Volume>(
        VolumeContext{parts_.layers, node.epoch(), parts_.block_size}, node, record, head);
    parts_.tables.names.Add(record.name, volume);
    heads_[head->id()] = volume;
    const auto refused = doubts_.volumes.find(record.id);
    if (refused != doubts_.volumes.end()) volume->state().Refuse(refused->second);
  }
  return OkStatus();
}

Status Recovery::LoadSnapshots(Node& node) {
  MutexLock lock(parts_.tables.mu);
  for (const SnapshotRecord& record : node.contents().snapshots) {
    if (parts_.tables.snapshots.Find(record.id) != nullptr) {
      return Error{Errc::kCorrupt, StrCat("snapshot ", record.name, " of node ", node.name(),
                                          " has the id of another; was its directory copied?")};
    }
    Layer* const layer = parts_.layers.Find(record.layer);
    if (layer != nullptr) parts_.tree.AddReference(layer);
    const auto refused = doubts_.snapshots.find(record.id);
    parts_.tables.snapshots.Add(
        {.record = record,
         .node = &node,
         .refused = refused == doubts_.snapshots.end() ? "" : refused->second});
  }
  return OkStatus();
}

std::shared_ptr<Volume> Recovery::FindVolume(const Node& node, Id id) {
  MutexLock lock(parts_.tables.mu);
  const std::shared_ptr<Volume> found = parts_.tables.names.Find(id);
  return found == nullptr || &found->node() != &node ? nullptr : found;
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
      return OkStatus();  // a job without a volume: the node is not trusted, and the hold stays
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
    MutexLock lock(parts_.tables.mu);
    CloneEntry entry;
    entry.record = clone;
    entry.owed = true;
    parts_.tables.clones.Put(clone.clone, std::move(entry));
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
    // Its layer is left without a reference, and the background frees it.
    change.emplace_back(DeleteVolume{clone.clone});
    heads_.erase(volume->head()->id());
    parts_.tree.DropReference(volume->head());
    MutexLock lock(parts_.tables.mu);
    parts_.tables.names.Remove(volume->name(), clone.clone);
  }
  change.emplace_back(DeleteClone{clone.clone});
  LogInfo(StrCat("clone ", clone.name, " of ", clone.source_name,
                 " was not complete when the last "
                 "mount ended; its remains are removed"));
  return b.catalog().Commit(change, Room::kFree);
}

void Recovery::KeepRefused(const std::shared_ptr<Volume>& volume, const CloneRecord& clone) {
  CloneEntry entry;
  entry.record = clone;
  entry.source_node = FindByUuid(clone.source_node);
  entry.trouble = volume->state().failure();
  MutexLock lock(parts_.tables.mu);
  parts_.tables.clones.Put(clone.clone, std::move(entry));
}

void Recovery::KeepClone(Node& b, const std::shared_ptr<Volume>& volume, const CloneRecord& clone) {
  Node* const a = FindByUuid(clone.source_node);
  CloneEntry entry;
  entry.record = clone;
  entry.source_node = a;
  Layer* const head = volume->head();
  Layer* const under = parts_.layers.Find(head->record().parent);
  const bool there = a != nullptr && under != nullptr && under->node() == a;
  const auto hold = holds_.find({a, clone.clone});
  if (there) entry.held = under;
  if (a == nullptr) {
    entry.trouble = StrCat("node ", clone.source_node_name, " is not mounted");
  } else if (hold == holds_.end() || !there) {
    entry.trouble = StrCat("node ", a->name(),
                           " no longer holds its source, so the part not copied "
                           "yet is lost; delete this clone and make it again");
    // The source's layer may still exist, but without the blocks that no other layer needs, and
    // these must not be read as zeros. On one node it is complete, as the clone's head is its
    // child.
    if (a != &b) head->MarkParentLost(parts_.layers.AddLost(head->record().parent, a->name()));
    // The layer is pinned nevertheless: if only the hold's row was lost, and is restored, it is
    // whole.
    if (there) parts_.tree.AddPin(under);
  } else {
    entry.lock = hold->second.snapshot != kNoId ? hold->second.snapshot : hold->second.volume;
  }
  MutexLock lock(parts_.tables.mu);
  if (entry.lock != kNoId) parts_.tables.clones.PassLock(entry.lock, clone.clone);
  parts_.tables.clones.Put(clone.clone, std::move(entry));
}

void Recovery::LockForAbsent(const HoldRecord& hold) {
  CloneEntry entry;
  entry.absent = true;
  entry.lock = hold.snapshot != kNoId ? hold.snapshot : hold.volume;
  entry.record.name = hold.clone_name;
  MutexLock lock(parts_.tables.mu);
  if (!parts_.tables.clones.Locked(entry.lock)) {
    parts_.tables.clones.Lock(entry.lock, hold.clone);
  }
  parts_.tables.clones.Put(hold.clone, std::move(entry));
}

Status Recovery::ReconcileHolds(Node& a) {
  for (const HoldRecord& hold : a.contents().holds) {
    if (!holds_.contains({&a, hold.clone})) continue;
    const Node* const b = FindByUuid(hold.clone_node);
    // the clone's node may come back, or its rows be restored
    const bool untouched = (b == nullptr && !Sabotaged(Sabotage::kReleaseForAbsent)) ||
                           (b != nullptr && !b->trusted()) || !a.trusted();
    bool known = false;
    {
      MutexLock lock(parts_.tables.mu);
      known = parts_.tables.clones.Find(hold.clone) != nullptr;
    }
    if (untouched && !known) LockForAbsent(hold);
    if (untouched || known) {
      if (Layer* const layer = parts_.layers.Find(hold.layer)) parts_.tree.AddPin(layer);
      continue;
    }
    LogInfo(StrCat("node ", a.name(), ": a hold for clone ", hold.clone_name,
                   ", which does not exist, is released"));
    RETURN_IF_ERROR(a.catalog().Commit({DeleteHold{hold.clone}}, Room::kFree));
  }
  return OkStatus();
}

// Removes the settings of volumes that were deleted, and of clones that became whole.
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
  return stale.empty() || !node.trusted() ? OkStatus() : node.catalog().Commit(stale, Room::kFree);
}

bool Recovery::TakeCopyRate(Id clone, const std::string& value) {
  uint64_t rate = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), rate);
  if (error != std::errc() || end != value.data() + value.size()) return false;
  MutexLock lock(parts_.tables.mu);
  CloneEntry* const found = parts_.tables.clones.Find(clone);
  if (found == nullptr || parts_.tables.names.Find(clone) == nullptr || found->owed) return false;
  found->copy_rate = rate;
  return true;
}

bool Recovery::TakeVerification(Id clone, const std::string& value) {
  MutexLock lock(parts_.tables.mu);
  const std::shared_ptr<Volume> volume = parts_.tables.names.Find(clone);
  if (volume == nullptr) return false;
  const bool wanted = value == kVerifyWanted && parts_.tables.clones.Find(clone) != nullptr;
  if (!wanted && value != kVerifyDone) return false;
  volume->state().set_verification(wanted ? Verification::kWanted : Verification::kDone);
  return true;
}

bool Recovery::TakeIo(Id id, const std::string& value) {
  const std::shared_ptr<Volume> volume = parts_.tables.Find(id);
  if (volume == nullptr || value != kIoNative) return false;
  volume->native().set_wanted(true);
  if (volume->state().refused()) return true;
  if (const Status adopted = volume->native().AdoptAfterCrash(); !adopted.ok()) {
    LogWarning(StrCat(volume->name(), ": ", adopted.error().message));
  }
  return true;
}

void Recovery::ListUnpunched(Node& node) {
  for (const LayerRecord& record : node.contents().layers) {
    if (!record.has_file) continue;
    // A flat head has no garbage, and a layer that is no head needs the locks of no volume.
    const auto head = record.parent == kNoId ? heads_.end() : heads_.find(record.id);
    parts_.garbage.Add(record.id, head == heads_.end() ? nullptr : head->second);
  }
}

Status Recovery::RemoveOrphans(Node& node) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, node.directory().ListLayers());
  for (const std::string& name : names) {
    const Id id = IdFromFileName(name);
    Layer* const layer = id == kNoId ? nullptr : parts_.layers.Find(id);
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
