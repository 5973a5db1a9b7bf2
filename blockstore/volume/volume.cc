#include "blockstore/volume/volume.h"

#include <algorithm>
#include <cassert>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/layer/map_loader.h"

namespace volfs {

Volume::Volume(const VolumeContext& context, Node& node, VolumeRecord record, Layer* head)
    : context_(context),
      node_(node),
      state_(node, record),
      opens_(state_),
      map_(context, state_, opens_, record.size_bytes, head),
      native_(context, state_, opens_, map_),
      commits_(context, state_, map_, native_, std::move(record)),
      hydration_(context, state_, map_, commits_, range_lock_),
      merging_(state_, map_, commits_) {}

Volume::~Volume() = default;

// --- size --------------------------------------------------------------------------------------

Status Volume::Grow(uint64_t size_bytes) {
  ASSIGN_OR_RETURN(IoScope io, map_.Begin());
  RETURN_IF_ERROR(state_.CheckWritable());
  if (size_bytes > this->size_bytes()) RETURN_IF_ERROR(node_.catalog().CheckReserve());
  io.EnterWrite();
  return GrowTo(size_bytes);
}

Status Volume::GrowTo(uint64_t size_bytes) {
  native_.RefreshFromFile();
  MutexLock growing(map_.grow_mu());
  if (size_bytes <= this->size_bytes()) return OkStatus();
  const VolumeRecord now = record();
  const VolumeType* const type = node_.FindType(now.type);
  const uint64_t greatest = type != nullptr ? type->greatest_bytes : kMaxVolumeBytes;
  if (size_bytes > greatest) {
    return Error{Errc::kFileTooBig,
                 StrCat(now.name, ": cannot grow to ", size_bytes, " bytes: volumes of type ",
                        now.type, " have at most ", greatest)};
  }
  RETURN_IF_ERROR(head()->SetSize(size_bytes));
  map_.Grow(size_bytes);
  state_.SetSize(size_bytes);
  state_.Touch();
  commits_.NoteUnsynced();
  return OkStatus();
}

Status Volume::Conclude(Durability durability) {
  if (durability == Durability::kWithSync || Sabotaged(Sabotage::kAckBeforeItsSync)) {
    return OkStatus();
  }
  return Sync();
}

// --- the head's file ---------------------------------------------------------------------------

void Volume::CheckHeadFile() {
  const Epoch::Reader reader = context_.epoch.Enter();
  if (state_.deleted() || state_.read_only()) return;
  const Status named = head()->CheckNamed();
  if (!named.ok()) (void)state_.Fail(named.error(), Errc::kIo);
}

std::vector<Layer*> Volume::LayersOnItsNode() {
  if (state_.deleted()) return {};
  Result<std::vector<Layer*>> chain = LayerChain(context_.layers, head());
  if (!chain.ok()) return {};
  std::erase_if(chain.value(), [this](const Layer* layer) { return layer->node() != &node_; });
  return std::move(chain.value());
}

void Volume::LookForDamageUnder(std::unordered_set<Id>& seen) {
  const Epoch::Reader reader = context_.epoch.Enter();
  for (Layer* const layer : LayersOnItsNode()) {
    if (seen.insert(layer->id()).second) layer->LookForDamage();
  }
}

std::string Volume::DamageUnder() {
  const Epoch::Reader reader = context_.epoch.Enter();
  for (const Layer* const layer : LayersOnItsNode()) {
    if (layer->damage().any()) return layer->damage().text();
  }
  return "";
}

// --- the map goes ------------------------------------------------------------------------------

bool Volume::EvictMap(Nanoseconds idle) {
  if (!map_.loaded()) return false;
  // The look first: Evict refuses if a thread came after it, so the checks need not see such a
  // thread.
  const uint64_t look = map_.Look();
  const bool used = native_.active() || opens_.busy();
  const bool may_go = !used && MapIsRecorded();
  return map_.Evict(look, used, may_go, idle);
}

// Returns whether the catalog of this node would give the same map. Layers that a snapshot froze
// and could not record yet need no check, as the head over them is not recorded either. A layer of
// another node makes it false, as loading would ask that node, which may hang.
bool Volume::MapIsRecorded() const {
  const Epoch::Reader reader = context_.epoch.Enter();
  if (state_.deleted() || state_.read_only() || node_.catalog().fenced()) return false;
  Layer* const top = head();
  const bool pending = top->pending_blocks() > 0 && !Sabotaged(Sabotage::kGiveBackPending);
  if (pending || top->RecordDirty()) return false;
  if (commits_.pinned()) return false;
  // The chain ends, or LoadMap would have refused it.
  for (const Layer* layer = top; layer != nullptr && layer->node() == &node_;) {
    const Id parent = layer->record().parent;
    if (parent == kNoId) return true;
    layer = layer->lost_parent() != nullptr ? nullptr : context_.layers.Find(parent);
  }
  return false;
}

}  // namespace volfs
