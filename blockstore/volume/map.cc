// The map of a volume: loaded when it is used, given back when it was not for long. In between, all
// that it says is in the catalogs.
#include <cassert>
#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/layer/map_loader.h"
#include "blockstore/volume/volume.h"

namespace volfs {

bool Volume::EvictMap(Nanoseconds idle) {
  if (!map_.loaded()) return false;
  // The look first: what a thread does that comes after it is not looked for.
  const uint64_t look = map_.Look();
  const bool used = native_.active() || opens_.busy();
  const bool may_go = !used && MapIsRecorded();
  return map_.Evict(look, used, may_go, idle);
}

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
