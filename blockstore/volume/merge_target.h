#pragma once

#include <functional>

#include "blockstore/base/error.h"
#include "blockstore/volume/committer.h"
#include "blockstore/volume/context.h"
#include "blockstore/volume/live_map.h"
#include "blockstore/volume/state.h"

namespace volfs {

class LayerMerge;

// The methods of a volume that the merging of its layers calls (layer_merger.h). Requires, for all
// of them: Node::tree_gate() is closed.
//
// Thread-safety: all methods from any thread. Has no lock of its own: SinkHead takes the slot of
// Committer, then the gate of LiveMap.
class MergeTarget {
 public:
  MergeTarget(VolumeState& state, LiveMap& map, Committer& commits)
      : state_(state), map_(map), commits_(commits) {}
  MergeTarget(const MergeTarget&) = delete;
  MergeTarget& operator=(const MergeTarget&) = delete;

  // As LiveMap::Redirect.
  void Redirect(const BlockRange& range, LayerRef from, LayerRef to) {
    map_.Redirect(range, from, to);
  }
  // Keeps the volume from making batches, which would commit its layers as they were.
  [[nodiscard]] Committer::Exclusive StopBatches() { return commits_.Take(); }
  // As Committer::Recorded.
  [[nodiscard]] bool Recorded() { return commits_.Recorded(); }
  // Moves all blocks of the head into the layer under it, which becomes the head, and commits that.
  // Writers wait meanwhile. `merge` is of the two layers. An error leaves all as it was. Returns
  // kBusy if the writes in flight do not end within Node::kTreePatience, or if `small` returns
  // false because the head has too many blocks for writers to wait.
  Status SinkHead(LayerMerge& merge, const std::function<Result<bool>()>& small);

 private:
  Status SinkHeadClosed(const Committer::Exclusive& alone, LayerMerge& merge,
                        const std::function<Result<bool>()>& small);

  VolumeState& state_;
  LiveMap& map_;
  Committer& commits_;
};

}  // namespace volfs
