#include "blockstore/volume/merge_target.h"

#include <cassert>
#include <utility>

#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/layer/layer_merge.h"

namespace volfs {

Status MergeTarget::SinkHead(LayerMerge& merge, const std::function<Result<bool>()>& small) {
  const Committer::Exclusive alone = commits_.Take();
  RETURN_IF_ERROR(state_.CheckWritable());
  RETURN_IF_ERROR(commits_.CommitBatch(
      alone, {}));  // with writers running: the batch that they wait for is short then
  ASSIGN_OR_RETURN(const bool still_small, small());
  if (!still_small) return Error{Errc::kBusy, "it is written all the time"};
  Gate::Closure closed;
  if (!Sabotaged(Sabotage::kMergeHeadWritten)) {
    ASSIGN_OR_RETURN(closed, map_.CloseGate(Node::kTreePatience));
  }
  return SinkHeadClosed(alone, merge, small);
}

Status MergeTarget::SinkHeadClosed(const Committer::Exclusive& alone, LayerMerge& merge,
                                   const std::function<Result<bool>()>& small) {
  RETURN_IF_ERROR(commits_.CommitBatch(alone, {}));
  ASSIGN_OR_RETURN(const bool still_small, small());
  if (!still_small) return Error{Errc::kBusy, "it is written all the time"};
  if (state_.deleted()) return Error{Errc::kNotFound, StrCat(state_.name(), ": it was deleted")};
  assert(map_.head() == merge.from() && commits_.Recorded(alone));
  RETURN_IF_ERROR(merge.Find());
  Layer* const under = merge.to();
  if (const Status copied = merge.CopyAll(); !copied.ok()) {
    merge.Abandon();
    return copied;
  }
  CatalogChange change = merge.Change();
  VolumeRecord next = state_.record();
  next.head = under->id();
  change.emplace_back(PutVolume{next});
  change.emplace_back(DeleteLayer{merge.from()->id()});
  if (const Status done = commits_.Commit(alone, change); !done.ok()) {
    if (RefusedCleanly(done.error())) merge.Abandon();
    return done;
  }
  state_.SetHead(next.head);
  commits_.SetCommitted(alone, std::move(next));
  merge.Settle();
  for (const PresenceRun& run : merge.slice().moved) {
    map_.Redirect({run.first, run.count}, merge.from()->ref(), merge.RefOf(run));
  }
  map_.Sink(under);
  return OkStatus();
}

}  // namespace volfs
