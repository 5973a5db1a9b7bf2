#pragma once

#include <utility>

#include "blockstore/sync/epoch.h"
#include "blockstore/sync/gate.h"
#include "blockstore/sync/map_ref_count.h"

namespace volfs {

// The one door to the bytes of a volume: what a request holds while it relies on the volume's map.
// LiveMap::Begin makes it. In lock order:
//
//   a reference to the map   what is in memory stays there (map_ref_count.h); held from the start
//   a passage of the gate    no other head takes the place of the present one (gate.h); EnterWrite
//   a reader of the epoch    no layer that a lookup finds is freed (epoch.h); both
//
// What may take long and needs no more than the map, as making room, is done before it is entered.
// Thread-safety: none. Cost: one atomic addition, later one subtraction, for each of the three.
class [[nodiscard]] IoScope {
 public:
  IoScope(MapRefCount::Ref map, Gate& gate, Epoch& epoch)
      : gate_(gate), epoch_(epoch), map_(std::move(map)) {}
  IoScope(IoScope&&) = default;
  IoScope& operator=(IoScope&&) = delete;

  void EnterRead() { reader_ = epoch_.Enter(); }
  // Waits while the gate is closed: the caller holds no lock of a greater rank.
  void EnterWrite() {
    passage_ = gate_.Enter();
    reader_ = epoch_.Enter();
  }
  // Keeps the map only, so that a long request holds up neither a snapshot nor freeing.
  void Leave() {
    reader_.Leave();
    passage_.Leave();
  }

 private:
  Gate& gate_;
  Epoch& epoch_;
  MapRefCount::Ref map_;  // the first one taken, the last one left
  Gate::Passage passage_;
  Epoch::Reader reader_;
};

}  // namespace volfs
