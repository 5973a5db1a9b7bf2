// Cloning: two nodes, three commits, in this order (ARCHITECTURE.md, section 4):
//   B  intent: the name is reserved
//   A  the snapshot point: the source's head is frozen under a new one, and held for the clone
//   B  the clone's layer and record
// and at the end: B link cut, A hold released, B job forgotten. After a crash between any two of
// them Recovery undoes or finishes the clone.
#include <algorithm>
#include <utility>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/volume_settings.h"
#include "blockstore/layer/map_loader.h"
#include "blockstore/store/clone_jobs.h"
#include "blockstore/store/heads.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/requests/clone_plan.h"
#include "blockstore/store/requests/placement.h"
#include "blockstore/store/snapshots.h"
#include "blockstore/store/store.h"
#include "blockstore/store/tables/tree_lock.h"

namespace volfs {
namespace {

std::string SourceWords(const CloneRequest& request) {
  return request.snapshot.empty() ? request.source : StrCat(request.source, "@", request.snapshot);
}

// Returns the volume that an earlier request with this token made, null if the token is new.
Result<std::shared_ptr<Volume>> Retried(StoreParts& parts, const CloneRequest& request) {
  for (const std::shared_ptr<Volume>& volume : parts.tables.Volumes()) {
    const VolumeRecord record = volume->record();
    if (record.token != request.token) continue;
    if (record.request == request.words) return volume;
    return Error{Errc::kInvalid,
                 StrCat("id=", request.token, " was used for another request: ", record.request)};
  }
  return std::shared_ptr<Volume>();
}

Status FindSource(StoreParts& parts, const CloneRequest& request, ClonePlan& plan)
    VOLFS_REQUIRES(parts.tables.mu) {
  if (request.snapshot.empty()) {
    plan.source = parts.tables.names.Find(request.source);
    if (plan.source == nullptr) return NoSuchVolume(request.source);
    plan.source_volume = plan.source->id();
    plan.source_node = &plan.source->node();
    plan.source_bytes = plan.source->size_bytes();
    return CheckSameNode(plan.tree_node, *plan.source_node, plan.source_words);
  }
  const SnapshotEntry* const found = parts.tables.FindSnapshot(request.source, request.snapshot);
  if (found == nullptr) {
    return Error{Errc::kNotFound, StrCat(plan.source_words, ": no such snapshot")};
  }
  plan.snapshot = found->record.id;
  plan.source_volume = found->record.volume;
  plan.source_node = found->node;
  plan.source_bytes = found->record.size_bytes;
  plan.attributes.mtime_ns = found->record.attributes.mtime_ns;
  plan.frozen = parts.layers.Find(found->record.layer);
  if (plan.frozen == nullptr) {
    return Error{Errc::kCorrupt, StrCat(plan.source_words, ": its layer is not in the catalog")};
  }
  return CheckSameNode(plan.tree_node, *plan.source_node, plan.source_words);
}

Status PlanClone(StoreParts& parts, const CloneRequest& request, const Caller& caller,
                 ClonePlan& plan) {
  plan.id = NewId();
  plan.name = request.name;
  plan.token = request.token;
  plan.words = request.words;
  plan.verify = request.verify;
  plan.source_words = SourceWords(request);
  VolumeRecord source;
  {
    MutexLock lock(parts.tables.mu);
    RETURN_IF_ERROR(FindSource(parts, request, plan));
    source = parts.tables.names.RecordOf(plan.source_volume);
    const int64_t mtime_ns = plan.attributes.mtime_ns;
    plan.attributes = source.attributes;
    if (plan.snapshot != kNoId) plan.attributes.mtime_ns = mtime_ns;
    if (!Allowed(caller, source.attributes, Right::kRead)) {
      return Error{Errc::kDenied, StrCat(request.source, ": you have no right to read it")};
    }
    RETURN_IF_ERROR(parts.tables.CheckUnlocked(plan.lock_key(), plan.source_words));
    if (plan.source != nullptr) RETURN_IF_ERROR(parts.tables.CheckSource(*plan.source));
    // A tombstone keeps its name so that a clone of its snapshots can take it, and bring the volume
    // back. On its own node the clone takes over the record of the tombstone. Elsewhere it gets an
    // id of its own.
    const bool revives = parts.tables.names.HasTombstone(plan.source_volume) &&
                         plan.name == source.name && !parts.tables.names.InUse(plan.name);
    const Node* const named = request.linked ? plan.source_node : FindNode(parts, request.node);
    if (revives && request.linked) plan.id = source.id;
    if (revives ? named == plan.source_node && !request.linked
                : parts.tables.names.Taken(plan.name)) {
      return Error{Errc::kExists, StrCat(plan.name, ": the name is taken; choose another",
                                         revives ? ", or say linked=1" : "")};
    }
    parts.tables.ReserveName(plan.reservation, plan.name);
    parts.tables.ReserveSource(plan.reservation, plan.lock_key());
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
                     ChainBytes(parts.layers, plan.frozen, plan.source_bytes, parts.block_size));
  }
  plan.named_node = request.linked ? plan.source_node : FindNode(parts, request.node);
  if (request.linked && !request.node.empty() &&
      FindNode(parts, request.node) != plan.source_node) {
    return Error{Errc::kInvalid, StrCat(plan.source_words,
                                        ": linked=1 shares its data, so the clone "
                                        "can only be on node ",
                                        plan.source_node->name())};
  }
  ASSIGN_OR_RETURN(plan.target, PlaceClone(parts, plan, request));
  RETURN_IF_ERROR(CheckNotFenced(*plan.source_node));
  RETURN_IF_ERROR(CheckNotFenced(*plan.target));
  RETURN_IF_ERROR(plan.target->catalog().CheckMayGrow());
  RETURN_IF_ERROR(plan.source_node->catalog().CheckMayGrow());  // for the hold, or the frozen layer
  // Steps that can fail come before anything is written.
  if (plan.source == nullptr) {
    ASSIGN_OR_RETURN(plan.image, SnapshotImage(parts, plan.snapshot));
  }
  return OkStatus();
}

// Returns the clone's head: over `frozen`, of which it shows all. It is at least as large as
// `frozen`, as the source may have grown since the check.
LayerRecord CloneLayer(uint64_t size_bytes, const Layer& frozen, uint64_t frozen_bytes) {
  LayerRecord record;
  record.id = NewId();
  record.parent = frozen.id();
  record.size_bytes = std::max(size_bytes, frozen_bytes);
  record.parent_bytes = frozen_bytes;
  return record;
}

VolumeRecord CloneVolumeRecord(const ClonePlan& plan, const LayerRecord& head) {
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

// Takes the snapshot point, with `extra` in the commit on the source's node. Afterwards the clone
// reads plan.frozen and plan.image, and plan.frozen has a reference for the hold or head in
// `extra`.
Status Freeze(StoreParts& parts, ClonePlan& plan, const Volume::Extra& extra) {
  if (plan.source == nullptr) {
    ASSIGN_OR_RETURN(plan.image, SnapshotImage(parts, plan.snapshot));
    RETURN_IF_ERROR(plan.source_node->catalog().Commit(extra(*plan.frozen), Room::kGrow));
    parts.tree.AddReference(plan.frozen);
    return OkStatus();
  }
  ASSIGN_OR_RETURN(const Volume::FrozenHead instant,
                   FreezeHead(parts, *plan.source, [&](const Layer& frozen) {
                     plan.attributes.mtime_ns = plan.source->attributes().mtime_ns;
                     return extra(frozen);
                   }));
  plan.image = instant.image;
  plan.frozen = instant.frozen;
  return OkStatus();
}

std::shared_ptr<Volume> PublishClone(StoreParts& parts, ClonePlan& plan, Layer* head,
                                     const VolumeRecord& record) {
  // shared_ptr: see store.h, "looking".
  auto volume =
      std::make_shared<Volume>(VolumeContext{parts.layers, plan.target->epoch(), parts.block_size},
                               *plan.target, record, head);
  ExtentMap map = plan.image->map();
  map.Resize(BlocksFor(record.size_bytes, parts.block_size));
  volume->map().Set(std::move(map));
  if (plan.verify) volume->state().set_verification(Verification::kWanted);
  std::shared_ptr<CloneJob> job;
  if (plan.clone) {
    // shared_ptr: the scheduler, the table and readers of `progress` use it side by side.
    job = std::make_shared<CloneJob>(volume, plan.image, *plan.source_node, *plan.clone,
                                     CopyContext(parts));
  }
  {
    MutexLock lock(parts.tables.mu);
    parts.tables.names.Add(record.name, volume);
    if (job != nullptr) {
      CloneEntry entry{*plan.clone, job, "", plan.source_node, plan.frozen, plan.lock_key()};
      entry.max_bytes = plan.data_bytes;
      parts.tables.clones.Put(record.id, std::move(entry));
      parts.tables.clones.PassLock(plan.lock_key(), record.id);
      plan.reservation.PassedSource();
    }
  }
  parts.events.Emit("clone", record.name, record.id, job != nullptr ? "creating" : "available");
  if (job != nullptr) parts.hydrator.Add(std::move(job));
  return volume;
}

// Makes a clone that shares all data with its source: one commit, no copy, no hold.
Result<std::shared_ptr<Volume>> CloneLinked(StoreParts& parts, ClonePlan& plan) {
  LayerRecord layer;
  VolumeRecord volume;
  RETURN_IF_ERROR(Freeze(parts, plan, [&](const Layer& frozen) -> CatalogChange {
    layer = CloneLayer(plan.size_bytes, frozen, frozen.record().size_bytes);
    volume = CloneVolumeRecord(plan, layer);
    return {PutLayer{layer}, PutVolume{volume}};
  }));
  Layer* const head = parts.layers.Add(plan.target, layer, LayerTable::Origin::kCatalog);
  parts.tree.AddReference(head);
  parts.tree.AddChild(plan.frozen, head);
  // The new head is a child of the frozen layer and keeps it now, so the reference from Freeze
  // goes. The head is empty, so it hides no block that could be freed.
  parts.tree.DropReference(plan.frozen);
  return PublishClone(parts, plan, head, volume);
}

Result<std::shared_ptr<Volume>> CloneAcross(StoreParts& parts, ClonePlan& plan) {
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
  const Status held = Freeze(parts, plan, [&](const Layer& frozen) -> CatalogChange {
    hold = {PutHold{
        {plan.id, plan.target->uuid(), plan.name, frozen.id(), plan.source_volume, plan.snapshot}}};
    return Sabotaged(Sabotage::kCloneBeforeHold) ? CatalogChange{} : hold;
  });
  if (!held.ok()) {
    // If it is not known whether there is a hold now, nothing may be undone: the next mount
    // decides.
    if (RefusedCleanly(held.error()) && !b.Commit({DeleteClone{plan.id}}, Room::kFree).ok()) {
      plan.reservation.AbandonName();
    }
    return held.error();
  }
  parts.tree.ReferenceIsPin(plan.frozen);  // the hold's
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
  if (const Status made = b.Commit(make, Room::kGrow); !made.ok()) {
    if (!RefusedCleanly(made.error()) && !Sabotaged(Sabotage::kReleaseUnknown)) return made.error();
    bool undone = a.Commit({DeleteHold{plan.id}}, Room::kFree).ok();
    if (undone) {
      (void)parts.reclaimer.RemovePin(plan.frozen);
      undone = b.Commit({DeleteClone{plan.id}}, Room::kFree).ok();
    }
    if (!undone) plan.reservation.AbandonName();  // the intent keeps it, until the next mount
    return made.error();
  }
  if (Sabotaged(Sabotage::kCloneBeforeHold)) RETURN_IF_ERROR(a.Commit(hold, Room::kGrow));
  Layer* const head = parts.layers.Add(plan.target, layer, LayerTable::Origin::kCatalog);
  parts.tree.AddReference(head);
  if (same_node) parts.tree.AddChild(plan.frozen, head);
  plan.clone = clone;
  return PublishClone(parts, plan, head, volume);
}

}  // namespace

Result<std::shared_ptr<Volume>> Store::Clone(const CloneRequest& request, const Caller& caller) {
  RETURN_IF_ERROR(CheckType(parts_, request.type));
  if (request.linked && request.verify) {
    return Error{Errc::kInvalid, StrCat(request.name,
                                        ": linked=1 copies nothing, so there is nothing to "
                                        "verify; leave one of the two out")};
  }
  if (!request.token.empty()) {
    ASSIGN_OR_RETURN(std::shared_ptr<Volume> earlier, Retried(parts_, request));
    if (earlier != nullptr) return earlier;
  }
  const TreeLock tree = LockTreeOf(parts_.tables, request.source,
                                   request.snapshot);  // the plan has layers and images
  ClonePlan plan(parts_.tables);
  plan.tree_node = tree.node;
  RETURN_IF_ERROR(PlanClone(parts_, request, caller, plan));
  auto made = request.linked ? CloneLinked(parts_, plan) : CloneAcross(parts_, plan);
  if (!made.ok() && !RefusedCleanly(made.error())) plan.reservation.Abandon();
  return made;
}

}  // namespace volfs
