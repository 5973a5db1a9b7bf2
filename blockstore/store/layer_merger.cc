#include "blockstore/store/layer_merger.h"

#include <algorithm>
#include <unordered_set>

#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/node/node.h"
#include "blockstore/store/heads.h"

namespace volfs {
namespace {

constexpr Nanoseconds kMergeTick = std::chrono::milliseconds(200);
// With more pairs than that, snapshots come and go faster than they are merged at leisure. The
// length of the chains then slows down opening, freezing and deleting more than merging does, so
// merges of few bytes do not give way. Without this, 1,000 snapshots made and deleted in a loop
// took 279 s and had chains of 460 layers; with it 6 s and 64.
constexpr size_t kBehind = 8;
constexpr uint64_t kSoonDoneBytes = 1 << 20;
constexpr Nanoseconds kTickBehind = std::chrono::milliseconds(20);
// The part of a slice that a head may have to be moved while its writers wait: some milliseconds of
// copying and one sync. Zeros are punched, not copied.
constexpr uint64_t kSinkPart = 16;
constexpr uint64_t kZerosAsCopied = 1024;
constexpr Nanoseconds kMaxWaiting = std::chrono::seconds(5);  // between two looks at a busy pair
constexpr Nanoseconds kMinPatience = std::chrono::seconds(2);
constexpr Nanoseconds kMaxPatience = std::chrono::minutes(5);

Error Busy(const std::string& why) { return Error{Errc::kBusy, why}; }

}  // namespace

LayerMerger::LayerMerger(StoreParts& parts, Node& node) : parts_(parts), node_(node) {
  thread_ = Thread("merge", [this] { Work(); });
}

LayerMerger::~LayerMerger() {
  stopping_.store(true);
  parts_.hydrator.throttle().Interrupt();
  {
    MutexLock lock(mu_);
    wake_.NotifyAll();
  }
  thread_.Join();
}

void LayerMerger::Work() {
  uint64_t seen = 0;
  for (bool all = false; !stopping_.load();) {
    const uint64_t version = parts_.tree.version();
    if (version != seen || !all) {
      seen = version;
      all = MergeAll();
    }
    MutexLock lock(mu_);
    const Nanoseconds deadline = MonotonicNow() + (behind_ ? kTickBehind : kMergeTick);
    while (!stopping_.load() && MonotonicNow() < deadline) (void)wake_.WaitUntil(mu_, deadline);
  }
}

bool LayerMerger::MergeAll() {
  if (!node_.trusted()) return true;
  // The garbage of a crash is freed first: it is looked for where the catalog says that nothing is.
  if (!parts_.garbage.gone()) return false;
  std::vector<Pair> pairs = parts_.tree.Pairs(node_);
  // Volumes and layers that are gone are forgotten: they come and go for as long as the mount
  // lives.
  std::erase_if(given_up_, [&](Id under) { return parts_.layers.Find(under) == nullptr; });
  std::erase_if(patience_,
                [&](const auto& entry) { return parts_.tables.Find(entry.first) == nullptr; });
  std::erase_if(pairs, [&](const Pair& pair) { return given_up_.contains(pair.under); });
  behind_ = pairs.size() > kBehind;
  overs_.clear();
  for (const Pair& pair : pairs) overs_.insert(pair.over);
  std::map<Id, Patience> waiting;
  std::swap(waiting, waiting_);  // without pairs that are gone
  bool all = true;
  for (const Pair& pair : pairs) {
    if (stopping_.load()) return true;
    Patience patience = waiting.try_emplace(pair.under, Patience{{}, kMergeTick}).first->second;
    if (MonotonicNow() < patience.not_before) {
      waiting_[pair.under] = patience;
      all = false;
      continue;
    }
    if (parts_.hydrator.throttle().rate() == 0) return false;
    const Status done = MergePair(pair);
    if (done.ok()) continue;
    if (Passes(done.error().code)) {
      all = false;
      patience.not_before = MonotonicNow() + patience.next;
      patience.next = std::min(patience.next * 2, kMaxWaiting);
      waiting_[pair.under] = patience;
      continue;
    }
    LogWarning(StrCat("two layers stay apart until the next mount: ", done.error().message));
    given_up_.insert(pair.under);
  }
  return all;
}

bool LayerMerger::Passes(Errc code) {
  return code == Errc::kBusy || code == Errc::kNoSpace || code == Errc::kQuota ||
         code == Errc::kNoMemory || code == Errc::kNoFiles;
}

Result<LayerMerger::Layers> LayerMerger::CheckPair(const Pair& pair) {
  const Layers layers{parts_.layers.Find(pair.under), parts_.layers.Find(pair.over)};
  const Error busy = Busy("the tree has changed");
  if (layers.under == nullptr || layers.over == nullptr) return busy;
  Node* const node = layers.under->node();
  if (node != &node_ || layers.over->node() != node) return busy;
  if (!parts_.tree.IsPair(layers.under, layers.over)) return busy;
  const LayerRecord over = layers.over->record();
  if (over.parent != pair.under || !over.parent_node.empty()) return busy;
  if (!layers.under->Recorded()) return busy;
  if (!node->trusted() || !node->CheckAnswers().ok() || node->catalog().fenced() ||
      node->catalog().read_only() || layers.under->failed() || layers.over->failed()) {
    return busy;
  }
  // Moving takes room before it frees some, and the last room is for commits.
  RETURN_IF_ERROR(node->catalog().CheckReserve());
  if (parts_.tree.Pinned(layers.over) && !Sabotaged(Sabotage::kMergeInUse)) return busy;
  return layers;
}

LayerMerger::Users LayerMerger::UsersOf(const std::vector<const Layer*>& subtree) {
  const std::unordered_set<const Layer*> layers(subtree.begin(), subtree.end());
  Users users;
  for (const auto& volume : parts_.tables.Volumes()) {
    const Layer* const head = volume->head();
    if (!layers.contains(head)) continue;
    users.volumes.push_back(volume);
    if (head == subtree.front()) users.head = volume;
  }
  return users;
}

Result<LayerMerger::ClosedTree> LayerMerger::CloseTree(const Layer* over) {
  ClosedTree tree;
  tree.closed = node_.tree_gate().Close(MonotonicNow() + Node::kTreePatience);
  if (!tree.closed.holds()) return Busy("requests are at work");
  if (parts_.tree.Pinned(over) && !Sabotaged(Sabotage::kMergeInUse)) {
    return Busy("a snapshot of it is open, or is being copied");
  }
  tree.subtree = parts_.tree.Subtree(over);
  tree.users = UsersOf(tree.subtree);
  return tree;
}

void LayerMerger::ForgetImages(const ClosedTree& tree) {
  std::unordered_set<Id> ids;
  for (const Layer* const layer : tree.subtree) ids.insert(layer->id());
  MutexLock lock(parts_.tables.mu);
  parts_.tables.snapshots.ForgetImages(ids);
}

std::vector<SnapshotRecord> LayerMerger::SnapshotsOn(Id layer) const {
  MutexLock lock(parts_.tables.mu);
  return parts_.tables.snapshots.OnLayer(layer);
}

Result<LayerMerger::Users> LayerMerger::FindUsers(const Pair& pair) {
  const Reclaimer::Exclusive alone = parts_.reclaimer.Take(node_);
  ASSIGN_OR_RETURN(const Layers layers, CheckPair(pair));
  ASSIGN_OR_RETURN(ClosedTree tree, CloseTree(layers.over));
  ForgetImages(tree);
  return std::move(tree.users);
}

Status LayerMerger::MergePair(const Pair& pair) {
  ASSIGN_OR_RETURN(const Users users, FindUsers(pair));
  if (users.head != nullptr) return MergeHead(pair, *users.head);
  // No volume writes `over` any more, and its blocks are in the catalog, unless the snapshot that
  // froze it could not be committed yet.
  for (const auto& volume : users.volumes) {
    if (!volume->merging().Recorded()) return Busy("a commit is outstanding");
  }
  return MergeFrozen(pair);
}

// --- two frozen layers ---------------------------------------------------------------------------

Status LayerMerger::MergeFrozen(const Pair& pair) {
  Progress progress;
  Throttle& throttle = parts_.hydrator.throttle();
  while (!progress.merged) {
    const auto stop = [&] { return stopping_.load(); };
    // Paid before it is copied, as an unmount would forget the debt (throttle.h).
    const uint64_t max_bytes = SliceBytes();
    if (!throttle.Take(max_bytes, stop) || stopping_.load()) return OkStatus();
    if (const Nanoseconds wait = node_.foreground().TryStep(); wait != Nanoseconds{0}) {
      throttle.GiveBack(max_bytes);
      SleepFor(std::min(wait, kMergeTick));
      continue;
    }
    const Nanoseconds began = MonotonicNow();
    const Status done = MergeStep(pair, max_bytes, progress);
    node_.foreground().EndStep(progress.gives_way ? MonotonicNow() - began : Nanoseconds{0});
    throttle.GiveBack(max_bytes - std::min(progress.copied_bytes, max_bytes));
    RETURN_IF_ERROR(done);
  }
  // A deletion may have taken the last reference of `over` meanwhile. Its reclaim then looks for a
  // layer that is gone, and knows nothing of the one that has its blocks now.
  return progress.childless == kNoId ? OkStatus() : parts_.reclaimer.Reclaim(progress.childless);
}

Status LayerMerger::MergeStep(const Pair& pair, uint64_t max_bytes, Progress& progress) {
  progress.copied_bytes = 0;
  const Reclaimer::Exclusive alone = parts_.reclaimer.Take(node_);
  ASSIGN_OR_RETURN(const Layers layers, CheckPair(pair));
  if (progress.merge == nullptr) RETURN_IF_ERROR(BeginMerge(layers, progress));
  LayerMerge& merge = *progress.merge;
  // Waits for requests that began when the places to be written were still in use.
  node_.epoch().Synchronize();
  if (merge.found_any()) return MergeSlice(merge, max_bytes, &progress.copied_bytes);
  progress.merged = true;
  Layer* const stays = merge.from() == layers.over ? layers.under : layers.over;
  RETURN_IF_ERROR(stays == layers.under ? MergeDown(alone, merge) : MergeUp(alone, merge));
  if (parts_.tree.Children(stays).empty()) progress.childless = stays->id();
  return OkStatus();
}

Status LayerMerger::BeginMerge(const Layers& layers, Progress& progress) {
  ASSIGN_OR_RETURN(const uint64_t under_bytes, layers.under->AllocatedBytes());
  ASSIGN_OR_RETURN(const uint64_t over_bytes, layers.over->AllocatedBytes());
  const bool up = layers.under->flat() && under_bytes < over_bytes;
  progress.gives_way = !behind_ || (up ? under_bytes : over_bytes) > kSoonDoneBytes;
  progress.merge = std::make_unique<LayerMerge>(
      layers.under, layers.over, up ? LayerMerge::Direction::kUp : LayerMerge::Direction::kDown,
      parts_.block_size);
  return progress.merge->Find();
}

// Returns, in whole blocks, as much as the limit of all copying grants in a second, so that there
// is at most one commit per second.
uint64_t LayerMerger::SliceBytes() const {
  constexpr uint64_t kBursts = std::chrono::seconds(1) / Throttle::kBurst;
  const uint64_t burst = parts_.hydrator.throttle().burst_bytes();
  const uint64_t bytes = std::min(parts_.options.merge_slice_bytes / kBursts, burst) * kBursts;
  return std::max(bytes / parts_.block_size, uint64_t{1}) * parts_.block_size;
}

Status LayerMerger::MergeSlice(LayerMerge& merge, uint64_t max_bytes, uint64_t* copied_bytes) {
  const Status copied = merge.Copy(max_bytes);
  if (!copied.ok()) merge.Abandon();
  RETURN_IF_ERROR(copied);
  *copied_bytes = merge.slice().bytes;
  const Status done = CommitSlice(merge);
  if (!done.ok() && RefusedCleanly(done.error())) merge.Abandon();
  RETURN_IF_ERROR(done);
  if (!Sabotaged(Sabotage::kFreeUnderReaders)) node_.epoch().Synchronize();
  parts_.reclaimer.NotePunched(merge.from()->id());
  const uint64_t bs = parts_.block_size;
  for (const PresenceRun& run : merge.slice().moved) {
    RETURN_IF_ERROR(merge.from()->Punch({run.first * bs, run.count * bs}));
  }
  return OkStatus();
}

Status LayerMerger::CommitSlice(LayerMerge& merge) {
  ASSIGN_OR_RETURN(const ClosedTree tree, CloseTree(merge.over()));
  RETURN_IF_ERROR(merge.over()->node()->catalog().Commit(merge.Change()));
  merge.Settle();
  for (const auto& volume : tree.users.volumes) {
    if (Sabotaged(Sabotage::kMergeOldMaps)) break;
    for (const PresenceRun& run : merge.slice().moved) {
      volume->merging().Redirect({run.first, run.count}, merge.from()->ref(), merge.RefOf(run));
    }
  }
  ForgetImages(tree);
  return OkStatus();
}

namespace {

// Returns those of `volumes` that have one of `children` as their head.
LayerMerger::Volumes VolumesOf(const std::vector<Layer*>& children,
                               const LayerMerger::Volumes& volumes) {
  LayerMerger::Volumes heads;
  for (const auto& volume : volumes) {
    if (std::find(children.begin(), children.end(), volume->head()) != children.end()) {
      heads.push_back(volume);
    }
  }
  return heads;
}

}  // namespace

// `over` has no blocks left: its children, snapshots and volume name `under` from now on.
Status LayerMerger::MergeDown(const Reclaimer::Exclusive& alone, LayerMerge& merge) {
  RETURN_IF_ERROR(merge.Copy(0));
  const std::vector<Layer*> children = parts_.tree.Children(merge.over());
  const Volumes heads = VolumesOf(children, parts_.tables.Volumes());
  {
    // A running batch would commit their records as they were.
    std::vector<Committer::Exclusive> no_batches;
    for (const auto& volume : heads) no_batches.push_back(volume->merging().StopBatches());
    RETURN_IF_ERROR(CommitDown(merge, children, heads));
  }
  Remove(alone, merge.over());
  return OkStatus();
}

Status LayerMerger::CommitDown(LayerMerge& merge, const std::vector<Layer*>& children,
                               const Volumes& heads) {
  Layer* const under = merge.under();
  Layer* const over = merge.over();
  ASSIGN_OR_RETURN(const ClosedTree tree, CloseTree(over));
  const Error busy = Busy("the tree has changed");
  if (VolumesOf(children, tree.users.volumes) != heads || parts_.tree.Children(over) != children) {
    return busy;
  }
  CatalogChange change = merge.Change();
  std::vector<std::pair<Layer*, LayerRecord>> relinked;
  for (Layer* const child : children) {
    LayerRecord record = child->committed();
    const bool head = std::any_of(heads.begin(), heads.end(),
                                  [&](const auto& volume) { return volume->head() == child; });
    if (record.id == kNoId || (!head && child->RecordDirty())) return busy;
    record.parent = under->id();
    change.emplace_back(PutLayer{record});
    relinked.emplace_back(child, record);
  }
  std::vector<SnapshotRecord> snapshots = SnapshotsOn(over->id());
  for (SnapshotRecord& record : snapshots) record.layer = under->id();
  for (const SnapshotRecord& record : snapshots) {
    if (!Sabotaged(Sabotage::kMergeKeepsSnapshot)) change.emplace_back(PutSnapshot{record});
  }
  change.emplace_back(DeleteLayer{over->id()});
  RETURN_IF_ERROR(over->node()->catalog().Commit(change));
  merge.Settle();
  for (const auto& [child, record] : relinked) child->Relink(record);
  {
    MutexLock lock(parts_.tables.mu);
    for (const SnapshotRecord& record : snapshots) {
      parts_.tables.snapshots.SetLayer(record.id, under->id());
    }
  }
  parts_.tree.Merge(under, over, under);
  ForgetImages(tree);
  return OkStatus();
}

// `over` hides all of `under`, so it becomes flat.
Status LayerMerger::MergeUp(const Reclaimer::Exclusive& alone, LayerMerge& merge) {
  Layer* const over = merge.over();
  RETURN_IF_ERROR(over->CreateFile());
  parts_.reclaimer.NotePunched(over->id());
  RETURN_IF_ERROR(parts_.reclaimer.PunchGarbage(alone, over));
  RETURN_IF_ERROR(over->SyncFile());
  RETURN_IF_ERROR(CommitUp(merge));
  Remove(alone, merge.under());
  return OkStatus();
}

Status LayerMerger::CommitUp(LayerMerge& merge) {
  Layer* const under = merge.under();
  Layer* const over = merge.over();
  ASSIGN_OR_RETURN(const ClosedTree tree, CloseTree(over));
  LayerRecord flat = over->record();
  flat.parent = kNoId;
  flat.parent_bytes = 0;
  RETURN_IF_ERROR(over->node()->catalog().Commit(
      {PutLayer{flat}, ClearPresence{over->id()}, DeleteLayer{under->id()}}));
  over->BecomeFlat(flat);
  for (const auto& volume : tree.users.volumes) {
    volume->merging().Redirect({0, UINT64_MAX}, under->ref(), over->ref());
  }
  parts_.tree.Merge(under, over, over);
  ForgetImages(tree);
  return OkStatus();
}

void LayerMerger::Remove(const Reclaimer::Exclusive& alone, Layer* gone) {
  if (!Sabotaged(Sabotage::kFreeUnderReaders)) node_.epoch().Synchronize();
  parts_.reclaimer.Discard(alone, gone);
}

// --- a head --------------------------------------------------------------------------------------

Status LayerMerger::MergeHead(const Pair& pair, Volume& volume) {
  // A layer that was frozen to be merged must not become a head again before that is done.
  if (overs_.contains(pair.under)) return Busy("the layers under it are merged first");
  // Kept until the end, as no map can be loaded while the tree gate is closed.
  ASSIGN_OR_RETURN(const MapRefCount::Ref use, volume.map().Acquire());
  ASSIGN_OR_RETURN(const bool small, IsSmall(pair.over, volume.commits().PendingWork()));
  if (small) {
    RETURN_IF_ERROR(MergeSmallHead(pair, volume));
    patience_.erase(volume.id());
    return OkStatus();
  }
  Patience& patience = patience_.try_emplace(volume.id(), Patience{{}, kMinPatience}).first->second;
  const Nanoseconds now = MonotonicNow();
  if (now < patience.not_before) return Busy("it is written all the time");
  patience.not_before = now + patience.next;
  patience.next = std::min(patience.next * 2, kMaxPatience);
  return FreezeLargeHead(pair, volume);
}

// Returns whether the blocks of a head, with `pending_blocks` that wait for a commit, are few
// enough to be moved while its writers wait.
Result<bool> LayerMerger::IsSmall(Id head, uint64_t pending_blocks) {
  const uint64_t small_bytes = parts_.options.merge_slice_bytes / kSinkPart;
  // A file that is far too large needs no count of its blocks, for which the presence of a head of
  // terabytes would be read from the catalog at each look. (The host may allocate more than was
  // written.)
  {
    const Epoch::Reader reader = node_.epoch().Enter();
    Layer* const layer = parts_.layers.Find(head);
    if (layer == nullptr) return false;
    ASSIGN_OR_RETURN(const uint64_t allocated_bytes, layer->AllocatedBytes());
    if (allocated_bytes > small_bytes * kSinkPart) return false;
  }
  uint64_t here = pending_blocks;
  uint64_t zero = 0;
  RETURN_IF_ERROR(node_.catalog().LoadPresence(head, [&](const PresenceRun& run) {
    (run.state == BlockState::kPresent ? here : zero) += run.count;
  }));
  const uint64_t bytes = (here + zero / kZerosAsCopied) * parts_.block_size;
  return bytes <= small_bytes;
}

Status LayerMerger::MergeSmallHead(const Pair& pair, Volume& volume) {
  RETURN_IF_ERROR(volume.Sync());  // as in FreezeLargeHead
  const Reclaimer::Exclusive alone = parts_.reclaimer.Take(node_);
  ASSIGN_OR_RETURN(const Layers layers, CheckPair(pair));
  LayerMerge merge(layers.under, layers.over, LayerMerge::Direction::kDown, parts_.block_size);
  node_.epoch().Synchronize();
  {
    ASSIGN_OR_RETURN(const ClosedTree tree, CloseTree(layers.over));
    if (tree.users.head.get() != &volume) return Busy("it has another head");
    RETURN_IF_ERROR(
        volume.merging().SinkHead(merge, [&] { return IsSmall(layers.over->id(), 0); }));
    parts_.tree.Merge(layers.under, layers.over, layers.under);
    ForgetImages(tree);
  }
  Remove(alone, layers.over);
  return OkStatus();
}

// Freezes the head, so that its blocks can be moved: the next look finds two frozen layers.
Status LayerMerger::FreezeLargeHead(const Pair& pair, Volume& volume) {
  RETURN_IF_ERROR(volume.Sync());  // before writers have to wait for it
  Layer* frozen = nullptr;
  const Status done = FreezeAlone(pair, volume, &frozen);
  if (frozen != nullptr) parts_.tree.DropReference(frozen);
  return done;
}

Status LayerMerger::FreezeAlone(const Pair& pair, Volume& volume, Layer** frozen) {
  const Reclaimer::Exclusive alone = parts_.reclaimer.Take(node_);
  ASSIGN_OR_RETURN(const Layers layers, CheckPair(pair));
  ASSIGN_OR_RETURN(const ClosedTree tree, CloseTree(layers.over));
  if (tree.users.head.get() != &volume) return Busy("it has another head");
  const auto image =
      volume.FreezeHead([](const Layer&) { return CatalogChange{}; }, Node::kTreePatience);
  AdoptHead(parts_, volume, layers.over);
  if (volume.head() != layers.over) *frozen = layers.over;
  if (!image.ok()) return image.error();
  ForgetImages(tree);
  return OkStatus();
}

}  // namespace volfs
