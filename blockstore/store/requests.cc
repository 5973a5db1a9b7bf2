// Requests other than cloning: create, snapshot, resize, rename, delete.

#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/volume_settings.h"
#include "blockstore/store/clone_plan.h"
#include "blockstore/store/store.h"

namespace volfs {
namespace {

// A descriptor's release reaches us after close(2) has returned: `umount && rm` must not fail for
// it.
constexpr Nanoseconds kReleasePatience = std::chrono::milliseconds(500);
constexpr Nanoseconds kReleasePoll = std::chrono::milliseconds(5);

Error NotFound(const std::string& name) {
  return Error{Errc::kNotFound, StrCat(name, ": no such volume")};
}

Error Taken(const std::string& name) {
  return Error{Errc::kExists, StrCat(name, ": the name is taken; choose another")};
}

Error Denied(const std::string& name, const char* right) {
  return Error{Errc::kDenied, StrCat(name, ": you have no right to ", right, " it")};
}

}  // namespace

// --- create --------------------------------------------------------------------------------------

uint32_t NewVolumeMode(uint32_t mode) { return (mode & 0222) == 0 ? mode | 0200 : mode; }

Result<std::shared_ptr<Volume>> Store::Create(const CreateRequest& request, const Caller& caller) {
  Reservation reservation(*this);
  {
    MutexLock lock(mu_);
    if (NameTakenLocked(request.name)) return Taken(request.name);
    ReserveNameLocked(reservation, request.name);
  }
  std::string type = request.type;
  ASSIGN_OR_RETURN(Node* const node, PlaceNew(request, type));
  RETURN_IF_ERROR(CheckNotFenced(*node));
  RETURN_IF_ERROR(node->catalog().CheckMayGrow());
  LayerRecord layer_record;
  layer_record.id = NewId();
  layer_record.size_bytes = request.size_bytes.value_or(0);
  VolumeRecord record;
  record.id = NewId();
  record.name = request.name;
  record.head = layer_record.id;
  record.size_bytes = layer_record.size_bytes;
  record.type = type;
  record.created_ns = WallNow().count();
  record.attributes = {caller.uid,        caller.gid,        NewVolumeMode(request.mode),
                       record.created_ns, record.created_ns, record.created_ns};
  Layer* const head = layers_.Add(node, layer_record, LayerTable::Origin::kNew);
  // The file before the record that says that it is there.
  Status done = head->CreateFile();
  if (done.ok() && !Sabotaged(Sabotage::kCreateUnsynced)) done = head->SyncFile();
  layer_record = head->record();
  const bool has_file = done.ok();
  const bool native = request.native.value_or(options_.native);
  if (has_file) {
    CatalogChange change{PutLayer{layer_record}, PutVolume{record}};
    if (native) {
      change.emplace_back(PutSetting{VolumeSetting(kIoPrefix, record.id), std::string(kIoNative)});
    }
    done = node->catalog().Commit(std::move(change), Room::kGrow);
  }
  if (!done.ok()) {
    // If nobody knows whether the commit happened the next mount decides about the file.
    if (has_file && !RefusedCleanly(done.error())) {
      reservation.Abandon();
    } else {
      (void)head->RemoveFile();
    }
    layers_.Remove(head);
    return done.error();
  }
  head->Committed(layer_record);
  reclaimer_->AddReference(head);
  // shared_ptr: see store.h, "looking".
  auto volume = std::make_shared<Volume>(VolumeContext{layers_, node->epoch(), block_size_}, *node,
                                         record, head);
  volume->native().set_wanted(native);
  {
    MutexLock lock(mu_);
    by_name_[record.name] = volume;
    by_id_[record.id] = volume;
  }
  Emit("created", record.name, record.id, "available");
  return volume;
}

// --- snapshot ------------------------------------------------------------------------------------

Result<SnapshotInfo> Store::TakeSnapshot(const std::string& volume_name, const std::string& name,
                                         const Caller& caller) {
  const TreeLock tree = LockTreeOf(volume_name, "");
  Reservation reservation(*this);
  std::shared_ptr<Volume> volume;
  SnapshotRecord record;
  {
    MutexLock lock(mu_);
    const auto found = by_name_.find(volume_name);
    if (found == by_name_.end()) return NotFound(volume_name);
    volume = found->second;
    RETURN_IF_ERROR(CheckSameNode(tree.node, volume->node(), volume_name));
    if (!Allowed(caller, volume->attributes(), Right::kRead)) return Denied(volume_name, "read");
    RETURN_IF_ERROR(CheckUnlockedLocked(volume->id(), volume_name));
    RETURN_IF_ERROR(CheckSourceLocked(*volume));
    if (FindSnapshotLocked(volume_name, name) != nullptr) {
      return Taken(StrCat(volume_name, "@", name));
    }
    ReserveSourceLocked(reservation, volume->id());
  }
  RETURN_IF_ERROR(CheckNotFenced(volume->node()));
  // A refused commit would leave one more layer over the volume, for its next sync to record.
  RETURN_IF_ERROR(volume->node().catalog().CheckMayGrow());
  record.id = NewId();
  record.volume = volume->id();
  record.name = name;
  ASSIGN_OR_RETURN(const Volume::FrozenHead instant,
                   FreezeHead(*volume, [&](const Layer& frozen) -> CatalogChange {
                     record.layer = frozen.id();
                     record.size_bytes = frozen.record().size_bytes;
                     record.created_ns = WallNow().count();
                     record.attributes = volume->attributes();
                     record.attributes.mode &= 0444;
                     return {PutSnapshot{record}};
                   }));
  {
    MutexLock lock(mu_);
    snapshots_[record.id] = {record, &volume->node(), instant.image};
    snapshot_names_[record.volume][name] = record.id;
  }
  Emit("snapshot", volume->name(), record.id, name);
  // Nothing if somebody has deleted it already.
  return FindSnapshot(record.id).value_or(SnapshotInfo{});
}

Result<Volume::FrozenHead> Store::FreezeHead(Volume& volume, const Volume::Extra& extra) {
  Layer* const old = volume.head();
  Result<Volume::FrozenHead> instant = volume.FreezeHead(extra);
  if (!instant.ok() && instant.error().code == Errc::kBusy && volume.native().wanted()) {
    // Perhaps who had it open has just closed it: close(2) returns before its release reaches us,
    // and that may have come meanwhile.
    const Status closed = RetryFor([&] { return volume.native().CheckNotActive("this"); });
    if (closed.ok()) instant = volume.FreezeHead(extra);
  }
  AdoptHead(volume, old);
  if (!instant.ok()) {
    if (volume.head() != old) (void)reclaimer_->RemoveReference(old);
    return instant;
  }
  if (volume.head() == old) reclaimer_->AddReference(instant.value().frozen);
  return instant;
}

void Store::AdoptHead(Volume& volume, Layer* old) {
  Layer* const head = volume.head();
  if (head == old) return;  // the instant was refused before anything changed
  reclaimer_->AddReference(head);
  reclaimer_->AddChild(old, head);
}

// --- resize, rename ------------------------------------------------------------------------------

Status Store::CheckMayShrink(const Volume& volume) const {
  if (options_.allow_shrink) return OkStatus();
  return Error{Errc::kProtected,
               StrCat(volume.name(), " has ", volume.size_bytes(),
                      " bytes: making it smaller would destroy its end; to write into it as it "
                      "is use `dd conv=notrunc`, `qemu-img convert -n` or `rsync --inplace` (the "
                      "mount option allow_shrink allows it)")};
}

Status Store::Shrink(Volume& volume, uint64_t size_bytes, Volume::Cut cut) {
  if (options_.allow_shrink) cut = Volume::Cut::kAnything;
  if (cut == Volume::Cut::kAnything) RETURN_IF_ERROR(CheckMayShrink(volume));
  if (IsClone(volume.id())) {
    return Error{Errc::kBusy, StrCat(volume.name(),
                                     ": it is a clone that is still being copied; make it smaller "
                                     "when it is available")};
  }
  const auto under_head = [&] {
    const Epoch::Reader reader = volume.node().epoch().Enter();
    return volume.head()->record().parent;
  };
  Gate::Passage tree = volume.node().tree_gate().Enter();
  const Id under = under_head();
  Status shrunk = volume.Shrink(size_bytes, cut);
  tree.Leave();
  // Data lies in the way: that is the general rule again, and its remedy.
  if (!shrunk.ok() && shrunk.error().code == Errc::kProtected) shrunk = CheckMayShrink(volume);
  RETURN_IF_ERROR(shrunk);
  if (under == kNoId) return OkStatus();
  if (const Status freed = reclaimer_->Reclaim(under); !freed.ok()) {
    LogWarning(StrCat(volume.name(), ": the space that was cut off is freed at the next mount: ",
                      freed.error().message));
  }
  return OkStatus();
}

Status Store::Resize(const std::string& name, uint64_t size_bytes, const Caller& caller) {
  const std::shared_ptr<Volume> volume = Find(name);
  if (volume == nullptr) return NotFound(name);
  volume->native().RefreshFromFile();
  const VolumeRecord record = volume->record();
  if (!Allowed(caller, record.attributes, Right::kWrite)) return Denied(name, "resize");
  const bool shrinks = size_bytes < volume->size_bytes();
  if (shrinks) RETURN_IF_ERROR(CheckMayShrink(*volume));
  const VolumeType* const type = volume->node().FindType(record.type);
  if (type != nullptr && (size_bytes > type->greatest_bytes || size_bytes < type->least_bytes)) {
    return Error{Errc::kRange, StrCat(name, ": type ", type->name, " allows ", type->least_bytes,
                                      " to ", type->greatest_bytes, " bytes")};
  }
  RETURN_IF_ERROR(volume->node().CheckAnswers());
  RETURN_IF_ERROR(
      volume->opens().Add(Volume::Access::kWrite));  // so that nobody deletes it meanwhile
  Status done = shrinks ? Shrink(*volume, size_bytes) : volume->Grow(size_bytes);
  if (done.ok() && !shrinks) done = volume->Sync();
  volume->opens().Remove(Volume::Access::kWrite);
  RETURN_IF_ERROR(done);
  Emit("resized", name, volume->id(), "");
  return OkStatus();
}

Status Store::Rename(const std::string& from, const std::string& to) {
  MutexLock naming(naming_mu_);
  Reservation reservation(*this);
  std::shared_ptr<Volume> volume;
  {
    MutexLock lock(mu_);
    const auto found = by_name_.find(from);
    if (found == by_name_.end()) return NotFound(from);
    if (from == to) return OkStatus();
    if (NameTakenLocked(to)) return Taken(to);
    volume = found->second;
    ReserveNameLocked(reservation, to);
  }
  if (volume->opens().deleting()) return NotFound(from);
  RETURN_IF_ERROR(CheckNotFenced(volume->node()));
  if (const Status done = volume->commits().Rename(to); !done.ok()) {
    if (!RefusedCleanly(done.error())) reservation.Abandon();  // it may have either name
    return done;
  }
  {
    MutexLock lock(mu_);
    by_name_.erase(from);
    by_name_[to] = volume;
  }
  Emit("renamed", to, volume->id(), from);
  return OkStatus();
}

Status Store::RenameSnapshot(const std::string& volume, const std::string& from,
                             const std::string& to) {
  const TreeLock tree = LockTreeOf(volume, from);  // its layer is the one that the record names
  MutexLock naming(naming_mu_);
  SnapshotEntry entry;
  {
    MutexLock lock(mu_);
    const SnapshotEntry* const found = FindSnapshotLocked(volume, from);
    if (found == nullptr) {
      return Error{Errc::kNotFound, StrCat(volume, "@", from, ": no such snapshot")};
    }
    RETURN_IF_ERROR(CheckSameNode(tree.node, *found->node, volume));
    if (from == to) return OkStatus();
    if (FindSnapshotLocked(volume, to) != nullptr) return Taken(StrCat(volume, "@", to));
    entry = *found;
  }
  entry.record.name = to;
  RETURN_IF_ERROR(CheckNotFenced(*entry.node));
  // If a snapshot of that name is being made, the catalog refuses the second of both.
  RETURN_IF_ERROR(entry.node->catalog().Commit({PutSnapshot{entry.record}}));
  {
    MutexLock lock(mu_);
    auto& names = snapshot_names_.at(entry.record.volume);
    names.erase(from);
    names[to] = entry.record.id;
    snapshots_.at(entry.record.id).record.name = to;
  }
  Emit("snapshot-renamed", volume, entry.record.id, to);
  return OkStatus();
}

Status Store::RetryFor(const std::function<Status()>& begin) {
  for (const Nanoseconds end = MonotonicNow() + kReleasePatience;; SleepFor(kReleasePoll)) {
    const Status begun = begin();
    if (begun.ok() || MonotonicNow() >= end) return begun;
  }
}

// --- delete --------------------------------------------------------------------------------------

Status Store::CheckMayDestroy(const Caller& caller, const Volume& volume, const char* verb) {
  const Attributes attributes = volume.attributes();
  // Its owner too has no right to write it then: why is what helps him.
  if ((attributes.mode & 0222) == 0) {
    return Error{Errc::kProtected, StrCat(volume.name(),
                                          ": its mode has no w bit, which protects it; "
                                          "`chmod u+w` first")};
  }
  if (!Allowed(caller, attributes, Right::kWrite)) return Denied(volume.name(), verb);
  return OkStatus();
}

Status Store::Delete(const std::string& name, const Caller& caller) {
  std::shared_ptr<Volume> volume;
  {
    MutexLock lock(mu_);
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return NotFound(name);
    volume = found->second;
    RETURN_IF_ERROR(CheckMayDestroy(caller, *volume, "delete"));
    RETURN_IF_ERROR(CheckUnlockedLocked(volume->id(), name));
    for (const auto& [id, clone] : clones_) {
      if (clone.lock != volume->id() || clone.owed) continue;
      return Error{Errc::kBusy, StrCat(name,
                                       ": a clone of it still needs it; resume, cancel or "
                                       "delete that first")};
    }
  }
  RETURN_IF_ERROR(CheckNotFenced(volume->node()));
  if (const Node* source = SourceNodeOf(volume->id())) RETURN_IF_ERROR(source->CheckAnswers());
  RETURN_IF_ERROR(RetryFor([&] { return volume->opens().BeginDelete(); }));
  const Status done = IsClone(volume->id()) ? CancelClone(volume) : Forget(volume, {}, nullptr);
  // Else nobody knows, or it is decided: the volume stays `deleting` until the next mount.
  if (!done.ok() && RefusedCleanly(done.error())) volume->opens().AbortDelete();
  return done;
}

// Takes the volume's name away for good (with `change`, in one commit) and frees its space, now or
// when the last reader closes it.
Status Store::Forget(const std::shared_ptr<Volume>& volume, CatalogChange change, Layer* held) {
  Gate::Passage tree = volume->node().tree_gate().Enter();
  MutexLock naming(naming_mu_);
  bool has_snapshots = false;
  {
    MutexLock lock(mu_);
    const auto names = snapshot_names_.find(volume->id());
    has_snapshots = names != snapshot_names_.end() && !names->second.empty();
    // Somebody may have locked it as a source since Delete looked.
    RETURN_IF_ERROR(CheckUnlockedLocked(volume->id(), volume->name()));
  }
  Tombstone tombstone{volume->record(), &volume->node()};
  tombstone.record.head = kNoId;
  if (has_snapshots) {
    change.emplace_back(PutVolume{tombstone.record});
  } else {
    change.emplace_back(DeleteVolume{volume->id()});
  }
  RETURN_IF_ERROR(volume->commits().CommitDeletion(change));
  {
    MutexLock lock(mu_);
    by_name_.erase(volume->name());
    by_id_.erase(volume->id());
    if (has_snapshots) tombstones_[volume->id()] = tombstone;
  }
  reclaimer_->ReferenceIsPin(volume->head());
  tree.Leave();  // nothing of it is merged any more; and who merges holds up who reclaims
  volume->opens().FinishDelete([this, held, raw = volume.get()] {
    Status freed = reclaimer_->RemoveUse(raw->head());
    if (freed.ok() && held != nullptr) {
      // Its readers may still be in the source's layers.
      if (!Sabotaged(Sabotage::kFreeUnderReaders)) raw->node().epoch().Synchronize();
      freed = reclaimer_->RemoveUse(held);
    }
    if (!freed.ok()) {
      LogWarning(
          StrCat(raw->name(), ": its space is freed at the next mount: ", freed.error().message));
    }
  });
  Emit("deleted", tombstone.record.name, tombstone.record.id, "deleted");
  return OkStatus();
}

Status Store::DeleteSnapshot(const std::string& volume_name, const std::string& name,
                             const Caller& caller) {
  ASSIGN_OR_RETURN(const Id layer, DropSnapshot(volume_name, name, caller));
  // It is deleted, whatever comes of its space; and nobody waits for us while we wait for who
  // merges.
  if (const Status freed = reclaimer_->Reclaim(layer); !freed.ok()) {
    LogWarning(StrCat(volume_name, "@", name,
                      ": its space is freed at the next mount: ", freed.error().message));
  }
  return OkStatus();
}

Result<Id> Store::DropSnapshot(const std::string& volume_name, const std::string& name,
                               const Caller& caller) {
  const TreeLock tree = LockTreeOf(volume_name, name);
  MutexLock naming(naming_mu_);  // a deletion of the volume must know whether snapshots are left
  SnapshotEntry entry;
  bool last_of_tombstone = false;
  {
    MutexLock lock(mu_);
    const SnapshotEntry* const found = FindSnapshotLocked(volume_name, name);
    if (found == nullptr) {
      return Error{Errc::kNotFound, StrCat(volume_name, "@", name, ": no such snapshot")};
    }
    RETURN_IF_ERROR(CheckSameNode(tree.node, *found->node, volume_name));
    const Id volume = found->record.volume;
    if (!Allowed(caller, AttributesLocked(volume), Right::kWrite)) {
      return Denied(volume_name, "delete");
    }
    RETURN_IF_ERROR(CheckUnlockedLocked(found->record.id, StrCat(volume_name, "@", name)));
    for (const auto& [id, clone] : clones_) {
      if (clone.lock != found->record.id || clone.owed) continue;
      return Error{Errc::kBusy, StrCat(volume_name, "@", name, ": a clone of it still needs it")};
    }
    entry = *found;
    last_of_tombstone = !by_id_.contains(volume) && snapshot_names_.at(volume).size() == 1;
    // Off the table first: nobody opens or clones it from here on.
    snapshot_names_.at(volume).erase(name);
    snapshots_.erase(entry.record.id);
  }
  CatalogChange change{volfs::DeleteSnapshot{entry.record.id}};
  if (last_of_tombstone) change.emplace_back(DeleteVolume{entry.record.volume});
  const Status done = entry.node->catalog().Commit(std::move(change), Room::kFree);
  if (!done.ok()) {
    MutexLock lock(mu_);
    snapshot_names_[entry.record.volume][name] = entry.record.id;
    snapshots_[entry.record.id] = entry;
    return done.error();
  }
  if (last_of_tombstone) {
    MutexLock lock(mu_);
    tombstones_.erase(entry.record.volume);
  }
  Emit("snapshot-deleted", volume_name, entry.record.id, name);
  Layer* const layer = layers_.Find(entry.record.layer);
  if (layer != nullptr) reclaimer_->DropReference(layer);
  return entry.record.layer;
}

}  // namespace volfs
