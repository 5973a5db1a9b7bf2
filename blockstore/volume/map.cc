// The map of a volume: loaded when it is used, given back when it was not for long. In between, all
// that it says is in the catalogs.
#include <cassert>
#include <utility>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/layer/map_loader.h"
#include "blockstore/volume/volume.h"

namespace volfs {

// The use first: from then on nobody takes away what it finds, or loads.
Result<MapRefCount::Ref> Volume::AcquireMap() {
  MapRefCount::Ref use = map_refs_.Enter();
  if (!map_refs_.loaded()) RETURN_IF_ERROR(Load());
  return use;
}

Status Volume::Load() {
  MutexLock loading(load_mu_);
  if (map_refs_.loaded()) return OkStatus();
  if (state_.refused()) return Error{Errc::kCorrupt, StrCat(name(), ": ", state_.failure())};
  const Gate::Passage tree = node_.tree_gate().Enter();
  const Epoch::Reader reader = context_.epoch.Enter();
  // Its layers may be gone, but for those who have it open.
  if (state_.deleted() && !opens_.any()) {
    return Error{Errc::kNotFound, StrCat(name(), ": it was deleted")};
  }
  Layer* const top = head();
  assert(top->pending_blocks() == 0 || Sabotaged(Sabotage::kGiveBackPending));
  Result<ExtentMap> map = LoadMap(context_.layers, top, context_.block_size);
  if (!map.ok()) {
    if (map.error().code == Errc::kCorrupt) state_.Refuse(map.error().message);
    return map.error();
  }
  SetMap(std::move(map.value()));
  return OkStatus();
}

void Volume::SetMap(ExtentMap map) {
  WriterLock lock(map_mu_);
  map_ = std::move(map);
  map_refs_.Loaded();
}

ExtentMap Volume::MapCopy() {
  ReaderLock lock(map_mu_);
  return map_;
}

bool Volume::EvictMap(Nanoseconds idle) {
  if (!map_refs_.loaded()) return false;
  ExtentMap gone;  // outlives the locks: to free a large one takes long
  MutexLock loading(load_mu_);
  const uint64_t uses = map_refs_.Look();
  const bool used = MapRefCount::InUse(uses) || OpenOrChanging();
  const Nanoseconds now = MonotonicNow();
  if (used || uses != last_uses_) idle_since_ = now;
  last_uses_ = uses;
  if (used || now - idle_since_ < idle || !MapIsRecorded()) return false;
  if (!map_refs_.TakeAway(uses)) return false;
  WriterLock lock(map_mu_);
  std::swap(map_, gone);
  return true;
}

bool Volume::OpenOrChanging() const { return native() || opens_.busy(); }

// Would the catalog of this node say the same? Layers that an instant froze and could not record
// yet (unrecorded_) need no look: the head over them is not recorded either. Of a layer of another
// node, that node's catalog would be asked, which may hang; so nothing else is asked of it here.
bool Volume::MapIsRecorded() const {
  const Epoch::Reader reader = context_.epoch.Enter();
  if (state_.deleted() || state_.read_only() || node_.catalog().fenced()) return false;
  Layer* const top = head();
  const bool pending = top->pending_blocks() > 0 && !Sabotaged(Sabotage::kGiveBackPending);
  if (pending || top->RecordDirty()) return false;
  {
    MutexLock lock(meta_mu_);
    if (!pins_.empty()) return false;
  }
  // It ends, or LoadMap would have refused it.
  for (const Layer* layer = top; layer != nullptr && layer->node() == &node_;) {
    const Id parent = layer->record().parent;
    if (parent == kNoId) return true;
    layer = layer->lost_parent() != nullptr ? nullptr : context_.layers.Find(parent);
  }
  return false;
}

}  // namespace volfs
