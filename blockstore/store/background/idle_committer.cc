#include "blockstore/store/background/idle_committer.h"

#include <algorithm>
#include <utility>

#include "blockstore/node/node.h"
#include "blockstore/volume/volume.h"

namespace volfs {

IdleCommitter::IdleCommitter(Node& node, Nanoseconds idle, Find find)
    : node_(node), idle_(idle), find_(std::move(find)) {
  thread_ = Thread("idle-commit", [this] { Work(); });
}

IdleCommitter::~IdleCommitter() {
  node_.unsynced().Stop();
  thread_.Join();
}

void IdleCommitter::Work() {
  Nanoseconds rest = idle_;
  while (node_.unsynced().Wait()) {
    if (!node_.unsynced().Pause(rest)) return;
    rest = Look();
  }
}

Nanoseconds IdleCommitter::Look() {
  // A commit would only wait behind the call that hangs on the node.
  if (!node_.CheckAnswers().ok()) return kLongestRest;
  for (const Id id : node_.unsynced().Take()) {
    const std::shared_ptr<Volume> volume = find_(id);
    if (volume == nullptr) last_changes_.erase(id);
    if (volume == nullptr || !IsIdle(*volume)) continue;
    if (!node_.unsynced().Pause(Commit(*volume))) break;
  }
  return idle_;
}

// Returns whether the volume has work and was not written since the last look. Notes a volume that
// was written anew.
bool IdleCommitter::IsIdle(Volume& volume) {
  // Before the look, so that a writer that makes work after it notes the volume again.
  volume.commits().ForgetNote();
  if (volume.commits().PendingWork() == 0) {
    last_changes_.erase(volume.id());
    return false;
  }
  const int64_t change = volume.state().last_change();
  const auto [last, first_look] = last_changes_.try_emplace(volume.id(), change);
  if (!first_look && last->second == change) {
    last_changes_.erase(last);
    return true;
  }
  last->second = change;
  volume.commits().NoteUnsynced();
  return false;
}

// Commits the volume. Returns how long to rest after that.
Nanoseconds IdleCommitter::Commit(Volume& volume) {
  const Nanoseconds start = MonotonicNow();
  const Status done = volume.Sync();
  if (done.ok()) return std::min(kLongestRest, (MonotonicNow() - start) * kRests);
  return kLongestRest;  // the maintainer emits the volume's trouble(), and tries again
}

}  // namespace volfs
