// What the store can say and do while a node does not answer.
#include "blockstore/log.h"
#include "blockstore/store.h"

namespace volfs {

Node* Store::SourceNodeOf(Id clone) {
  MutexLock lock(mu_);
  const auto found = clones_.find(clone);
  return found == clones_.end() ? nullptr : found->second.source_node;
}

void Store::CommitAnswering() {
  for (const auto& volume : Volumes()) {
    if (!volume->node().CheckAnswers().ok()) continue;
    Status done = volume->Sync();
    if (done.ok()) done = volume->SyncAttributes();
    if (!done.ok()) LogError(Text("ending: ", volume->name(), ": ", done.error().message));
  }
}

}  // namespace volfs
