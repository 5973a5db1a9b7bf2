// Ids and names, volumes and snapshots. That names are well formed the catalog itself sees to: it
// refuses a row whose name is none.
#include <algorithm>

#include "blockstore/base/str_cat.h"
#include "blockstore/check/pass.h"

namespace volfs {

std::string CheckPass::SnapshotName(const Member& member, const SnapshotRecord& snapshot) {
  const auto volume = member.volumes.find(snapshot.volume);
  return StrCat(volume == member.volumes.end() ? "?" : volume->second->name, "@", snapshot.name);
}

void CheckPass::CheckIds() {
  struct Owner {
    const Member* member;
    std::string what;
  };
  std::map<Id, Owner> owners;
  const auto add = [&](const Member& member, Id id, const std::string& what) {
    const auto [known, fresh] = owners.emplace(id, Owner{&member, what});
    if (fresh) return;
    Damage(Finding::Kind::kIdTwice, member,
           StrCat(what, " of node ", member.name(), " has the id of ", known->second.what,
                  " of node ", known->second.member->name(),
                  "; if a node's directory was copied, use the newer copy"));
  };
  for (const Member& member : members_) {
    for (const LayerRecord& layer : member.contents.layers) {
      add(member, layer.id, LayerFileName(layer.id));
    }
    for (const VolumeRecord& volume : member.contents.volumes) {
      add(member, volume.id, "volume " + volume.name);
    }
    for (const SnapshotRecord& snapshot : member.contents.snapshots) {
      add(member, snapshot.id, "snapshot " + SnapshotName(member, snapshot));
    }
    // A clone's job has the id of its volume.
    for (const CloneRecord& clone : member.contents.clones) {
      if (!member.volumes.contains(clone.clone)) {
        add(member, clone.clone, "the copy job for " + clone.name);
      }
    }
  }
}

void CheckPass::CheckVolumes() {
  std::map<std::string, const Member*> names;
  for (Member& member : members_) {
    std::set<Id> with_snapshots;
    for (const auto& [id, snapshot] : member.snapshots) with_snapshots.insert(snapshot->volume);
    for (const VolumeRecord& volume : member.contents.volumes) {
      if (volume.head == kNoId) {  // deleted; it keeps its name for its snapshots
        if (with_snapshots.contains(volume.id)) continue;
        Tidy(Finding::Kind::kEmptyTombstone, member,
             StrCat("node ", member.name(), ": the deleted volume ", volume.name,
                    " keeps its name, but has no snapshots; the next mount forgets it"),
             [&catalog = member.catalog(), id = volume.id] {
               return catalog.Commit({DeleteVolume{id}}, Room::kFree);
             });
        continue;
      }
      const auto [known, fresh] = names.emplace(volume.name, &member);
      if (!fresh) {
        Damage(
            Finding::Kind::kNameTwice, member,
            StrCat("nodes ", known->second->name(), " and ", member.name(), " both have a volume ",
                   volume.name, "; mount one of them alone and rename it with `volfs mv`"));
      }
      CheckVolume(member, volume);
    }
  }
  for (const auto& [key, layer] : layers_) {
    if (layer.writers.empty()) continue;
    if (layer.references.size() == 1 && layer.children.empty() && !layer.foreign_child) continue;
    std::string others;
    for (const std::string& reference : layer.references) {
      if (reference != layer.writers.front()) others += (others.empty() ? "" : ", ") + reference;
    }
    for (const LayerView* child : layer.children) {
      others += (others.empty() ? "" : ", ") + child->name;
    }
    if (layer.foreign_child)
      others += StrCat(others.empty() ? "" : ", ", "a clone on another node");
    Damage(Finding::Kind::kHeadShared, *layer.member,
           StrCat("node ", layer.member->name(), ": ", layer.writers.front(), " writes to ",
                  layer.name, ", which others read: ", others,
                  "; do not mount it before it is restored from a backup"));
  }
}

void CheckPass::CheckVolume(Member& member, const VolumeRecord& volume) {
  const auto& types = member.contents.node.types;
  const bool offered = std::any_of(
      types.begin(), types.end(), [&](const VolumeType& type) { return type.name == volume.type; });
  if (!offered) {
    Tidy(Finding::Kind::kUnknownType, member,
         StrCat("volume ", volume.name, " has the type ", volume.type, ", which node ",
                member.name(), " does not offer (any more)"));
  }
  const LayerView* const head = FindLayer(&member, volume.head);
  if (head == nullptr) {
    const std::string name = LayerFileName(volume.head);
    Damage(Finding::Kind::kHeadMissing, member,
           StrCat("volume ", volume.name, ": its layer is not in the catalog of node ",
                  member.name(), "; if the file ", name,
                  " is there, copy it away before anything else: it is the volume's newest data. ",
                  "Then restore the node's directory from a backup"));
    return;
  }
  if (head->record.size_bytes == volume.size_bytes) return;
  // The larger one wins, so no acknowledged byte is cut off. The bytes of a file past the size in
  // its record were never committed, and must not be seen in the grown tail.
  Repair equalize = [&node = *member.node, layer = head->record, name = head->name,
                     outgrows = MayOutgrow(*head->member, head->record),
                     record = volume]() mutable -> Status {
    const uint64_t larger = std::max(layer.size_bytes, record.size_bytes);
    if (layer.has_file && larger > layer.size_bytes) {
      ASSIGN_OR_RETURN(const auto file, node.directory().Open(name, OpenMode::kReadWrite));
      ASSIGN_OR_RETURN(const uint64_t size, file->Size());
      if (size < layer.size_bytes) {
        return Error{Errc::kCorrupt, StrCat(name, " is shorter than either says")};
      }
      if (size > layer.size_bytes && !outgrows) RETURN_IF_ERROR(file->SetSize(layer.size_bytes));
      if (size < larger || !outgrows) RETURN_IF_ERROR(file->SetSize(larger));
      RETURN_IF_ERROR(file->SyncData());
    }
    layer.size_bytes = record.size_bytes = larger;
    return node.catalog().Commit({PutLayer{layer}, PutVolume{record}}, Room::kFree);
  };
  Damage(Finding::Kind::kVolumeSize, member,
         StrCat("volume ", volume.name, " has ", volume.size_bytes, " bytes, but its layer ",
                head->name, " has ", head->record.size_bytes,
                "; a repair makes both as large as the larger one"),
         std::move(equalize));
}

void CheckPass::CheckSnapshots() {
  for (Member& member : members_) {
    for (const SnapshotRecord& snapshot : member.contents.snapshots) {
      const std::string name = SnapshotName(member, snapshot);
      if (!member.volumes.contains(snapshot.volume)) {
        Damage(Finding::Kind::kSnapshotVolume, member,
               StrCat("snapshot ", name, " of node ", member.name(),
                      " is of no volume, so that it cannot be used; its data is kept"));
      }
      const LayerView* const layer = FindLayer(&member, snapshot.layer);
      if (layer == nullptr) {
        Damage(Finding::Kind::kSnapshotLayer, member,
               StrCat("snapshot ", name, ": its layer ", LayerFileName(snapshot.layer),
                      " is not in the catalog of node ", member.name(),
                      "; delete it, or restore the node's directory from a backup"));
      } else if (layer->record.size_bytes != snapshot.size_bytes) {
        Damage(Finding::Kind::kSnapshotSize, member,
               StrCat("snapshot ", name, " of node ", member.name(), " has ", snapshot.size_bytes,
                      " bytes, but its layer ", layer->name, " has ", layer->record.size_bytes,
                      "; compare with a backup"));
      }
    }
  }
}

}  // namespace volfs
