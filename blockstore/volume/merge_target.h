#pragma once

#include <functional>

#include "blockstore/base/error.h"
#include "blockstore/volume/committer.h"
#include "blockstore/volume/context.h"
#include "blockstore/volume/live_map.h"
#include "blockstore/volume/state.h"

namespace volfs {

class LayerMerge;

// What the merging of layers does with a volume whose map leads to one of them (layer_merger.h).
// All of it with Node::tree_gate() closed.
//
// Thread-safety: all methods from any thread. Has no lock of its own: SinkHead has the slot, then
// the gate.
class MergeTarget {
 public:
  MergeTarget(VolumeState& state, LiveMap& map, Committer& commits)
      : state_(state), map_(map), commits_(commits) {}
  MergeTarget(const MergeTarget&) = delete;
  MergeTarget& operator=(const MergeTarget&) = delete;

  // Blocks of `range` that are in `from` are in `to` from now on; kHole: they read as zeros.
  void Redirect(const BlockRange& range, LayerRef from, LayerRef to) {
    map_.Redirect(range, from, to);
  }
  // Keeps the volume from making batches, which would commit its layers as they were.
  [[nodiscard]] Committer::Exclusive StopBatches() { return commits_.Take(); }
  // Returns whether every layer that a snapshot of this volume froze is in the catalog, with all
  // that it has.
  [[nodiscard]] bool Recorded() { return commits_.Recorded(); }
  // Puts the layer under the head into its place, with what the head has: `merge` is of the two.
  // Writers wait meanwhile. An error leaves all as it was. kBusy if the writes in flight do not end
  // within Node::kTreePatience, or if `small` says that what the head has is too much to wait for.
  Status SinkHead(LayerMerge& merge, const std::function<Result<bool>()>& small);

 private:
  Status SinkHeadClosed(const Committer::Exclusive& alone, LayerMerge& merge,
                        const std::function<Result<bool>()>& small);

  VolumeState& state_;
  LiveMap& map_;
  Committer& commits_;
};

}  // namespace volfs
