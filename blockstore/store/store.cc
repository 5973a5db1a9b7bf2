#include "blockstore/store/store.h"

#include <algorithm>
#include <cassert>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/layer/map_loader.h"
#include "blockstore/store/layer_merger.h"
#include "blockstore/store/recovery.h"

namespace volfs {
namespace {

constexpr int kHydrators = Hydrator::kMaxJobs;

}  // namespace

bool Allowed(const Caller& caller, const Attributes& attributes, Right right) {
  if (caller.uid == 0) return true;
  const auto bits = static_cast<uint32_t>(right);
  if (caller.uid == attributes.uid) return (attributes.mode >> 6 & bits) != 0;
  const bool member =
      caller.gid == attributes.gid ||
      std::find(caller.groups.begin(), caller.groups.end(), attributes.gid) != caller.groups.end();
  return (attributes.mode >> (member ? 3 : 0) & bits) != 0;
}

OpenSnapshot::OpenSnapshot(Reclaimer& reclaimer, Layer* layer,
                           std::shared_ptr<const FrozenImage> image)
    : reclaimer_(reclaimer), layer_(layer), image_(std::move(image)) {}

OpenSnapshot::~OpenSnapshot() {
  if (const Status freed = reclaimer_.RemoveUse(layer_); !freed.ok()) {
    LogWarning(
        StrCat("space of a deleted snapshot is freed at the next mount: ", freed.error().message));
  }
}

// --- life ----------------------------------------------------------------------------------------

Store::Store(std::vector<std::unique_ptr<Node>> nodes, const StoreOptions& options)
    : nodes_(std::move(nodes)), options_(options), layers_(options.open_files) {
  if (!nodes_.empty()) block_size_ = nodes_.front()->block_size();
  reclaimer_ = std::make_unique<Reclaimer>(layers_, nodes_, block_size_);
  hydrator_ =
      std::make_unique<Hydrator>(options.hydrate ? kHydrators : 0,
                                 [this](const std::shared_ptr<CloneJob>& job) { OnJobOver(job); });
  hydrator_->throttle().SetRate(options.copy_rate);
}

Result<std::unique_ptr<Store>> Store::Open(std::vector<std::unique_ptr<Node>> nodes,
                                           const StoreOptions& options) {
  assert(!nodes.empty());
  std::unique_ptr<Store> store(new Store(std::move(nodes), options));
  RETURN_IF_ERROR(Recovery(*store).Run());
  for (const auto& node : store->nodes_) {
    if (node->catalog().read_only()) continue;
    RETURN_IF_ERROR(node->catalog().Commit({PutSetting{kCleanKey, "0"}}, Room::kFree));
  }
  for (const auto& node : store->nodes_) store->PrepareRoom(*node);
  store->Start();
  return store;
}

void Store::Start() {
  notifier_ = Thread("notify", [this] { Notify(); });
  for (const auto& node : nodes_) {
    maintainers_.emplace_back("maintain", [this, &node = *node] { Maintain(node); });
    if (options_.read_only) continue;
    if (options_.merge) mergers_.push_back(std::make_unique<LayerMerger>(*this, *node));
    if (options_.commit_idle == kForever) continue;
    idle_committers_.push_back(std::make_unique<IdleCommitter>(*node, options_.commit_idle,
                                                               [this](Id id) { return Find(id); }));
  }
  if (!options_.hydrate || options_.read_only) return;
  std::vector<Id> dependent;
  {
    MutexLock lock(mu_);
    for (const auto& [id, entry] : clones_) {
      if (entry.held != nullptr && entry.trouble.empty()) dependent.push_back(id);
    }
  }
  for (const Id id : dependent) StartJob(id);
}

// Of a clone that the last mount left dependent.
void Store::StartJob(Id clone) {
  CloneEntry entry;
  std::shared_ptr<Volume> volume;
  {
    MutexLock lock(mu_);
    entry = clones_.at(clone);
    volume = by_id_.at(clone);
  }
  const Gate::Passage tree = entry.held->node()->tree_gate().Enter();
  Result<ExtentMap> map = LoadMap(layers_, entry.held, block_size_);
  MutexLock lock(mu_);
  if (!map.ok()) {
    clones_[clone].trouble = map.error().message;
    return;
  }
  // shared_ptr: as in PublishClone.
  auto image = std::make_shared<const FrozenImage>(layers_, std::move(map.value()),
                                                   entry.record.source_bytes, block_size_);
  clones_[clone].job = std::make_shared<CloneJob>(volume, std::move(image), *entry.source_node,
                                                  entry.record, CopyContext());
  clones_[clone].job->SetCopyRate(clones_[clone].copy_rate);
  hydrator_->Add(clones_[clone].job);
}

CloneJob::Context Store::CopyContext() {
  return {hydrator_->throttle(), block_size_, options_.copy_piece_bytes};
}

Store::~Store() { (void)Close(); }

Status Store::Close() {
  if (std::exchange(closed_, true)) return OkStatus();
  mergers_.clear();
  idle_committers_.clear();
  hydrator_->Stop();
  {
    MutexLock lock(event_mu_);
    stopping_ = true;
    event_changed_.NotifyAll();
    maintain_now_.NotifyAll();
  }
  for (Thread& maintainer : maintainers_) maintainer.Join();
  if (notifier_.joinable()) notifier_.Join();
  const std::vector<std::string> unsaved = CommitAll(Silent::kWaitedFor);
  for (const std::string& what : unsaved) LogError(StrCat("unmounting: not durable: ", what));
  bool clean = unsaved.empty();
  for (const auto& volume : Volumes()) {
    volume->commits().ReleasePins();  // before what they free is synced
    clean = clean && !volume->native().closed_by_mount();
  }
  {
    MutexLock lock(mu_);
    clean = clean && tidy_;
  }
  for (const auto& node : nodes_) clean = clean && node->trusted();
  if (const Status synced = reclaimer_->SyncPunched(); !synced.ok()) {
    clean = false;
    LogWarning(StrCat("unmounting: ", synced.error().message));
  }
  // Only a stop that left nothing to tidy up is a clean one (recovery.h).
  for (const auto& node : nodes_) {
    if (!clean || options_.read_only || node->catalog().fenced()) continue;
    (void)node->catalog().Commit({PutSetting{kCleanKey, "1"}}, Room::kFree);
  }
  if (unsaved.empty()) return OkStatus();
  const std::string more =
      unsaved.size() == 1 ? "" : StrCat(" (and ", unsaved.size() - 1, " more)");
  return Error{Errc::kIo, StrCat("not durable: ", unsaved.front(), more)};
}

// --- events --------------------------------------------------------------------------------------

void Store::SetListener(std::function<void(const StoreEvent&)> listener) {
  MutexLock lock(event_mu_);
  listener_ = std::move(listener);
}

void Store::Emit(std::string event, const std::string& volume, Id id, std::string status) {
  Emit({.event = std::move(event), .volume = volume, .id = id, .status = std::move(status)});
}

void Store::Emit(StoreEvent event) {
  event.time_ns = WallNow().count();
  MutexLock lock(event_mu_);
  event.seq = ++event_seq_;
  events_.push_back(std::move(event));
  event_changed_.NotifyAll();
}

void Store::Notify() {
  for (;;) {
    StoreEvent event;
    std::function<void(const StoreEvent&)> listener;
    {
      MutexLock lock(event_mu_);
      while (events_.empty() && !stopping_) event_changed_.Wait(event_mu_);
      if (events_.empty()) return;
      event = std::move(events_.front());
      events_.pop_front();
      listener = listener_;
    }
    if (listener) listener(event);
  }
}

// --- looking -------------------------------------------------------------------------------------

std::shared_ptr<Volume> Store::Find(const std::string& name) {
  MutexLock lock(mu_);
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

std::shared_ptr<Volume> Store::Find(Id id) {
  MutexLock lock(mu_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

std::vector<std::shared_ptr<Volume>> Store::Volumes() {
  MutexLock lock(mu_);
  std::vector<std::shared_ptr<Volume>> volumes;
  volumes.reserve(by_name_.size());
  for (const auto& [name, volume] : by_name_) volumes.push_back(volume);
  return volumes;
}

Result<VolumeInfo> Store::Info(const std::string& name) {
  const std::shared_ptr<Volume> volume = Find(name);
  if (volume == nullptr) return Error{Errc::kNotFound, StrCat(name, ": no such volume")};
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
  info.exclusive_bytes = std::min(ExclusiveBytes(volume), info.allocated_bytes);
  FillCloneInfo(info);
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

std::string Store::SourceNameLocked(const CloneEntry& entry) const {
  const auto snapshot = snapshots_.find(entry.lock);
  const bool of_snapshot = snapshot != snapshots_.end();
  const std::string name = NameLocked(of_snapshot ? snapshot->second.record.volume : entry.lock);
  if (name.empty()) return entry.record.source_name;
  return of_snapshot ? StrCat(name, "@", snapshot->second.record.name) : name;
}

void Store::FillCloneInfo(VolumeInfo& info) {
  std::shared_ptr<CloneJob> job;
  {
    MutexLock lock(mu_);
    const auto found = clones_.find(info.id);
    if (found == clones_.end() || found->second.owed) return;
    info.source = SourceNameLocked(found->second);
    info.progress.creating = true;
    if (info.error.empty()) info.error = found->second.trouble;
    info.progress.total_bytes = found->second.record.total_bytes;
    info.progress.total_known = found->second.record.total_known;
    info.progress.copied_bytes = found->second.record.copied_bytes;
    info.copy_rate = found->second.copy_rate;
    job = found->second.job;
  }
  if (job == nullptr && info.error.empty() && options_.read_only) {
    info.error = "copying goes on at the next mount without `ro`";
    info.paused = true;
  }
  if (job == nullptr) return;
  info.progress = job->progress();
  if (!info.error.empty()) return;
  info.error = job->error();
  info.paused = job->state() != CloneJob::State::kFailed;
}

Result<std::vector<MapRange>> Store::Map(Volume& volume) {
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, volume.map().Acquire());
  const Epoch::Reader reader = volume.node().epoch().Enter();
  const ExtentMap map = volume.map().Copy();
  const uint64_t size = volume.size_bytes();
  std::vector<MapRange> ranges;
  for (uint64_t block = 0; block * block_size_ < size && block < map.size();) {
    const Extent extent = map.Find(block);
    const uint64_t from = extent.first * block_size_;
    MapRange range{{from, std::min(extent.end() * block_size_, size) - from}, true, "", ""};
    if (extent.layer != LayerRef::kHole) {
      Layer* const layer = layers_.Get(extent.layer);
      range.zero = false;
      range.node = layer->NodeName();
      range.layer = layer->FileName();
    }
    ranges.push_back(std::move(range));
    block = extent.end();
  }
  return ranges;
}

std::vector<Store::SnapshotDirectory> Store::SnapshotDirectories() {
  MutexLock lock(mu_);
  std::map<std::string, Id> directories;
  for (const auto& [volume, names] : snapshot_names_) {
    const std::string name = NameLocked(volume);
    if (!names.empty() && !name.empty()) directories[name] = IdsLocked(name).front();
  }
  std::vector<SnapshotDirectory> by_name;
  for (const auto& [name, id] : directories) by_name.push_back({id, name, AttributesLocked(id)});
  return by_name;
}

std::vector<SnapshotInfo> Store::Snapshots(Id volume) {
  std::map<std::string, Id> snapshots;
  {
    MutexLock lock(mu_);
    // While it is renamed, its name may lead nowhere yet.
    std::vector<Id> ids = IdsLocked(NameLocked(volume));
    if (std::find(ids.begin(), ids.end(), volume) == ids.end()) ids.push_back(volume);
    for (const Id id : ids) {
      const auto names = snapshot_names_.find(id);
      if (names != snapshot_names_.end())
        snapshots.insert(names->second.begin(), names->second.end());
    }
  }
  std::vector<SnapshotInfo> infos;
  for (const auto& [name, id] : snapshots) {
    if (auto info = FindSnapshot(id)) infos.push_back(std::move(*info));
  }
  return infos;
}

std::optional<SnapshotInfo> Store::FindSnapshot(Id id) {
  Epoch::Reader reader;
  SnapshotInfo info;
  Layer* layer = nullptr;
  {
    MutexLock lock(mu_);
    const auto found = snapshots_.find(id);
    if (found == snapshots_.end()) return std::nullopt;
    // Under mu_: a snapshot is taken off the table before its layer is freed.
    reader = found->second.node->epoch().Enter();
    const SnapshotRecord& r = found->second.record;
    info.volume = NameLocked(r.volume);
    info.id = r.id;
    info.volume_id = r.volume;
    info.name = r.name;
    info.size_bytes = r.size_bytes;
    info.attributes = r.attributes;
    layer = layers_.Find(r.layer);
  }
  // What cannot be counted is no hole, and who looks does not wait for a node that hangs.
  info.allocated_bytes = info.size_bytes;
  if (layer == nullptr || layer->node() == nullptr) return info;
  if (layer->node()->directory().calls()->slow()) return info;
  const Result<uint64_t> bytes = ChainBytes(layers_, layer, info.size_bytes, block_size_);
  if (bytes.ok()) info.allocated_bytes = bytes.value();
  return info;
}

Result<std::shared_ptr<const FrozenImage>> Store::SnapshotImage(Id id) {
  SnapshotRecord record;
  {
    MutexLock lock(mu_);
    const auto found = snapshots_.find(id);
    if (found == snapshots_.end()) return Error{Errc::kNotFound, "no such snapshot"};
    if (auto image = found->second.image.lock()) return image;
    record = found->second.record;
    if (const std::string& why = found->second.refused; !why.empty()) {
      return Error{Errc::kCorrupt, StrCat("snapshot ", record.name,
                                          ": its catalog rows contradict each other: ", why,
                                          "; unmount, then run `volfs check`")};
    }
  }
  Layer* const layer = layers_.Find(record.layer);
  if (layer == nullptr) {
    return Error{Errc::kCorrupt, StrCat("snapshot ", record.name, ": its layer is not there")};
  }
  ASSIGN_OR_RETURN(ExtentMap map, LoadMap(layers_, layer, block_size_));
  // shared_ptr: all who have the snapshot open share one map.
  auto image =
      std::make_shared<const FrozenImage>(layers_, std::move(map), record.size_bytes, block_size_);
  MutexLock lock(mu_);
  const auto found = snapshots_.find(id);
  if (found != snapshots_.end()) found->second.image = image;
  return image;
}

Result<std::shared_ptr<OpenSnapshot>> Store::OpenSnapshotImage(Id id) {
  const Error none{Errc::kNotFound, "no such snapshot"};
  Node* node = nullptr;
  {
    MutexLock lock(mu_);
    const auto found = snapshots_.find(id);
    if (found == snapshots_.end()) return none;
    node = found->second.node;
  }
  const Gate::Passage tree = node->tree_gate().Enter();
  Layer* layer = nullptr;
  {
    MutexLock lock(mu_);
    const auto found = snapshots_.find(id);
    if (found == snapshots_.end()) return none;
    layer = layers_.Find(found->second.record.layer);
    // Under mu_, as deleting a snapshot takes it off the table before it takes its point away.
    if (layer != nullptr) reclaimer_->AddUse(layer);
  }
  if (layer == nullptr) return Error{Errc::kCorrupt, "the snapshot's layer is not there"};
  Result<std::shared_ptr<const FrozenImage>> image = SnapshotImage(id);
  if (!image.ok()) {
    (void)reclaimer_->RemoveUse(layer);
    return image.error();
  }
  return std::make_shared<OpenSnapshot>(*reclaimer_, layer, image.value());
}

}  // namespace volfs
