#include "blockstore/store/clone_jobs.h"

#include <utility>
#include <vector>

#include "blockstore/base/log.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/layer/map_loader.h"

namespace volfs {
namespace {

// Releases the hold on the source's node, if that is mounted.
Status ReleaseHold(StoreParts& parts, const CloneEntry& entry, Id clone, Node& clone_node,
                   Layer* head) {
  if (entry.source_node == nullptr) return OkStatus();
  RETURN_IF_ERROR(entry.source_node->catalog().Commit({DeleteHold{clone}}, Room::kFree));
  if (entry.held == nullptr) return OkStatus();
  // Readers of the clone may still be in the source's layers.
  if (!Sabotaged(Sabotage::kFreeUnderReaders)) clone_node.epoch().Synchronize();
  if (head != nullptr) parts.tree.RemoveChild(entry.held, head);
  return parts.reclaimer.RemovePin(entry.held);
}

void CompleteClone(StoreParts& parts, Id clone) {
  CloneEntry entry;
  std::shared_ptr<Volume> volume;
  {
    MutexLock lock(parts.tables.mu);
    const CloneEntry* const found = parts.tables.clones.Find(clone);
    if (found == nullptr) return;
    entry = *found;
    volume = parts.tables.names.Find(clone);
  }
  Status done = ReleaseHold(parts, entry, clone, volume->node(),
                            &volume->node() == entry.source_node ? volume->head() : nullptr);
  if (done.ok()) done = volume->node().catalog().Commit({DeleteClone{clone}}, Room::kFree);
  if (!done.ok()) {
    // The clone is whole, but the catalogs do not say so yet: the next mount completes that.
    LogError(StrCat("clone ", volume->name(), " is complete, but its hold on node ",
                    entry.record.source_node_name,
                    " could not be released: ", done.error().message));
  }
  {
    MutexLock lock(parts.tables.mu);
    parts.tables.clones.Remove(clone);
    parts.tables.clones.UnlockOf(entry.lock, clone);
  }
  parts.events.Emit("status", volume->name(), clone, "available");
}

}  // namespace

CloneJob::Context CopyContext(StoreParts& parts) {
  return {parts.hydrator.throttle(), parts.block_size, parts.options.copy_piece_bytes};
}

void StartJobs(StoreParts& parts) {
  std::vector<Id> dependent;
  {
    MutexLock lock(parts.tables.mu);
    for (const auto& [id, entry] : parts.tables.clones.entries()) {
      if (entry.held != nullptr && entry.trouble.empty()) dependent.push_back(id);
    }
  }
  for (const Id id : dependent) StartJob(parts, id);
}

// Requires: the clone still depends on its source, and no job of it runs.
void StartJob(StoreParts& parts, Id clone) {
  CloneEntry entry;
  std::shared_ptr<Volume> volume;
  {
    MutexLock lock(parts.tables.mu);
    entry = *parts.tables.clones.Find(clone);
    volume = parts.tables.names.Find(clone);
  }
  const Gate::Passage tree = entry.held->node()->tree_gate().Enter();
  Result<ExtentMap> map = LoadMap(parts.layers, entry.held, parts.block_size);
  MutexLock lock(parts.tables.mu);
  CloneEntry& now = *parts.tables.clones.Find(clone);
  if (!map.ok()) {
    now.trouble = map.error().message;
    return;
  }
  // shared_ptr: as in PublishClone.
  auto image = std::make_shared<const FrozenImage>(parts.layers, std::move(map.value()),
                                                   entry.record.source_bytes, parts.block_size);
  now.job = std::make_shared<CloneJob>(volume, std::move(image), *entry.source_node, entry.record,
                                       CopyContext(parts));
  now.job->SetCopyRate(now.copy_rate);
  parts.hydrator.Add(now.job);
}

void OnJobOver(StoreParts& parts, const std::shared_ptr<CloneJob>& job) {
  const std::shared_ptr<Volume>& volume = job->clone();
  if (job->state() == CloneJob::State::kDone) return CompleteClone(parts, volume->id());
  if (job->state() != CloneJob::State::kFailed) return;
  {
    // A clone in error keeps its hold, but not its source's lock.
    MutexLock lock(parts.tables.mu);
    CloneTable& clones = parts.tables.clones;
    const CloneEntry* const found = clones.Find(volume->id());
    if (found != nullptr) clones.UnlockOf(found->lock, volume->id());
  }
  parts.events.Emit("status", volume->name(), volume->id(), "error");
}

}  // namespace volfs
