// Cloning: two nodes, three commits, in this order (ARCHITECTURE.md, "Life of a clone"):
//   B  intent: the name is reserved
//   A  the instant: the source's head is frozen under a new one, and held for the clone
//   B  the clone's layer and record
// and at the end: B link cut, A hold released, B job forgotten. Recovery undoes or finishes what a
// crash leaves between any two of them.
#include <algorithm>
#include <cassert>

#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/volume_settings.h"
#include "blockstore/layer/map_loader.h"
#include "blockstore/store/clone_plan.h"
#include "blockstore/store/store.h"

namespace volfs {
namespace {

std::string SourceWords(const CloneRequest& request) {
  return request.snapshot.empty() ? request.source : StrCat(request.source, "@", request.snapshot);
}

}  // namespace

Result<std::shared_ptr<Volume>> Store::Clone(const CloneRequest& request, const Caller& caller) {
  RETURN_IF_ERROR(CheckType(request.type));
  if (request.linked && request.verify) {
    return Error{Errc::kInvalid, StrCat(request.name,
                                        ": linked=1 copies nothing, so there is nothing to "
                                        "verify; leave one of the two out")};
  }
  if (!request.token.empty()) {
    ASSIGN_OR_RETURN(std::shared_ptr<Volume> earlier, Retried(request));
    if (earlier != nullptr) return earlier;
  }
  const TreeLock tree =
      LockTreeOf(request.source, request.snapshot);  // the plan has layers and images
  ClonePlan plan(*this);
  plan.tree_node = tree.node;
  RETURN_IF_ERROR(PlanClone(request, caller, plan));
  auto made = request.linked ? CloneLinked(plan) : CloneAcross(plan);
  if (!made.ok() && !RefusedCleanly(made.error())) plan.reservation.Abandon();
  return made;
}

// Null if the token is new.
Result<std::shared_ptr<Volume>> Store::Retried(const CloneRequest& request) {
  for (const std::shared_ptr<Volume>& volume : Volumes()) {
    const VolumeRecord record = volume->record();
    if (record.token != request.token) continue;
    if (record.request == request.words) return volume;
    return Error{Errc::kInvalid,
                 StrCat("id=", request.token, " was used for another request: ", record.request)};
  }
  return std::shared_ptr<Volume>();
}

Status Store::FindSourceLocked(const CloneRequest& request, ClonePlan& plan) {
  const auto live = by_name_.find(request.source);
  if (request.snapshot.empty()) {
    if (live == by_name_.end()) {
      return Error{Errc::kNotFound, StrCat(request.source, ": no such volume")};
    }
    plan.source = live->second;
    plan.source_volume = plan.source->id();
    plan.source_node = &plan.source->node();
    plan.source_bytes = plan.source->size_bytes();
    return CheckSameNode(plan.tree_node, *plan.source_node, plan.source_words);
  }
  const SnapshotEntry* const found = FindSnapshotLocked(request.source, request.snapshot);
  if (found == nullptr) {
    return Error{Errc::kNotFound, StrCat(plan.source_words, ": no such snapshot")};
  }
  plan.snapshot = found->record.id;
  plan.source_volume = found->record.volume;
  plan.source_node = found->node;
  plan.source_bytes = found->record.size_bytes;
  plan.attributes.mtime_ns = found->record.attributes.mtime_ns;
  plan.frozen = layers_.Find(found->record.layer);
  if (plan.frozen == nullptr) {
    return Error{Errc::kCorrupt, StrCat(plan.source_words, ": its layer is not in the catalog")};
  }
  return CheckSameNode(plan.tree_node, *plan.source_node, plan.source_words);
}

Status Store::PlanClone(const CloneRequest& request, const Caller& caller, ClonePlan& plan) {
  plan.id = NewId();
  plan.name = request.name;
  plan.token = request.token;
  plan.words = request.words;
  plan.verify = request.verify;
  plan.source_words = SourceWords(request);
  VolumeRecord source;
  {
    MutexLock lock(mu_);
    RETURN_IF_ERROR(FindSourceLocked(request, plan));
    const auto tombstone = tombstones_.find(plan.source_volume);
    source = tombstone != tombstones_.end() ? tombstone->second.record
                                            : by_id_.at(plan.source_volume)->record();
    const int64_t mtime_ns = plan.attributes.mtime_ns;
    plan.attributes = source.attributes;
    if (plan.snapshot != kNoId) plan.attributes.mtime_ns = mtime_ns;
    if (!Allowed(caller, source.attributes, Right::kRead)) {
      return Error{Errc::kDenied, StrCat(request.source, ": you have no right to read it")};
    }
    RETURN_IF_ERROR(CheckUnlockedLocked(plan.lock_key(), plan.source_words));
    if (plan.source != nullptr) RETURN_IF_ERROR(CheckSourceLocked(*plan.source));
    // A deleted volume's snapshots keep its name for just this: to bring it back. On its own node
    // it takes the deleted one's record over; elsewhere it is a volume with an id of its own.
    const bool revives = tombstone != tombstones_.end() && plan.name == source.name &&
                         !by_name_.contains(plan.name) && !reserved_names_.contains(plan.name);
    const Node* const named = request.linked ? plan.source_node : FindNode(request.node);
    if (revives && request.linked) plan.id = source.id;
    if (revives ? named == plan.source_node && !request.linked : NameTakenLocked(plan.name)) {
      return Error{Errc::kExists, StrCat(plan.name, ": the name is taken; choose another",
                                         revives ? ", or say linked=1" : "")};
    }
    ReserveNameLocked(plan.reservation, plan.name);
    ReserveSourceLocked(plan.reservation, plan.lock_key());
  }
  plan.type = request.type.empty() ? source.type : request.type;
  plan.size_bytes = request.size_bytes.value_or(plan.source_bytes);
  plan.attributes.uid = caller.uid;
  plan.attributes.gid = caller.gid;
  plan.attributes.mode = NewVolumeMode(plan.attributes.mode & 0777);
  plan.attributes.atime_ns = plan.attributes.ctime_ns = WallNow().count();
  if (plan.size_bytes < plan.source_bytes) {
    return Error{Errc::kRange, StrCat(plan.name, ": ", plan.size_bytes, " bytes are less than ",
                                      plan.source_words, " has (", plan.source_bytes,
                                      "); a clone is as large or larger")};
  }
  if (plan.source != nullptr) {
    ASSIGN_OR_RETURN(plan.data_bytes, plan.source->AllocatedBytes());
  } else {
    ASSIGN_OR_RETURN(plan.data_bytes,
                     ChainBytes(layers_, plan.frozen, plan.source_bytes, block_size_));
  }
  plan.named_node = request.linked ? plan.source_node : FindNode(request.node);
  if (request.linked && !request.node.empty() && FindNode(request.node) != plan.source_node) {
    return Error{Errc::kInvalid, StrCat(plan.source_words,
                                        ": linked=1 shares its data, so the clone "
                                        "can only be on node ",
                                        plan.source_node->name())};
  }
  ASSIGN_OR_RETURN(plan.target, PlaceClone(plan, request));
  RETURN_IF_ERROR(CheckNotFenced(*plan.source_node));
  RETURN_IF_ERROR(CheckNotFenced(*plan.target));
  RETURN_IF_ERROR(plan.target->catalog().CheckMayGrow());
  RETURN_IF_ERROR(plan.source_node->catalog().CheckMayGrow());  // for the hold, or the frozen layer
  // What can fail fails before anything is written.
  if (plan.source == nullptr) {
    ASSIGN_OR_RETURN(plan.image, SnapshotImage(plan.snapshot));
  }
  return OkStatus();
}

namespace {

// The clone's head: over `frozen`, of which it sees all (the source may have grown since the check,
// so the clone is at least as large).
LayerRecord CloneLayer(uint64_t size_bytes, const Layer& frozen, uint64_t frozen_bytes) {
  LayerRecord record;
  record.id = NewId();
  record.parent = frozen.id();
  record.size_bytes = std::max(size_bytes, frozen_bytes);
  record.parent_bytes = frozen_bytes;
  return record;
}

}  // namespace

VolumeRecord Store::CloneVolumeRecord(const ClonePlan& plan, const LayerRecord& head) {
  VolumeRecord record;
  record.id = plan.id;
  record.name = plan.name;
  record.head = head.id;
  record.size_bytes = head.size_bytes;
  record.type = plan.type;
  record.created_ns = WallNow().count();
  record.attributes = plan.attributes;
  record.token = plan.token;
  record.request = plan.words;
  return record;
}

// Fixes the instant, with `extra` in the commit on the source's node. Afterwards plan.frozen and
// plan.image are what the clone reads, and plan.frozen has a point for whoever `extra` names.
Status Store::Freeze(ClonePlan& plan, const Volume::Extra& extra) {
  if (plan.source == nullptr) {
    ASSIGN_OR_RETURN(plan.image, SnapshotImage(plan.snapshot));
    RETURN_IF_ERROR(plan.source_node->catalog().Commit(extra(*plan.frozen), Room::kGrow));
    reclaimer_->AddReference(plan.frozen);
    return OkStatus();
  }
  ASSIGN_OR_RETURN(const Volume::FrozenHead instant,
                   FreezeHead(*plan.source, [&](const Layer& frozen) {
                     plan.attributes.mtime_ns = plan.source->attributes().mtime_ns;
                     return extra(frozen);
                   }));
  plan.image = instant.image;
  plan.frozen = instant.frozen;
  return OkStatus();
}

// Shares all data with its source: one commit, nothing is copied, nothing is held.
Result<std::shared_ptr<Volume>> Store::CloneLinked(ClonePlan& plan) {
  LayerRecord layer;
  VolumeRecord volume;
  RETURN_IF_ERROR(Freeze(plan, [&](const Layer& frozen) -> CatalogChange {
    layer = CloneLayer(plan.size_bytes, frozen, frozen.record().size_bytes);
    volume = CloneVolumeRecord(plan, layer);
    return {PutLayer{layer}, PutVolume{volume}};
  }));
  Layer* const head = layers_.Add(plan.target, layer, LayerTable::Origin::kCatalog);
  reclaimer_->AddReference(head);
  reclaimer_->AddChild(plan.frozen, head);
  // Its head keeps the frozen layer now; the point that Freeze left on it stood for that. Nothing
  // of it is hidden from a head that has nothing yet.
  reclaimer_->DropReference(plan.frozen);
  return PublishClone(plan, head, volume);
}

Result<std::shared_ptr<Volume>> Store::CloneAcross(ClonePlan& plan) {
  Catalog& a = plan.source_node->catalog();
  Catalog& b = plan.target->catalog();
  CloneRecord clone;
  clone.clone = plan.id;
  clone.name = plan.name;
  clone.source_name = plan.source_words;
  clone.source_node = plan.source_node->uuid();
  clone.source_node_name = plan.source_node->name();
  RETURN_IF_ERROR(b.Commit({PutClone{clone}}, Room::kGrow));

  CatalogChange hold;
  const Status held = Freeze(plan, [&](const Layer& frozen) -> CatalogChange {
    hold = {PutHold{
        {plan.id, plan.target->uuid(), plan.name, frozen.id(), plan.source_volume, plan.snapshot}}};
    return Sabotaged(Sabotage::kCloneBeforeHold) ? CatalogChange{} : hold;
  });
  if (!held.ok()) {
    // If nobody knows whether there is a hold now, nothing may be undone: the next mount decides.
    if (RefusedCleanly(held.error()) && !b.Commit({DeleteClone{plan.id}}, Room::kFree).ok()) {
      plan.reservation.AbandonName();
    }
    return held.error();
  }
  reclaimer_->ReferenceIsPin(plan.frozen);  // the hold's
  const bool same_node = plan.source_node == plan.target;
  LayerRecord layer = CloneLayer(plan.size_bytes, *plan.frozen, plan.image->size_bytes());
  if (!same_node) layer.parent_node = plan.source_node->uuid();
  const VolumeRecord volume = CloneVolumeRecord(plan, layer);
  clone.state = CloneState::kCopying;
  clone.source_layer = plan.frozen->id();
  clone.source_bytes = plan.image->size_bytes();
  CatalogChange make{PutLayer{layer}, PutVolume{volume}, PutClone{clone}};
  if (plan.verify) {
    make.emplace_back(
        PutSetting{VolumeSetting(kVerifyPrefix, plan.id), std::string(kVerifyWanted)});
  }
  if (const Status made = b.Commit(std::move(make), Room::kGrow); !made.ok()) {
    if (!RefusedCleanly(made.error()) && !Sabotaged(Sabotage::kReleaseUnknown)) return made.error();
    bool undone = a.Commit({DeleteHold{plan.id}}, Room::kFree).ok();
    if (undone) {
      (void)reclaimer_->RemoveUse(plan.frozen);
      undone = b.Commit({DeleteClone{plan.id}}, Room::kFree).ok();
    }
    if (!undone) plan.reservation.AbandonName();  // the intent has it, until the next mount
    return made.error();
  }
  if (Sabotaged(Sabotage::kCloneBeforeHold)) RETURN_IF_ERROR(a.Commit(hold, Room::kGrow));
  Layer* const head = layers_.Add(plan.target, layer, LayerTable::Origin::kCatalog);
  reclaimer_->AddReference(head);
  if (same_node) reclaimer_->AddChild(plan.frozen, head);
  plan.clone = clone;
  return PublishClone(plan, head, volume);
}

std::shared_ptr<Volume> Store::PublishClone(ClonePlan& plan, Layer* head,
                                            const VolumeRecord& record) {
  // shared_ptr: see store.h, "looking".
  auto volume = std::make_shared<Volume>(VolumeContext{layers_, plan.target->epoch(), block_size_},
                                         *plan.target, record, head);
  ExtentMap map = plan.image->map();
  map.Resize(BlocksFor(record.size_bytes, block_size_));
  volume->map().Set(std::move(map));
  if (plan.verify) volume->state().set_verification(Verification::kWanted);
  std::shared_ptr<CloneJob> job;
  if (plan.clone) {
    // shared_ptr: the scheduler, the table and who asks for progress use it side by side.
    job = std::make_shared<CloneJob>(volume, plan.image, *plan.source_node, *plan.clone,
                                     CopyContext());
  }
  {
    MutexLock lock(mu_);
    by_name_[record.name] = volume;
    by_id_[record.id] = volume;
    tombstones_.erase(record.id);  // if it took over a deleted one's record
    if (job != nullptr) {
      clones_[record.id] = {*plan.clone, job, "", plan.source_node, plan.frozen, plan.lock_key()};
      clones_[record.id].max_bytes = plan.data_bytes;
      locked_[plan.lock_key()] = record.id;
      plan.reservation.PassedSource();
    }
  }
  Emit("clone", record.name, record.id, job != nullptr ? "creating" : "available");
  if (job != nullptr) hydrator_->Add(std::move(job));
  return volume;
}

// --- the end of a clone's dependence -----------------------------------------------------------

bool Store::IsClone(Id id) const {
  MutexLock lock(mu_);
  const auto found = clones_.find(id);
  return found != clones_.end() && !found->second.owed && !found->second.absent;
}

// On the source's node, if it is there.
Status Store::ReleaseHold(const CloneEntry& entry, Id clone, Node& clone_node, Layer* head) {
  if (entry.source_node == nullptr) return OkStatus();
  RETURN_IF_ERROR(entry.source_node->catalog().Commit({DeleteHold{clone}}, Room::kFree));
  if (entry.held == nullptr) return OkStatus();
  // Its readers may still be in the source's layers.
  if (!Sabotaged(Sabotage::kFreeUnderReaders)) clone_node.epoch().Synchronize();
  if (head != nullptr) reclaimer_->RemoveChild(entry.held, head);
  return reclaimer_->RemoveUse(entry.held);
}

void Store::OnJobOver(const std::shared_ptr<CloneJob>& job) {
  const std::shared_ptr<Volume>& volume = job->clone();
  if (job->state() == CloneJob::State::kDone) return CompleteClone(volume->id());
  if (job->state() != CloneJob::State::kFailed) return;
  {
    // A clone in error keeps its hold, but not its source's lock.
    MutexLock lock(mu_);
    const auto found = clones_.find(volume->id());
    if (found != clones_.end()) UnlockSourceLocked(found->second, volume->id());
  }
  Emit("status", volume->name(), volume->id(), "error");
}

void Store::UnlockSourceLocked(const CloneEntry& entry, Id clone) {
  const auto lock = locked_.find(entry.lock);
  if (lock != locked_.end() && lock->second == clone) locked_.erase(lock);
}

void Store::CompleteClone(Id clone) {
  CloneEntry entry;
  std::shared_ptr<Volume> volume;
  {
    MutexLock lock(mu_);
    const auto found = clones_.find(clone);
    if (found == clones_.end()) return;
    entry = found->second;
    volume = by_id_.at(clone);
  }
  Status done = ReleaseHold(entry, clone, volume->node(),
                            &volume->node() == entry.source_node ? volume->head() : nullptr);
  if (done.ok()) done = volume->node().catalog().Commit({DeleteClone{clone}}, Room::kFree);
  if (!done.ok()) {
    // It is whole, but it cannot be told so durably: the next mount does.
    LogError(StrCat("clone ", volume->name(), " is complete, but its hold on node ",
                    entry.record.source_node_name,
                    " could not be released: ", done.error().message));
  }
  {
    MutexLock lock(mu_);
    clones_.erase(clone);
    UnlockSourceLocked(entry, clone);
  }
  Emit("status", volume->name(), clone, "available");
}

// --- cancel, resume ----------------------------------------------------------------------------

// BeginDelete has been called. If the copy is finished just now, the volume is deleted as any
// other. Once it is durable that the clone is being deleted, an error is never a clean refusal: the
// next mount finishes what is left to do.
Status Store::CancelClone(const std::shared_ptr<Volume>& volume) {
  const Id id = volume->id();
  CloneEntry entry;
  {
    MutexLock lock(mu_);
    const auto found = clones_.find(id);
    if (found != clones_.end()) entry = found->second;
  }
  if (entry.job != nullptr) hydrator_->Remove(entry.job);
  if (!IsClone(id)) return Forget(volume, {}, nullptr);
  if (entry.job != nullptr) {
    entry.job->Cancel();
    entry.record = entry.job->record();
  }
  entry.record.state = CloneState::kDeleting;
  entry.record.name = volume->name();
  if (const Status begun = volume->node().catalog().Commit({PutClone{entry.record}}, Room::kFree);
      !begun.ok()) {
    // The old job is over for good.
    if (RefusedCleanly(begun.error()) && entry.job != nullptr) StartJob(id);
    return begun;
  }
  Status done = OkStatus();
  if (entry.source_node != nullptr)
    done = entry.source_node->catalog().Commit({DeleteHold{id}}, Room::kFree);
  // The held layer keeps its point until the last reader of the clone is gone.
  if (done.ok()) done = Forget(volume, {volfs::DeleteClone{id}}, entry.held);
  if (!done.ok()) {
    return Error{Errc::kIo, StrCat(volume->name(),
                                   ": it is being deleted, but that could not be finished; the "
                                   "next mount does it: ",
                                   done.error().message)};
  }
  MutexLock lock(mu_);
  clones_.erase(id);
  UnlockSourceLocked(entry, id);
  return OkStatus();
}

Status Store::Cancel(const std::string& name, const Caller& caller) {
  const std::shared_ptr<Volume> volume = Find(name);
  if (volume == nullptr) return Error{Errc::kNotFound, StrCat(name, ": no such volume")};
  if (!IsClone(volume->id())) {
    return Error{Errc::kInvalid, StrCat(name,
                                        ": it is not a clone that is being copied; nothing "
                                        "was done (`volfs rm` deletes a volume)")};
  }
  return Delete(name, caller);
}

Status Store::Resume(const std::string& name, const Caller& caller) {
  std::shared_ptr<CloneJob> job;
  {
    MutexLock lock(mu_);
    const auto named = by_name_.find(name);
    if (named == by_name_.end()) return Error{Errc::kNotFound, StrCat(name, ": no such volume")};
    if (!Allowed(caller, named->second->attributes(), Right::kWrite)) {
      return Error{Errc::kDenied, StrCat(name, ": you have no right to write it")};
    }
    const auto found = clones_.find(named->second->id());
    if (found == clones_.end() || found->second.owed) {
      return Error{Errc::kInvalid, StrCat(name, ": it is not a clone in error")};
    }
    if (found->second.job == nullptr) return Error{Errc::kNodeDown, found->second.trouble};
    job = found->second.job;
    if (job->state() != CloneJob::State::kFailed) {
      return Error{Errc::kInvalid, StrCat(name, ": it is being copied already")};
    }
    job->Resume();
    if (!locked_.contains(found->second.lock)) locked_[found->second.lock] = named->second->id();
  }
  hydrator_->Add(job);
  Emit("status", name, job->clone()->id(), "creating");
  return OkStatus();
}

}  // namespace volfs
