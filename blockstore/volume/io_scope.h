#pragma once

#include <utility>

#include "blockstore/sync/epoch.h"
#include "blockstore/sync/gate.h"
#include "blockstore/sync/map_ref_count.h"

namespace volfs {

// The one door to the bytes of a volume: everything that a request holds while it relies on the
// volume's map. LiveMap::Begin makes it. It has three parts, in lock order:
//
//   a reference to the map   keeps a loaded map in memory (map_ref_count.h); held from the start
//   a passage of the gate    keeps the present head in its place (gate.h); by EnterWrite only
//   a reader of the epoch    keeps every layer that a lookup finds (epoch.h); by either Enter
//
// Work that may take long and needs the map only, as making room, is done before the Enter.
// Thread-safety: none. Cost: one atomic addition, later one subtraction, for each of the three.
class [[nodiscard]] IoScope {
 public:
  IoScope(MapRefCount::Ref map, Gate& gate, Epoch& epoch)
      : gate_(gate), epoch_(epoch), map_(std::move(map)) {}
  IoScope(IoScope&&) = default;
  IoScope& operator=(IoScope&&) = delete;

  void EnterRead() { reader_ = epoch_.Enter(); }
  // Waits while the gate is closed. Requires: the caller holds no lock that comes after the gate.
  void EnterWrite() {
    passage_ = gate_.Enter();
    reader_ = epoch_.Enter();
  }
  // Leaves gate and epoch and keeps the map, so that a long request holds up neither a snapshot nor
  // the freeing of space.
  void Leave() {
    reader_.Leave();
    passage_.Leave();
  }

 private:
  Gate& gate_;
  Epoch& epoch_;
  MapRefCount::Ref map_;  // constructed first, destroyed last
  Gate::Passage passage_;
  Epoch::Reader reader_;
};

}  // namespace volfs
