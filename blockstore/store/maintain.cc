// What the store does in the background of each node: it looks for the node's loss, commits by age,
// tells troubles, and tidies up after a crash.
#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/store/store.h"

namespace volfs {
namespace {

constexpr Nanoseconds kMaintenanceTick = std::chrono::seconds(1);
// What is not synced is committed after 5 s, or sooner if it is much (ARCHITECTURE.md).
constexpr uint64_t kCommitTicks = 4;
constexpr uint64_t kPendingBlocks = 65536;
constexpr uint64_t kAttributeTicks = 30;
constexpr uint64_t kCheckpointTicks = 20;

}  // namespace

void Store::Maintain(Node& node) {
  Told told;
  for (uint64_t tick = 0;; ++tick) {
    if (node.CheckAnswers().ok()) MaintainOnce(node, tick);
    TellTroubles(node, told);
    if (!WaitForTick(node, MonotonicNow() + kMaintenanceTick)) return;
  }
}

void Store::MaintainOnce(Node& node, uint64_t tick) {
  node.LookForLoss();
  if (&node == nodes_.front().get()) TidyUp(tick == 0);
  for (const auto& volume : Volumes()) {
    if (&volume->node() != &node) continue;
    const uint64_t work = volume->commits().PendingWork();
    volume->commits().ReleasePins();
    // An error is the volume's trouble(), told by TellTroubles.
    if (work > kPendingBlocks || (work > 0 && tick % kCommitTicks == kCommitTicks - 1))
      (void)volume->Sync();
    if (tick % kAttributeTicks == kAttributeTicks - 1) (void)volume->commits().SyncAttributes();
    (void)volume->EvictMap(options_.map_idle);
  }
  if (node.catalog().fenced()) return;
  if (node.catalog().missing_reserve_bytes() != 0) {
    // What has become free goes to these first.
    (void)node.catalog().ShortenLog();
    (void)node.catalog().RestoreReserve();
  }
  LookAtRoom(node);
  if (tick % kCheckpointTicks != kCheckpointTicks - 1) return;
  // Without room the log just stays; any other error has fenced the node.
  const Status done = node.catalog().Checkpoint();
  if (!done.ok()) LogWarning(done.error().message);
}

// Once for each change, by an event and in the log.
void Store::TellTroubles(const Node& node, Told& told) {
  if (node.Works() != told.node_ok) {
    told.node_ok = !told.node_ok;
    const std::string state = node.State();
    if (!told.node_ok) LogError(StrCat("node ", node.name(), ": ", state));
    Emit({.event = "node",
          .status = told.node_ok ? "available" : "error",
          .node = node.name(),
          .error = told.node_ok ? "" : state});
  }
  for (const auto& volume : Volumes()) {
    if (&volume->node() != &node) continue;
    std::string why = volume->state().trouble();
    const auto known = told.troubles.find(volume->id());
    if (known == told.troubles.end() ? why.empty() : why == known->second) continue;
    if (!why.empty()) LogError(StrCat(volume->name(), ": ", why));
    Emit({.event = "status",
          .volume = volume->name(),
          .id = volume->id(),
          .status = why.empty() ? Info(*volume).status : "error",
          .error = why});
    told.troubles[volume->id()] = std::move(why);
  }
}

// What a crash left: space that nobody can reach, and writes that were never committed.
void Store::TidyUp(bool first) {
  std::vector<Unpunched> todo;
  {
    MutexLock lock(mu_);
    if (tidy_ || options_.read_only) return;
    std::swap(todo, unpunched_);
  }
  bool done = true;
  const auto note = [&done](const Status& status) {
    if (status.ok()) return;
    LogWarning(status.error().message);
    done = false;  // the next mount tries again
  };
  if (first) note(reclaimer_->ReclaimAll());
  std::vector<Unpunched> later;
  for (Unpunched& what : todo) {
    const Result<bool> punched = PunchGarbage(what);
    if (!punched.ok()) {
      note(punched.error());
    } else if (!punched.value()) {
      later.push_back(std::move(what));
    }
  }
  MutexLock lock(mu_);
  tidy_failed_ = tidy_failed_ || !done;
  tidy_ = !tidy_failed_ && later.empty();
  unpunched_ = std::move(later);
}

// False: not now.
Result<bool> Store::PunchGarbage(const Unpunched& what) {
  // Of those, too, that nobody opens in this mount: the next one will not know of the unclean stop.
  RETURN_IF_ERROR(reclaimer_->ForgetCache(what.layer));
  if (what.volume != nullptr) {
    ASSIGN_OR_RETURN(const bool was_head, what.volume->hydration().PunchGarbage(what.layer));
    if (was_head) return true;
    // A snapshot has frozen it since. What it has is in the catalog once that is committed.
    if (!what.volume->commits().Recorded()) return false;
  }
  RETURN_IF_ERROR(reclaimer_->PunchGarbage(what.layer));
  return true;
}

}  // namespace volfs
