// Copy jobs on the clones' nodes, and holds on the sources': each in the light of the other
// (the table of recovery.h).
#include <algorithm>

#include "blockstore/base/str_cat.h"
#include "blockstore/check/pass.h"

namespace volfs {
namespace {

const std::string& NameOfClone(const CloneRecord& clone, const VolumeRecord* volume) {
  return volume == nullptr ? clone.name : volume->name;
}

// Figures that no course of copying leads to.
bool ProgressIsSane(const CloneRecord& clone, uint32_t block_size) {
  const uint64_t blocks = BlocksFor(clone.source_bytes, block_size);
  const uint64_t most = blocks * block_size;
  if (clone.cursor_block > blocks || clone.copied_bytes > most) return false;
  return !clone.total_known ||
         (clone.total_bytes <= most && clone.copied_bytes <= clone.total_bytes);
}

}  // namespace

CheckPass::Repair CheckPass::EndJob(Member& b, Member* a, const CloneRecord& clone) {
  if (a == nullptr) return {};  // its hold cannot be released now
  return [&b, a, id = clone.clone, state = clone.state]() -> Status {
    if (a->holds.contains(id)) RETURN_IF_ERROR(a->catalog().Commit({DeleteHold{id}}, Room::kFree));
    CatalogChange change;
    if (state == CloneState::kDeleting) change.emplace_back(DeleteVolume{id});
    change.emplace_back(DeleteClone{id});
    return b.catalog().Commit(change, Room::kFree);
  };
}

void CheckPass::CheckClones() {
  for (Member& b : members_) {
    for (const CloneRecord& clone : b.contents.clones) {
      Member* const a = FindMember(clone.source_node);
      const auto volume = b.volumes.find(clone.clone);
      const std::string& name =
          NameOfClone(clone, volume == b.volumes.end() ? nullptr : volume->second);
      switch (clone.state) {
        case CloneState::kIntent:
          if (volume != b.volumes.end()) {
            Damage(Finding::Kind::kCloneJob, b,
                   StrCat("volume ", name, " of node ", b.name(),
                          " is said not to be made yet, and the next mount would delete it; do not "
                          "mount it before it is restored from a backup"));
            break;
          }
          [[fallthrough]];
        case CloneState::kDeleting:
          Tidy(Finding::Kind::kCloneUnfinished, b,
               StrCat("node ", b.name(), ": clone ", name, " of ", clone.source_name,
                      clone.state == CloneState::kIntent ? " was not made in full"
                                                         : " is being cancelled",
                      "; the next mount with the source's node removes its remains"),
               EndJob(b, a, clone));
          break;
        case CloneState::kReleasing:
          Tidy(Finding::Kind::kCloneRelease, b,
               StrCat("node ", b.name(), ": clone ", name,
                      " is whole, but its source's node has not been told; the next mount of both "
                      "does that"),
               EndJob(b, a, clone));
          break;
        case CloneState::kCopying:
          CheckCopying(b, clone);
      }
    }
  }
  for (Member& a : members_) {
    for (const HoldRecord& hold : a.contents.holds) CheckHold(a, hold);
  }
  for (const auto& [key, layer] : layers_) {
    if (layer.reached && !layer.flat()) CheckDependence(layer);
  }
}

void CheckPass::CheckCopying(Member& b, const CloneRecord& clone) {
  const auto found = b.volumes.find(clone.clone);
  if (found == b.volumes.end() || found->second->head == kNoId) {
    Damage(Finding::Kind::kCloneJob, b,
           StrCat("node ", b.name(), " has a copy job for ", clone.name, " (source ",
                  clone.source_name,
                  "), but no such volume; restore the node's directory from a backup"));
    return;
  }
  const VolumeRecord& volume = *found->second;
  const LayerView* const head = FindLayer(&b, volume.head);
  if (head == nullptr) return;  // CheckVolume tells
  if (head->record.parent != clone.source_layer || ParentNodeOf(*head) != clone.source_node ||
      head->record.parent_bytes != clone.source_bytes) {
    Damage(Finding::Kind::kCloneJob, b,
           StrCat("clone ", volume.name, " of node ", b.name(), " is copied from ",
                  clone.source_bytes, " bytes of ", LayerFileName(clone.source_layer),
                  ", but does not lie over that; delete it and make it again"));
    return;
  }
  if (!ProgressIsSane(clone, b.block_size())) {
    Damage(Finding::Kind::kCloneProgress, b,
           StrCat("clone ", volume.name, " of node ", b.name(),
                  ": its progress figures cannot be right; a repair lets the copying look at all "
                  "of it again, and keeps the copied data"),
           [&catalog = b.catalog(), anew = clone]() mutable {
             anew.total_bytes = anew.copied_bytes = anew.cursor_block = 0;
             anew.total_known = false;
             return catalog.Commit({PutClone{anew}}, Room::kFree);
           });
  }
  if (Member* const a = FindMember(clone.source_node)) {
    CheckHoldOf(b, *a, clone);
  } else {
    Absent& absent = AbsentNode(clone.source_node);
    if (absent.name.empty()) absent.name = clone.source_node_name;
    absent.users.push_back("clone " + volume.name);
  }
}

// The hold that a clone depends on.
void CheckPass::CheckHoldOf(Member& b, Member& a, const CloneRecord& clone) {
  const std::string& name = b.volumes.at(clone.clone)->name;
  const auto found = a.holds.find(clone.clone);
  if (found == a.holds.end()) {
    Damage(Finding::Kind::kHoldMissing, b,
           StrCat("clone ", name, " of node ", b.name(), " depends on node ", a.name(),
                  ", which holds nothing for it: the part not copied yet may be lost; delete the "
                  "clone and make it again"));
    return;
  }
  const HoldRecord& hold = *found->second;
  if (hold.layer != clone.source_layer || hold.clone_node != b.uuid()) {
    Damage(Finding::Kind::kHoldMismatch, a,
           StrCat("node ", a.name(), " holds ", LayerFileName(hold.layer), " for clone ", name,
                  " of a node ", hold.clone_node, ", but it is on node ", b.name(), " and needs ",
                  LayerFileName(clone.source_layer), "; delete the clone and make it again"));
    return;
  }
  const bool locks = hold.snapshot != kNoId ? a.snapshots.contains(hold.snapshot)
                                            : a.volumes.contains(hold.volume);
  if (!locks) {
    Damage(Finding::Kind::kHoldSource, a,
           StrCat("node ", a.name(), ": the hold for clone ", name,
                  " names a source that is not there; the clone is not in danger: wait until it is "
                  "available"));
  }
}

void CheckPass::CheckHold(Member& a, const HoldRecord& hold) {
  const CloneRecord* job = nullptr;
  for (const Member& b : members_) {
    const auto found = b.clones.find(hold.clone);
    if (found != b.clones.end() && found->second->source_node == a.uuid()) job = found->second;
  }
  // CheckClones has looked at both together.
  if (job != nullptr && job->state == CloneState::kCopying) return;
  if (FindLayer(&a, hold.layer) == nullptr) {
    Damage(Finding::Kind::kHoldLayer, a,
           StrCat("node ", a.name(), " holds ", LayerFileName(hold.layer), " for clone ",
                  hold.clone_name, ", but has no such layer; delete the clone and make it again"));
  }
  if (job != nullptr) return;
  if (FindMember(hold.clone_node) != nullptr) {
    Tidy(
        Finding::Kind::kHoldUnneeded, a,
        StrCat("node ", a.name(), " holds ", LayerFileName(hold.layer), " for clone ",
               hold.clone_name, ", which does not exist; the next mount of both nodes releases it"),
        [&catalog = a.catalog(), id = hold.clone] {
          return catalog.Commit({DeleteHold{id}}, Room::kFree);
        });
    return;
  }
  AbsentNode(hold.clone_node).users.push_back("the hold for clone " + hold.clone_name);
}

// Only the head of a clone that is being copied may lie over a layer of another node.
void CheckPass::CheckDependence(const LayerView& layer) {
  const Member& member = *layer.member;
  if (ParentNodeOf(layer) == member.uuid()) return;
  for (const CloneRecord& clone : member.contents.clones) {
    const auto volume = member.volumes.find(clone.clone);
    // The trouble with these jobs is reported already.
    if (clone.state != CloneState::kReleasing && volume != member.volumes.end() &&
        volume->second->head == layer.record.id) {
      return;
    }
  }
  const Member* const on = FindMember(ParentNodeOf(layer));
  const std::string where = on == nullptr ? ParentNodeOf(layer) : on->name();
  Damage(Finding::Kind::kCloneJob, member,
         StrCat("node ", member.name(), ": ", layer.name, " (",
                layer.references.empty() ? "under others" : layer.references.front(),
                ") depends on node ", where,
                ", but no copy job makes it whole; make it again, or restore it from a backup"));
}

}  // namespace volfs
