#include "tests/sim/oracle.h"

#include <algorithm>
#include <set>
#include <utility>

#include "blockstore/base/str_cat.h"
#include "blockstore/base/zeros.h"

namespace volfs::sim {
namespace {

bool Mounted(unsigned disks, int disk) { return (disks >> disk & 1) != 0; }

}  // namespace

Result<std::vector<std::byte>> ReadAll(Volume& volume) {
  std::vector<std::byte> bytes(volume.size_bytes());
  ASSIGN_OR_RETURN(const size_t got, volume.ReadAt(bytes, 0));
  bytes.resize(got);
  return bytes;
}

Result<std::vector<std::byte>> ReadAll(const FrozenImage& image) {
  std::vector<std::byte> bytes(image.size_bytes());
  RETURN_IF_ERROR(image.ReadAt(bytes, 0));
  return bytes;
}

VolumeModel& Oracle::AddVolume(std::string name, int disk) {
  volumes_.push_back(std::make_unique<VolumeModel>());
  VolumeModel& model = *volumes_.back();
  model.key = static_cast<uint32_t>(volumes_.size());
  model.name = std::move(name);
  model.disk = disk;
  return model;
}

SnapshotModel& Oracle::AddSnapshot(uint32_t volume, std::string name) {
  snapshots_.push_back(std::make_unique<SnapshotModel>());
  snapshots_.back()->key = static_cast<uint32_t>(snapshots_.size());
  snapshots_.back()->volume = volume;
  snapshots_.back()->name = std::move(name);
  return *snapshots_.back();
}

VolumeModel* Oracle::Volume(uint32_t key) { return volumes_[key - 1].get(); }

bool Oracle::MayBeTaken(const std::string& name) const {
  return std::any_of(volumes_.begin(), volumes_.end(), [&](const auto& model) {
    if (model->name != name && model->new_name != name) return false;
    return model->existence != Existence::kNo || HasSnapshots(model->key);
  });
}

bool Oracle::HasSnapshots(uint32_t volume) const {
  return std::any_of(snapshots_.begin(), snapshots_.end(), [&](const auto& snapshot) {
    return snapshot->volume == volume && snapshot->existence != Existence::kNo;
  });
}

void Oracle::Closed(bool lost) {
  for (auto& model : volumes_) {
    model->failed = false;
    model->users = model->requests = model->claims.now = 0;
    model->exclusive = false;
    model->growing = false;
    if (lost) model->image.LosePower();
  }
  for (auto& snapshot : snapshots_) snapshot->users = snapshot->claims.now = 0;
}

std::unique_ptr<Oracle> Oracle::Copy() const {
  auto copy = std::make_unique<Oracle>();
  copy->pool_ = pool_;
  copy->tick_ = tick_;
  for (const auto& model : volumes_) {
    copy->volumes_.push_back(std::make_unique<VolumeModel>(*model));
  }
  for (const auto& snapshot : snapshots_) {
    copy->snapshots_.push_back(std::make_unique<SnapshotModel>(*snapshot));
  }
  return copy;
}

void Oracle::Compare(Store& store, unsigned disks, bool durable,
                     std::vector<std::string>& violations) {
  CompareNames(store, disks, violations);
  if (!violations.empty()) return;  // the rest would repeat it
  CompareImages(store, disks, durable, violations);
  CompareSnapshots(store, disks, violations);
  if (compares_diffs_) CompareDiffs(store, violations);
  read_.clear();
}

void Oracle::CompareNames(Store& store, unsigned disks, std::vector<std::string>& violations) {
  const auto observed = store.Volumes();
  std::set<Id> claimed;
  for (const auto& model : volumes_) {
    if (model->id != kNoId && model->existence != Existence::kNo) claimed.insert(model->id);
  }
  for (auto& model : volumes_) {
    if (model->existence == Existence::kNo || !Mounted(disks, model->disk)) continue;
    const auto found = std::find_if(observed.begin(), observed.end(), [&](const auto& volume) {
      if (model->id != kNoId) return volume->id() == model->id;
      return volume->name() == model->name && !claimed.contains(volume->id());
    });
    if (found == observed.end()) {
      if (model->existence == Existence::kYes) {
        violations.push_back(StrCat("volume ", model->name, " (#", model->key, ") is gone"));
      }
      model->existence = Existence::kNo;
      continue;
    }
    volfs::Volume& volume = **found;
    const std::string name = volume.name();
    if (name != model->name && (model->new_name.empty() || name != model->new_name)) {
      violations.push_back(StrCat("volume #", model->key, " is named ", name, ", right is ",
                                  model->name, ' ', model->new_name));
    }
    if (volume.node().name() != std::string(1, static_cast<char>('a' + model->disk))) {
      violations.push_back(StrCat("volume ", name, " is on node ", volume.node().name()));
    }
    model->name = name;
    model->new_name.clear();
    model->existence = Existence::kYes;
    model->id = volume.id();
    claimed.insert(volume.id());

    const VolumeInfo info = store.Info(volume);
    const bool source_there = model->source_disk < 0 || Mounted(disks, model->source_disk);
    if (info.progress.creating) {
      if (model->whole) violations.push_back(StrCat(name, " was whole and is creating again"));
      if (info.progress.copied_bytes < model->copied) {
        violations.push_back(StrCat(name, " (", info.status, ") of ", info.source,
                                    ": progress went back from ", model->copied, " to ",
                                    info.progress.copied_bytes, " bytes"));
      }
      model->copied = std::max(model->copied, info.progress.copied_bytes);
      if (info.progress.percent() >= 100) {
        violations.push_back(StrCat(name, ": 100 per cent, but still creating"));
      }
    } else {
      model->whole = true;
    }
    if (info.status == "error" && (source_there || model->whole) && !model->failed && !damaged_) {
      violations.push_back(StrCat(name, " is in error: ", info.error));
    }
  }
  for (const auto& volume : observed) {
    if (claimed.contains(volume->id())) continue;
    violations.push_back(StrCat("volume ", volume->name(), " should not be there"));
  }
}

void Oracle::CompareImages(Store& store, unsigned disks, bool durable,
                           std::vector<std::string>& violations) {
  for (auto& model : volumes_) {
    if (model->existence != Existence::kYes || !Mounted(disks, model->disk)) continue;
    const std::shared_ptr<volfs::Volume> volume = store.Find(model->id);
    if (volume == nullptr) continue;
    const auto bytes = ReadAll(*volume);
    if (!bytes.ok()) {
      const bool excused =
          !model->whole && !Mounted(disks, model->source_disk) && bytes.error().code == Errc::kIo;
      model->decided = false;  // no client may use it before it was read
      if (!excused && !Excused(bytes.error())) {
        violations.push_back(StrCat("reading ", model->name, ": ", bytes.error().message));
      }
      continue;
    }
    read_.push_back({model->key, kNoId, model->name, bytes.value()});
    if (model->or_image) {
      ImageModel other = *std::exchange(model->or_image, std::nullopt);
      if (!other.Decide(pool_, bytes.value(), durable)) {
        model->image = std::move(other);
        model->decided = true;
        continue;
      }
    }
    if (auto wrong = model->image.Decide(pool_, bytes.value(), durable)) {
      violations.push_back(StrCat("volume ", model->name, " (#", model->key, "): ", *wrong));
    }
    model->decided = true;
  }
}

void Oracle::CompareSnapshots(Store& store, unsigned disks, std::vector<std::string>& violations) {
  std::vector<SnapshotInfo> observed;
  for (const auto& directory : store.SnapshotDirectories()) {
    for (SnapshotInfo& info : store.Snapshots(directory.volume))
      observed.push_back(std::move(info));
  }
  std::set<Id> claimed;
  for (auto& snapshot : snapshots_) {
    const VolumeModel& volume = *Volume(snapshot->volume);
    if (snapshot->existence == Existence::kNo || !Mounted(disks, volume.disk)) continue;
    const auto found = std::find_if(observed.begin(), observed.end(), [&](const auto& info) {
      return info.volume_id == volume.id && info.name == snapshot->name &&
             !claimed.contains(info.id);
    });
    const std::string name = StrCat(volume.name, '@', snapshot->name);
    if (found == observed.end()) {
      if (snapshot->existence == Existence::kYes) {
        violations.push_back(StrCat("snapshot ", name, " is gone"));
      }
      snapshot->existence = Existence::kNo;
      continue;
    }
    claimed.insert(found->id);
    snapshot->existence = Existence::kYes;
    const auto open = store.OpenSnapshotImage(found->id);
    if (!open.ok()) {
      if (Excused(open.error())) continue;
      violations.push_back(StrCat("opening ", name, ": ", open.error().message));
      continue;
    }
    const auto bytes = ReadAll(open.value()->image());
    if (!bytes.ok()) {
      violations.push_back(StrCat("reading ", name, ": ", bytes.error().message));
      continue;
    }
    read_.push_back({volume.key, found->id, name, bytes.value()});
    if (auto wrong = snapshot->image.Decide(pool_, bytes.value(), true)) {
      violations.push_back(StrCat("snapshot ", name, ": ", *wrong));
    }
    snapshot->decided = true;
  }
  for (const SnapshotInfo& info : observed) {
    if (claimed.contains(info.id)) continue;
    violations.push_back(StrCat("snapshot ", info.volume, '@', info.name, " should not be there"));
  }
}

void Oracle::CompareDiffs(Store& store, std::vector<std::string>& violations) {
  for (const Read& before : read_) {
    for (const Read& after : read_) {
      if (before.snapshot == kNoId || before.volume != after.volume) continue;
      const std::shared_ptr<volfs::Volume> volume = store.Find(Volume(after.volume)->id);
      const bool now = after.snapshot == kNoId;
      const auto diff =
          now ? store.OpenDiffWithNow(before.snapshot, volume, Store::Bytes::kRangesOnly)
              : store.OpenDiffOf(before.snapshot, after.snapshot);
      const std::string what = StrCat("the diff of ", before.name, " and ", after.name, ": ");
      if (!diff.ok()) {
        if (!Excused(diff.error())) violations.push_back(StrCat(what, diff.error().message));
        continue;
      }
      if (auto wrong = CheckDiff(*diff.value(), before.bytes, after.bytes)) {
        violations.push_back(what + *wrong);
      }
    }
  }
}

namespace {

// Returns whether the images agree from `from` to `to`.
bool SameBytes(std::span<const std::byte> before, std::span<const std::byte> after, uint64_t from,
               uint64_t to) {
  if (from >= to) return from == to;
  return to <= before.size() &&
         std::equal(before.begin() + from, before.begin() + to, after.begin() + from);
}

}  // namespace

std::optional<std::string> CheckDiff(const OpenDiff& diff, std::span<const std::byte> before,
                                     std::span<const std::byte> after) {
  if (diff.size_bytes() != after.size()) return "it has another size";
  uint64_t same_from = 0;
  ImageDiff ranges = diff.Ranges();
  while (const std::optional<ChangedRange> range = ranges.Next()) {
    const ByteRange& bytes = range->bytes;
    if (bytes.length_bytes == 0 || bytes.end() > after.size()) return "a range of it is wrong";
    if (!SameBytes(before, after, same_from, bytes.offset_bytes)) {
      return StrCat("lacks a change between ", same_from, " and ", bytes.offset_bytes);
    }
    const auto changed = after.subspan(bytes.offset_bytes, bytes.length_bytes);
    if (range->zero && !AllZero(changed)) {
      return StrCat("calls data at ", bytes.offset_bytes, " zeros");
    }
    same_from = bytes.end();
  }
  if (SameBytes(before, after, same_from, after.size())) return std::nullopt;
  return StrCat("lacks a change behind ", same_from);
}

}  // namespace volfs::sim
