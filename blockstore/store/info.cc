#include "blockstore/store/info.h"

#include <algorithm>
#include <map>
#include <set>

#include "blockstore/base/str_cat.h"
#include "blockstore/store/request_checks.h"
#include "blockstore/store/store.h"

namespace volfs {
namespace {

// Returns 0 for a volume that is being deleted, as its layers may be gone.
uint64_t ExclusiveBytes(StoreParts& parts, Volume& volume) {
  const Epoch::Reader reader = volume.node().epoch().Enter();
  if (volume.opens().deleting() || volume.state().refused()) return 0;
  // 0 is a lower bound, too: a reader of `status` must not wait for a catalog that hangs.
  if (volume.node().directory().calls()->slow()) return 0;
  const Result<uint64_t> bytes = parts.reclaimer.ExclusiveBytes(volume.head());
  return bytes.ok() ? bytes.value() : 0;
}

std::vector<MapRange> RangesOf(const StoreParts& parts, const ExtentMap& map, uint64_t size) {
  std::vector<MapRange> ranges;
  for (uint64_t block = 0; block * parts.block_size < size && block < map.size();) {
    const Extent extent = map.Find(block);
    const uint64_t from = extent.first * parts.block_size;
    MapRange range{{from, std::min(extent.end() * parts.block_size, size) - from}, true, "", ""};
    if (extent.layer != LayerRef::kHole) {
      Layer* const layer = parts.layers.Get(extent.layer);
      range.zero = false;
      range.node = layer->NodeName();
      range.layer_id = layer->id();
      range.layer = layer->FileName();
    }
    ranges.push_back(std::move(range));
    block = extent.end();
  }
  return ranges;
}

Result<std::vector<MapRange>> RangesOf(const StoreParts& parts, Volume& volume) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, volume.map().Acquire());
  const Epoch::Reader reader = volume.node().epoch().Enter();
  const auto [map, size] = volume.map().Copy();
  return RangesOf(parts, map, size);
}

// Returns the newest snapshot whose upper layer this is, "" if there is none. The volume is named,
// too: a linked clone has layers of its source.
std::string SnapshotOn(StoreParts& parts, Id layer) {
  MutexLock lock(parts.tables.mu);
  const std::vector<SnapshotRecord> records = parts.tables.snapshots.OnLayer(layer);
  if (records.empty()) return "";
  const SnapshotRecord& newest = *std::max_element(
      records.begin(), records.end(),
      [](const SnapshotRecord& a, const SnapshotRecord& b) { return a.created_ns < b.created_ns; });
  return StrCat(parts.tables.names.NameOf(newest.volume), "@", newest.name);
}

void NameSnapshots(StoreParts& parts, std::vector<MapRange>& ranges) {
  std::map<Id, std::string> snapshots;  // of each layer
  for (MapRange& range : ranges) {
    if (range.zero) continue;
    const auto [known, is_new] = snapshots.try_emplace(range.layer_id);
    if (is_new) known->second = SnapshotOn(parts, range.layer_id);
    range.snapshot = known->second;
  }
}

void FillCloneInfo(StoreParts& parts, VolumeInfo& info) {
  std::shared_ptr<CloneJob> job;
  {
    MutexLock lock(parts.tables.mu);
    const CloneEntry* const found = parts.tables.clones.Find(info.id);
    if (found == nullptr || found->owed) return;
    info.source = parts.tables.SourceNameOf(*found);
    info.progress.creating = true;
    if (info.error.empty()) info.error = found->trouble;
    info.progress.total_bytes = found->record.total_bytes;
    info.progress.total_known = found->record.total_known;
    info.progress.copied_bytes = found->record.copied_bytes;
    info.copy_rate = found->copy_rate;
    job = found->job;
  }
  if (job == nullptr && info.error.empty() && parts.options.read_only) {
    info.error = "copying goes on at the next mount without `ro`";
    info.paused = true;
  }
  if (job == nullptr) return;
  info.progress = job->progress();
  if (!info.error.empty()) return;
  info.error = job->error();
  info.paused = job->state() != CloneJob::State::kFailed;
}

}  // namespace

SpaceInfo SpaceOfAll(const std::vector<NodeInfo>& nodes) {
  SpaceInfo sum;
  std::set<std::pair<std::string, uint64_t>> counted;
  for (const NodeInfo& node : nodes) {
    const bool known = !node.filesystem.empty();
    if (known && !counted.emplace(node.filesystem, node.space.size_bytes).second) continue;
    sum.size_bytes += node.space.size_bytes;
    sum.free_bytes += node.space.free_bytes;
  }
  return sum;
}

Result<VolumeInfo> Store::Info(const std::string& name) {
  const std::shared_ptr<Volume> volume = Find(name);
  if (volume == nullptr) return NoSuchVolume(name);
  return Info(*volume);
}

VolumeInfo Store::Info(Volume& volume) {
  if (!volume.node().directory().calls()->slow()) volume.native().RefreshFromFile();
  const VolumeRecord record = volume.record();
  VolumeInfo info;
  info.id = record.id;
  info.name = record.name;
  info.size_bytes = volume.size_bytes();
  info.type = record.type;
  info.node = volume.node().name();
  info.region = volume.node().record().region;
  info.created_ns = record.created_ns;
  info.attachments = volume.opens().readers() + volume.opens().writers();
  info.error = volume.state().trouble();
  info.verification = volume.state().verification();
  info.native = volume.native().wanted();
  if (const Result<uint64_t> bytes = volume.AllocatedBytes(); bytes.ok()) {
    info.allocated_bytes = bytes.value();
  }
  info.exclusive_bytes = std::min(ExclusiveBytes(parts_, volume), info.allocated_bytes);
  FillCloneInfo(parts_, info);
  if (volume.opens().deleting()) {
    info.status = "deleting";
  } else if (!info.error.empty() && !info.paused) {
    info.status = "error";
  } else if (info.progress.creating) {
    info.status = "creating";
  } else {
    info.status = volume.opens().writers() > 0 ? "in-use" : "available";
  }
  return info;
}

Result<std::vector<MapRange>> Store::Map(Volume& volume) {
  ASSIGN_OR_RETURN(std::vector<MapRange> ranges, RangesOf(parts_, volume));
  NameSnapshots(parts_, ranges);
  return ranges;
}

Result<std::vector<MapRange>> Store::MapOfSnapshot(Id id) {
  ASSIGN_OR_RETURN(const std::shared_ptr<OpenSnapshot> open, OpenSnapshotImage(id));
  const FrozenImage& image = open->image();
  std::vector<MapRange> ranges = RangesOf(parts_, image.map(), image.size_bytes());
  NameSnapshots(parts_, ranges);
  return ranges;
}

std::vector<NodeInfo> Store::Nodes() {
  std::vector<NodeInfo> infos;
  for (const auto& node : parts_.nodes) {
    const NodeRecord& r = node->record();
    NodeInfo info{node->id(), r.uuid, r.name, node->path(), r.region, node->State(), r.types, {}};
    info.waiting_seconds = node->directory().calls()->waiting_seconds();
    info.filesystem = node->directory().FilesystemName();
    info.works = node->Works();
    info.fullness = node->fullness();
    info.missing_reserve_bytes = node->catalog().missing_reserve_bytes();
    if (const Result<SpaceInfo> space = node->Space(); space.ok()) {
      info.space = space.value();
    } else if (info.works) {
      info.works = false;
      info.state = space.error().message;
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

Node* Store::SourceNodeOf(Id clone) {
  MutexLock lock(parts_.tables.mu);
  const CloneEntry* const found = parts_.tables.clones.Find(clone);
  return found == nullptr ? nullptr : found->source_node;
}

}  // namespace volfs
