#include "blockstore/layer/reclaim.h"

#include <algorithm>
#include <cassert>
#include <set>
#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/catalog.h"
#include "blockstore/layer/data_cursor.h"
#include "blockstore/map/presence.h"
#include "blockstore/node/node.h"

namespace volfs {
namespace {

// About so many runs of blocks are freed by one commit.
constexpr size_t kSliceRuns = PresenceChunk::kChunkBlocks / 4;

}  // namespace

// One layer, and the layers over it that may hide its blocks.
struct Reclaimer::Step {
  Layer* layer;
  std::vector<Layer*> children;
};

struct Reclaimer::Plan {
  struct Freed {
    Layer* layer;
    std::vector<BlockRange> blocks;
  };
  void Add(Freed more);

  Node* node = nullptr;
  std::vector<Layer*> dead;
  std::vector<Freed> freed;
  CatalogChange change;

  // A trial counts what would be freed if this layer had one reference less, and changes nothing.
  const Layer* trial_of = nullptr;
  uint64_t trial_bytes = 0;
};

Reclaimer::Reclaimer(LayerTable& layers, LayerTree& tree,
                     const std::vector<std::unique_ptr<Node>>& nodes, uint32_t block_size)
    : layers_(layers), tree_(tree), block_size_(block_size) {
  for (const auto& node : nodes) reclaim_mu_[node.get()];
}

Status Reclaimer::RemovePin(Layer* layer) {
  const Id id = layer->id();  // as in RemoveReference
  tree_.DropPin(layer);
  return Reclaim(id);
}

Reclaimer::Taken Reclaimer::TakeLayer(Id id) {
  const Node* const node = layers_.NodeOf(id);
  if (node == nullptr || !node->trusted()) return {};
  Taken taken{Take(*node)};
  taken.layer = layers_.Find(id);
  return taken;
}

// --- reclaiming ----------------------------------------------------------------------------------

Result<uint64_t> Reclaimer::ExclusiveBytes(Layer* top) const {
  uint64_t bytes = 0;
  const Layer* above = nullptr;
  for (Layer* layer = top; layer != nullptr && layer->node() == top->node();) {
    const LayerTree::Place place = tree_.PlaceOf(layer);
    const bool others = std::any_of(place.children.begin(), place.children.end(),
                                    [above](const Layer* child) { return child != above; });
    if (place.references > (layer == top ? 1 : 0) || others) break;
    ASSIGN_OR_RETURN(const uint64_t own, layer->AllocatedBytes());
    bytes += own;
    above = layer;
    const Id parent = layer->record().parent;
    layer = parent == kNoId ? nullptr : layers_.Find(parent);
  }
  return bytes;
}

Status Reclaimer::ReclaimAll() {
  for (const Id id : tree_.WithoutReferences()) RETURN_IF_ERROR(Reclaim(id));
  return OkStatus();
}

Status Reclaimer::RemoveReference(Layer* layer) {
  const Id id = layer->id();  // once its last reference is gone another call may remove it
  tree_.DropReference(layer);
  return Reclaim(id);
}

Status Reclaimer::Reclaim(Id id) {
  const Taken taken = TakeLayer(id);
  if (taken.layer == nullptr) return OkStatus();
  Plan plan;
  plan.node = taken.layer->node();
  RETURN_IF_ERROR(MakePlan(taken.alone, taken.layer, plan));
  return Execute(taken.alone, plan);
}

Result<uint64_t> Reclaimer::BytesFreedWithout(Id id) {
  const Node* const node = layers_.NodeOf(id);
  if (node == nullptr || !node->trusted()) return uint64_t{0};
  const Exclusive alone(reclaim_mu_.at(node), std::try_to_lock);
  if (alone.mu_ == nullptr) return Error{Errc::kBusy, "the node is being reclaimed or merged"};
  Layer* const layer = layers_.Find(id);
  if (layer == nullptr) return uint64_t{0};
  Plan plan;
  plan.node = layer->node();
  plan.trial_of = layer;
  RETURN_IF_ERROR(MakePlan(alone, layer, plan));
  return plan.trial_bytes;
}

namespace {

// Returns the references that a layer has or, of a trial's layer, that it would have. The pins of
// a snapshot's layer are readers' that leave; a deletion of it waits for the holds.
int References(const LayerTree::Place& place, bool is_trial) {
  return is_trial ? place.references - place.pins - 1 : place.references;
}

}  // namespace

int Reclaimer::ReferencesFor(const Plan& plan, const Layer* layer) const {
  return References(tree_.PlaceOf(layer), layer == plan.trial_of);
}

// Plans from `layer` down to the first that has a reference.
Status Reclaimer::MakePlan(const Exclusive& alone, Layer* layer, Plan& plan) {
  while (layer != nullptr && layer->node() == plan.node) {
    const LayerTree::Place place = tree_.PlaceOf(layer);
    const int spare = Sabotaged(Sabotage::kIgnoreReferences) ? 1 : 0;
    if (References(place, layer == plan.trial_of) > spare) return OkStatus();
    const bool childless =
        std::all_of(place.children.begin(), place.children.end(), [&](Layer* child) {
          return std::find(plan.dead.begin(), plan.dead.end(), child) != plan.dead.end();
        });
    if (childless) {
      plan.dead.push_back(layer);
      plan.change.emplace_back(DeleteLayer{layer->id()});
      if (plan.trial_of != nullptr) {
        ASSIGN_OR_RETURN(const uint64_t bytes, layer->AllocatedBytes());
        plan.trial_bytes += bytes;
      }
    } else if (plan.trial_of != nullptr) {
      RETURN_IF_ERROR(CountHidden(layer, plan));
    } else {
      RETURN_IF_ERROR(PlanHidden(alone, layer, plan));
    }
    const Id parent = layer->record().parent;
    layer = parent == kNoId ? nullptr : layers_.Find(parent);
  }
  return OkStatus();
}

namespace {

// Calls `f` for the runs of blocks in which `layer` has bytes of its own.
Status ForEachOwn(Layer* layer, uint32_t block_size,
                  const std::function<void(const BlockRange&)>& visit) {
  if (!layer->flat()) {
    return layer->node()->catalog().LoadPresence(layer->id(), [&](const PresenceRun& run) {
      if (run.state == BlockState::kPresent) visit({run.first, run.count});
    });
  }
  for (uint64_t at = 0;;) {
    ASSIGN_OR_RETURN(const std::optional<ByteRange> data, layer->NextData(at));
    if (!data) return OkStatus();
    const uint64_t first = data->offset_bytes / block_size;
    visit({first, BlocksFor(data->end(), block_size) - first});
    at = data->end();
  }
}

void AppendRun(const BlockRange& run, std::vector<BlockRange>& runs) {
  if (!runs.empty() && runs.back().end() == run.first) {
    runs.back().count += run.count;
  } else {
    runs.push_back(run);
  }
}

}  // namespace

// Returns `layer` and the layers without references over it, children before parents. Those that
// die with `plan` hide nothing and need nothing.
std::vector<Reclaimer::Step> Reclaimer::StepsOver(Layer* layer, const Plan& plan) const {
  std::vector<Step> order;
  for (std::vector<Layer*> open{layer}; !open.empty();) {
    Layer* const next = open.back();
    open.pop_back();
    std::vector<Layer*> children = tree_.PlaceOf(next).children;
    std::erase_if(children, [&](Layer* child) {
      return std::find(plan.dead.begin(), plan.dead.end(), child) != plan.dead.end();
    });
    for (Layer* child : children) {
      if (ReferencesFor(plan, child) == 0) open.push_back(child);
    }
    order.push_back({next, std::move(children)});
  }
  std::reverse(order.begin(), order.end());
  return order;
}

// Returns which blocks of one chunk of the last step's layer are hidden: those not absent in the
// result.
Result<PresenceChunk> Reclaimer::HiddenIn(uint64_t chunk, const std::vector<Step>& order) const {
  const uint64_t base = chunk * PresenceChunk::kChunkBlocks;
  std::unordered_map<const Layer*, PresenceChunk> hidden;
  for (const Step& step : order) {
    PresenceChunk all(BlockState::kZero);
    for (Layer* child : step.children) {
      ASSIGN_OR_RETURN(PresenceChunk covered,
                       child->node()->catalog().LoadChunk(child->id(), chunk));
      // A child shows nothing past parent_bytes, which falls after its commit (Volume::Shrink) and
      // rises before it (ShowThrough).
      const uint64_t shown = BlocksFor(child->record().parent_bytes, block_size_);
      const uint64_t from = std::min(std::max(shown, base) - base, PresenceChunk::kChunkBlocks);
      covered.Set({from, PresenceChunk::kChunkBlocks - from}, BlockState::kZero);
      const auto below = hidden.find(child);
      if (below != hidden.end()) covered.UniteCovered(below->second);
      all.IntersectCovered(covered);
    }
    hidden[step.layer] = std::move(all);
  }
  return std::move(hidden[order.back().layer]);
}

// Visits the chunks in which the layer has data, with their hidden blocks.
Status Reclaimer::ForEachHidden(
    Layer* layer, const Plan& plan,
    const std::function<Status(uint64_t, const PresenceChunk&)>& visit) const {
  const std::vector<Step> order = StepsOver(layer, plan);
  std::vector<BlockRange> chunks;
  RETURN_IF_ERROR(
      ForEachOwn(layer, block_size_, [&](const BlockRange& run) { AddWholeChunks(run, chunks); }));
  for (const BlockRange& range : chunks) {
    const uint64_t end = range.end() / PresenceChunk::kChunkBlocks;
    for (uint64_t chunk = range.first / PresenceChunk::kChunkBlocks; chunk < end; ++chunk) {
      ASSIGN_OR_RETURN(const PresenceChunk hidden, HiddenIn(chunk, order));
      RETURN_IF_ERROR(visit(chunk, hidden));
    }
  }
  return OkStatus();
}

// Executes the plan whenever it has kSliceRuns runs, as a layer of terabytes may have many
// millions.
Status Reclaimer::PlanHidden(const Exclusive& alone, Layer* layer, Plan& plan) {
  Plan::Freed freed{layer, {}};
  const auto add = [&](uint64_t chunk, const PresenceChunk& hidden) -> Status {
    hidden.ForEachRun(chunk * PresenceChunk::kChunkBlocks, [&](const PresenceRun& run) {
      AppendRun({run.first, run.count}, freed.blocks);
    });
    if (freed.blocks.size() < kSliceRuns) return OkStatus();
    plan.Add(std::exchange(freed, {layer, {}}));
    return Execute(alone, plan);
  };
  RETURN_IF_ERROR(ForEachHidden(layer, plan, add));
  plan.Add(std::move(freed));
  return OkStatus();
}

Status Reclaimer::CountHidden(Layer* layer, Plan& plan) const {
  return ForEachHidden(layer, plan, [&](uint64_t chunk, const PresenceChunk& hidden) -> Status {
    ASSIGN_OR_RETURN(PresenceChunk freed, OwnIn(chunk, layer));
    freed.IntersectCovered(hidden);
    freed.ForEachRun(0,
                     [&](const PresenceRun& run) { plan.trial_bytes += run.count * block_size_; });
    return OkStatus();
  });
}

// Returns which blocks of one chunk have bytes in the layer's file: those not absent in the result.
Result<PresenceChunk> Reclaimer::OwnIn(uint64_t chunk, Layer* layer) const {
  const uint64_t base = chunk * PresenceChunk::kChunkBlocks;
  const uint64_t end = base + PresenceChunk::kChunkBlocks;
  PresenceChunk own;
  if (!layer->flat()) {
    ASSIGN_OR_RETURN(const PresenceChunk states,
                     layer->node()->catalog().LoadChunk(layer->id(), chunk));
    states.ForEachRun(0, [&](const PresenceRun& run) {
      if (run.state == BlockState::kPresent) own.Set({run.first, run.count}, run.state);
    });
    return own;
  }
  for (uint64_t at = base; at < end;) {
    ASSIGN_OR_RETURN(const std::optional<ByteRange> data, layer->NextData(at * block_size_));
    if (!data || data->offset_bytes >= end * block_size_) break;
    const uint64_t first = data->offset_bytes / block_size_;
    const uint64_t last = std::min(BlocksFor(data->end(), block_size_), end);
    own.Set({first - base, last - first}, BlockState::kPresent);
    at = last;
  }
  return own;
}

void Reclaimer::Plan::Add(Freed more) {
  if (more.blocks.empty()) return;
  // A flat layer needs no commit: a freed block of it reads as zeros, and no reader reaches it.
  if (!more.layer->flat()) {
    PresenceRuns absent;
    for (const BlockRange& run : more.blocks) absent.Set(run, BlockState::kAbsent);
    change.emplace_back(SetPresence{more.layer->id(), std::move(absent)});
  }
  freed.push_back(std::move(more));
}

Status Reclaimer::ForgetCache(Id id) {
  const Taken taken = TakeLayer(id);
  return taken.layer == nullptr ? OkStatus() : taken.layer->ForgetCache();
}

Status Reclaimer::PunchGarbage(Id id) {
  const Taken taken = TakeLayer(id);
  if (taken.layer == nullptr || taken.layer->flat()) return OkStatus();
  NotePunched(id);
  return PunchGarbage(taken.alone, taken.layer);
}

void Reclaimer::NotePunched(Id layer) {
  MutexLock lock(punched_mu_);
  punched_.insert(layer);
}

Status Reclaimer::PunchGarbage(const Exclusive& /*alone*/, Layer* layer) {
  // Reads all rows first: after one that is damaged, no gap would be certain.
  RETURN_IF_ERROR(ForEachOwn(layer, block_size_, [](const BlockRange&) {}));
  // The gaps between the layer's own blocks, and the one after the last.
  uint64_t gap = 0;
  DataCursor cursor;
  const auto punch_until = [&](uint64_t end) -> Status {
    while (gap < end) {
      ASSIGN_OR_RETURN(const std::optional<ByteRange> data,
                       cursor.NextData(*layer, gap * block_size_));
      if (!data || data->offset_bytes >= end * block_size_) break;
      const uint64_t first = data->offset_bytes / block_size_;
      const uint64_t last = std::min(BlocksFor(data->end(), block_size_), end);
      RETURN_IF_ERROR(layer->Punch({first * block_size_, (last - first) * block_size_}));
      gap = last;
    }
    return OkStatus();
  };
  Status done = OkStatus();
  RETURN_IF_ERROR(ForEachOwn(layer, block_size_, [&](const BlockRange& own) {
    if (done.ok()) done = punch_until(own.first);
    gap = own.end();
  }));
  RETURN_IF_ERROR(done);
  return punch_until(BlocksFor(layer->record().size_bytes, block_size_));
}

Status Reclaimer::SyncPunched() {
  std::set<Id> punched;
  {
    MutexLock lock(punched_mu_);
    punched.swap(punched_);
  }
  for (const Id id : punched) {
    const Taken taken = TakeLayer(id);
    if (taken.layer != nullptr) RETURN_IF_ERROR(taken.layer->SyncFile());
  }
  return OkStatus();
}

// Carries the plan out and leaves it empty.
Status Reclaimer::Execute(const Exclusive& alone, Plan& all) {
  Plan plan = std::move(all);
  all = {};
  all.node = plan.node;
  if (plan.dead.empty() && plan.freed.empty()) return OkStatus();
  if (!plan.change.empty() && !Sabotaged(Sabotage::kFreeBeforeCommit)) {
    RETURN_IF_ERROR(plan.node->catalog().Commit(plan.change, Room::kFree));
  }
  if (!Sabotaged(Sabotage::kFreeUnderReaders)) plan.node->epoch().Synchronize();
  for (const Plan::Freed& f : plan.freed) {
    NotePunched(f.layer->id());
    for (const BlockRange& run : f.blocks) {
      RETURN_IF_ERROR(f.layer->Punch({run.first * block_size_, run.count * block_size_}));
    }
  }
  for (Layer* const layer : plan.dead) Discard(alone, layer);
  return OkStatus();
}

void Reclaimer::Discard(const Exclusive& /*alone*/, Layer* layer) {
  const Id parent = layer->record().parent;
  if (const Status removed = layer->RemoveFile(); !removed.ok()) {
    LogWarning(StrCat("the next mount will remove a file that is no longer used: ",
                      removed.error().message));
  }
  {
    MutexLock lock(punched_mu_);
    punched_.erase(layer->id());  // there is no file that could be synced
  }
  tree_.Remove(layer, parent == kNoId ? nullptr : layers_.Find(parent));
  layers_.Remove(layer);
}

}  // namespace volfs
