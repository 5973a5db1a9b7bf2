// Layers: the layers under them, their presence, and their files.
#include <algorithm>

#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/volume_settings.h"
#include "blockstore/check/pass.h"

namespace volfs {
namespace {

constexpr size_t kLayerDirectoryLength = std::string_view("layers/").size();

bool IsLayerFile(const std::string& name) {
  return name.size() == 16 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

Status CheckPass::CheckLayers() {
  for (auto& [key, layer] : layers_) {
    RETURN_IF_ERROR(LoadPresence(layer));
    CheckParent(layer);
    // An unreachable layer needs nothing; check/space.cc reports it as a whole.
    if (layer.reached) RETURN_IF_ERROR(CheckFile(layer));
  }
  for (Member& member : members_) CheckOrphans(member);
  return OkStatus();
}

Status CheckPass::LoadPresence(LayerView& layer) {
  const Member& member = *layer.member;
  BlockSet all;
  const Status loaded = member.catalog().LoadPresence(layer.record.id, [&](const PresenceRun& run) {
    const BlockRange blocks{run.first, run.count};
    all.Append(blocks);
    if (run.state == BlockState::kPresent) layer.here.Append(blocks);
  });
  if (!loaded.ok()) {
    if (loaded.error().code != Errc::kCorrupt) return loaded;
    layer.here = {};
    if (member.verified) Damage(Finding::Kind::kCatalog, member, loaded.error().message);
    return OkStatus();
  }
  layer.presence_known = true;
  layer.covered = std::move(all);
  if (!layer.reached || layer.covered.empty()) return OkStatus();
  if (layer.flat()) {
    Damage(Finding::Kind::kPresenceOfFlat, member,
           StrCat("node ", member.name(), ": ", layer.name, " lies over nothing, but ",
                  layer.covered.count(),
                  " blocks of it have a presence; it is not known which of both is wrong: compare "
                  "with a backup"));
  } else if (layer.covered.end() > layer.blocks()) {
    Damage(Finding::Kind::kPresenceBounds, member,
           StrCat("node ", member.name(), ": ", layer.name, " has ", layer.blocks(),
                  " blocks, but a presence of blocks up to ", layer.covered.end(),
                  "; compare with a backup"));
  }
  return OkStatus();
}

bool CheckPass::IsBeingCancelled(const LayerView& head) {
  const CatalogContents& contents = head.member->contents;
  return std::any_of(contents.volumes.begin(), contents.volumes.end(), [&](const auto& volume) {
    if (volume.head != head.record.id) return false;
    return std::any_of(contents.clones.begin(), contents.clones.end(), [&](const auto& clone) {
      return clone.clone == volume.id && clone.state == CloneState::kDeleting;
    });
  });
}

void CheckPass::CheckParent(const LayerView& layer) {
  const Member& member = *layer.member;
  const LayerRecord& record = layer.record;
  if (layer.flat()) {
    if (record.parent_bytes == 0 && record.parent_node.empty()) return;
    Damage(Finding::Kind::kParentBounds, member,
           StrCat("node ", member.name(), ": ", layer.name, " lies over nothing, but shows ",
                  record.parent_bytes, " bytes of that; compare with a backup"));
    return;
  }
  if (record.parent_node == member.uuid()) {
    Damage(Finding::Kind::kParentMissing, member,
           StrCat("node ", member.name(), ": ", layer.name,
                  " names its own node as another one, where it depends on it; compare with a "
                  "backup"));
  }
  const Member* const on = FindMember(ParentNodeOf(layer));
  if (on == nullptr) {  // ReportAbsent tells
    for (const Member& other : members_) {
      if (FindLayer(&other, record.parent) == nullptr) continue;
      Damage(Finding::Kind::kParentMissing, member,
             StrCat("node ", member.name(), ": ", layer.name, " lies over ",
                    LayerFileName(record.parent), " of a node that is not there, but node ",
                    other.name(), " has that layer; compare with a backup"));
    }
    return;
  }
  if (layer.parent == nullptr) {
    // A clone may be left without its source if it was cancelled while a process read it, or if the
    // next mount is to finish the cancelling.
    if (on != &member && (!layer.reached || IsBeingCancelled(layer))) return;
    Damage(Finding::Kind::kParentMissing, member,
           StrCat("node ", member.name(), ": ", layer.name, " lies over ",
                  LayerFileName(layer.record.parent), " of node ", on->name(),
                  ", which is not in that catalog; the data of that layer is lost: restore node ",
                  on->name(), " from a backup"));
    return;
  }
  if (!layer.reached) return;
  const uint64_t least = std::min(layer.record.size_bytes, layer.parent->record.size_bytes);
  if (layer.record.parent_bytes > least) {
    Damage(Finding::Kind::kParentBounds, member,
           StrCat("node ", member.name(), ": ", layer.name, " (", layer.record.size_bytes,
                  " bytes) shows ", layer.record.parent_bytes, " bytes of ", layer.parent->name,
                  ", which has ", layer.parent->record.size_bytes, "; compare with a backup"));
  }
}

CheckPass::Repair CheckPass::RemoveFile(const Member& member, const std::string& name) {
  return [&directory = member.directory(), name]() -> Status {
    RETURN_IF_ERROR(directory.Remove(name));
    return directory.SyncNames();
  };
}

Status CheckPass::CheckFile(LayerView& layer) {
  Member& member = *layer.member;
  const bool exists = member.files.contains(layer.name.substr(kLayerDirectoryLength));
  if (!layer.record.has_file) {
    CheckUnrecordedFile(layer);
    return OkStatus();
  }
  if (!exists) {
    CheckMissingFile(layer);
    return OkStatus();
  }
  const auto unusable = [&](const Error& error) {
    Damage(Finding::Kind::kFileUnusable, member,
           StrCat("node ", member.name(), ": ", layer.name, " cannot be used: ", error.message,
                  "; restore it from a backup"));
    return OkStatus();
  };
  const Result<std::unique_ptr<NodeFile>> file =
      member.directory().Open(layer.name, OpenMode::kReadOnly);
  if (!file.ok()) return unusable(file.error());
  const Result<uint64_t> size = file.value()->Size();
  if (!size.ok()) return unusable(size.error());
  const std::string sizes = StrCat("node ", member.name(), ": ", layer.name, " has ", size.value(),
                                   " bytes where the catalog says ", layer.record.size_bytes);
  if (size.value() < layer.record.size_bytes) {
    Damage(Finding::Kind::kFileShort, member, sizes + "; restore it from a backup");
  } else if (size.value() > layer.record.size_bytes && !MayOutgrow(*layer.member, layer.record)) {
    Tidy(Finding::Kind::kFileLong, member,
         sizes + ", as a growth that was never committed leaves it; its next use cuts it",
         [&directory = member.directory(), name = layer.name,
          right = layer.record.size_bytes]() -> Status {
           ASSIGN_OR_RETURN(const auto long_file, directory.Open(name, OpenMode::kReadWrite));
           RETURN_IF_ERROR(long_file->SetSize(right));
           return long_file->SyncData();
         });
  }
  if (layer.flat() || !layer.presence_known) return OkStatus();
  const Result<BlockSet> data = DataOf(*file.value(), layer);
  if (!data.ok()) return unusable(data.error());
  CheckGarbage(layer, data.value());
  return OkStatus();
}

bool CheckPass::MayOutgrow(const Member& member, const LayerRecord& layer) {
  return std::any_of(
      member.contents.volumes.begin(), member.contents.volumes.end(), [&](const auto& volume) {
        const std::pair<std::string, std::string> native{VolumeSetting(kIoPrefix, volume.id),
                                                         std::string(kIoNative)};
        return volume.head == layer.id &&
               std::find(member.contents.settings.begin(), member.contents.settings.end(),
                         native) != member.contents.settings.end();
      });
}

// The record says that the layer needs no file.
void CheckPass::CheckUnrecordedFile(LayerView& layer) {
  Member& member = *layer.member;
  if (!layer.HasData()) return;  // CheckOrphans tells of a file that is there all the same
  Repair record_it;
  const auto file = member.directory().Open(layer.name, OpenMode::kReadOnly);
  if (file.ok()) {
    const Result<uint64_t> size = file.value()->Size();
    if (size.ok() && size.value() >= layer.record.size_bytes) {
      record_it = [&catalog = member.catalog(), record = layer.record]() mutable {
        record.has_file = true;
        return catalog.Commit({PutLayer{record}}, Room::kFree);
      };
    }
  }
  std::string remedy = "; restore the file from a backup";
  if (record_it) remedy = "; the file is there, and a repair says so: until then do not mount";
  Damage(Finding::Kind::kPresentWithoutFile, member,
         StrCat("node ", member.name(), ": ", layer.name,
                " has blocks of its own, but its record says that it has no file", remedy),
         std::move(record_it));
}

void CheckPass::CheckMissingFile(LayerView& layer) {
  Member& member = *layer.member;
  const std::string missing =
      StrCat("node ", member.name(), ": the file ", layer.name, " is not there");
  if (layer.HasData() || !layer.presence_known) {
    Damage(Finding::Kind::kFileMissing, member,
           StrCat(missing, ", and blocks are in it; restore it from a backup"));
    return;
  }
  // A flat layer of no bytes has a file; a layer over another needs none before its first block.
  Tidy(Finding::Kind::kFileMissing, member, missing + ", but nothing was in it",
       [&node = *member.node, record = layer.record, name = layer.name]() mutable -> Status {
         if (record.parent == kNoId) {
           RETURN_IF_ERROR(node.directory().Open(name, OpenMode::kCreateNew));
           return node.directory().SyncNames();
         }
         record.has_file = false;
         return node.catalog().Commit({PutLayer{record}}, Room::kFree);
       });
}

// As a mount does: a file with the form of a layer's name is ours and goes, the rest is left alone.
void CheckPass::CheckOrphans(Member& member) {
  for (const std::string& file : member.files) {
    if (!IsLayerFile(file)) {
      Tidy(Finding::Kind::kForeignFile, member,
           StrCat("node ", member.name(), ": layers/", file,
                  " is not a file of volfs; it is left alone"));
      continue;
    }
    const LayerView* const layer = FindLayer(&member, std::stoull(file, nullptr, 16));
    if (layer != nullptr && (layer->record.has_file || layer->HasData())) continue;
    Tidy(Finding::Kind::kOrphanFile, member,
         StrCat(
             "node ", member.name(), ": no record needs layers/", file,
             ", as a crash between making a file and its commit leaves it; the next mount removes "
             "it"),
         RemoveFile(member, "layers/" + file));
  }
}

}  // namespace volfs
