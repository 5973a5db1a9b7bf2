#include "control/tree/diff_place.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "blockstore/base/str_cat.h"
#include "control/text/name.h"

namespace volfs {
namespace {

using Kind = DiffPlace::Kind;

constexpr std::string_view kBetween = "..";
// A text's length is not known before all of it was made. Programs that look at the size first must
// not see an empty file.
constexpr uint64_t kUnknownBytes = 4096;
// The kernel asks for the blocks of a file often, and a diff is not made for each answer. Programs
// conclude from fewer blocks than bytes that the file is sparse, and from no blocks that all of it
// is a hole.
constexpr uint64_t kUnknownBlocks = 512;

Error NoSuch(std::string_view name) {
  return Error{Errc::kNotFound, StrCat("control/diff: there is no ", Printable(name))};
}

// Makes one id of two. For each `before` it maps ids to ids one to one, and is its own reverse.
Id Mixed(Id before, Id after) {
  constexpr uint64_t kOdd = 0x9e3779b97f4a7c15;
  constexpr uint64_t kIdBits = (uint64_t{1} << 63) - 1;
  return (before * kOdd ^ after) & kIdBits;
}

bool IsKind(uint64_t facet) {
  return facet >= static_cast<uint64_t>(Kind::kVolume) &&
         facet <= static_cast<uint64_t>(Kind::kJson);
}

// The images that the two names of a pair stand for.
struct Ends {
  Id before = kNoId;
  Id after = kNoId;
  [[nodiscard]] bool found() const { return before != kNoId && after != kNoId; }
};

Ends FindEnds(Store& store, const std::string& volume, std::string_view before,
              std::string_view after) {
  Ends ends{store.SnapshotId(volume, std::string(before)), kNoId};
  if (after.empty()) {
    if (const std::shared_ptr<Volume> now = store.Find(volume)) ends.after = now->id();
  } else {
    ends.after = store.SnapshotId(volume, std::string(after));
  }
  return ends;
}

Result<Ends> FindPair(Store& store, const std::string& volume, std::string_view pair) {
  Ends only;
  for (size_t at = pair.find(kBetween); at != pair.npos; at = pair.find(kBetween, at + 1)) {
    const Ends ends =
        FindEnds(store, volume, pair.substr(0, at), pair.substr(at + kBetween.size()));
    if (!ends.found()) continue;
    if (only.found()) {
      return Error{Errc::kInvalid, StrCat("control/diff/", volume, '/', Printable(pair),
                                          ": that could be two pairs of snapshots; rename one")};
    }
    only = ends;
  }
  if (!only.found()) return NoSuch(pair);
  return only;
}

Kind FileIn(Kind directory) {
  switch (directory) {
    case Kind::kRanges:
      return Kind::kText;
    case Kind::kRangesJson:
      return Kind::kJson;
    default:
      return Kind::kImage;
  }
}

// Returns the size and attributes of the image `after`; none of them if it was deleted.
SnapshotInfo InfoOf(Store& store, Id after) {
  if (auto snapshot = store.FindSnapshot(after)) return *snapshot;
  SnapshotInfo info;
  info.attributes.mode = 0;
  const std::shared_ptr<Volume> volume = store.Find(after);
  if (volume == nullptr) return info;
  info.size_bytes = volume->size_bytes();
  info.attributes = volume->attributes();
  return info;
}

Result<std::shared_ptr<OpenDiff>> OpenEnds(Store& store, const DiffPlace& place) {
  const std::shared_ptr<Volume> volume = store.Find(place.after);
  if (volume == nullptr) return store.OpenDiffOf(place.before, place.after);
  const bool image = place.kind == Kind::kImage;
  return store.OpenDiffWithNow(place.before, volume,
                               image ? Store::Bytes::kReadable : Store::Bytes::kRangesOnly);
}

}  // namespace

uint64_t DiffPlace::ino() const {
  return (directory() ? volume : Mixed(before, after)) | static_cast<uint64_t>(kind);
}

bool IsDiffIno(uint64_t ino) { return inode::IdOf(ino) != kNoId && IsKind(inode::FacetOf(ino)); }

bool IsDiffImageIno(uint64_t ino) {
  return IsDiffIno(ino) && inode::FacetOf(ino) == static_cast<uint64_t>(Kind::kImage);
}

Result<DiffPlace> FindDiff(Store& store, uint64_t ino) {
  DiffPlace place{static_cast<Kind>(inode::FacetOf(ino)), "", inode::IdOf(ino)};
  if (place.directory()) {
    const auto found = store.FindSnapshotDirectory(place.volume);
    if (!found) return NoSuch("such volume with snapshots");
    place.name = found->name;
    return place;
  }
  const std::vector<Id> snapshots = store.SnapshotIds();
  for (const Id before : snapshots) {
    const Id after = Mixed(before, place.volume);
    const bool snapshot = std::binary_search(snapshots.begin(), snapshots.end(), after);
    if (!snapshot && store.Find(after) == nullptr) continue;
    place.before = before;
    place.after = after;
    return place;
  }
  return NoSuch("such pair any more");
}

Result<DiffPlace> FindDiffVolume(Store& store, std::string_view name) {
  const auto found = store.FindSnapshotDirectory(name);
  if (!found) return NoSuch(name);
  return DiffPlace{Kind::kVolume, found->name, found->volume};
}

Result<DiffPlace> FindInDiff(Store& store, const DiffPlace& directory, std::string_view name) {
  if (directory.kind == Kind::kVolume) {
    if (name == "ranges") return DiffPlace{Kind::kRanges, "ranges", directory.volume};
    if (name == "ranges.json") return DiffPlace{Kind::kRangesJson, "ranges.json", directory.volume};
  }
  const auto volume = store.FindSnapshotDirectory(directory.volume);
  if (!volume || !directory.directory()) return NoSuch(name);
  ASSIGN_OR_RETURN(const Ends ends, FindPair(store, volume->name, name));
  return DiffPlace{FileIn(directory.kind), std::string(name), kNoId, ends.before, ends.after};
}

ControlEntry DescribeDiff(const DiffPlace& place, Store& store, const ControlConfig& config,
                          int64_t mtime_ns) {
  ControlEntry entry;
  entry.ino = place.ino();
  entry.name = place.name;
  entry.directory = place.directory();
  entry.mode = entry.directory ? 0555 : 0444;
  entry.uid = config.uid;
  entry.gid = config.gid;
  entry.mtime_ns = mtime_ns;
  if (!entry.directory) entry.size_bytes = kUnknownBytes;
  if (place.kind != Kind::kImage) return entry;
  const SnapshotInfo after = InfoOf(store, place.after);
  entry.mode = after.attributes.mode & 0444;
  entry.uid = after.attributes.uid;
  entry.gid = after.attributes.gid;
  entry.mtime_ns = after.attributes.mtime_ns;
  entry.size_bytes = after.size_bytes;
  entry.allocated_bytes = std::max(after.size_bytes, kUnknownBlocks + 1) - kUnknownBlocks;
  return entry;
}

Result<std::shared_ptr<OpenDiff>> DiffSlots::Open(Store& store, const DiffPlace& place) {
  struct Held {
    explicit Held(const std::shared_ptr<std::atomic<int>>& open_diffs) : open(open_diffs) {}
    ~Held() { open->fetch_sub(1); }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    const std::shared_ptr<std::atomic<int>> open;
    std::shared_ptr<OpenDiff> diff;
  };
  const bool free = open_->fetch_add(1) < kMax;
  const auto held = std::make_shared<Held>(open_);
  if (!free) {
    return Error{Errc::kNoMemory, StrCat(kMax, " diffs are open already; close some of them")};
  }
  ASSIGN_OR_RETURN(held->diff, OpenEnds(store, place));
  return std::shared_ptr<OpenDiff>(held, held->diff.get());
}

}  // namespace volfs
