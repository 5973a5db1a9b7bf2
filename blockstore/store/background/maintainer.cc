#include "blockstore/store/background/maintainer.h"

#include <unordered_set>
#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

constexpr Nanoseconds kMaintenanceTick = std::chrono::seconds(1);
// Unsynced work is committed after 4 s, and sooner above kPendingBlocks (ARCHITECTURE.md, section
// 4).
constexpr uint64_t kCommitTicks = 4;
constexpr uint64_t kPendingBlocks = 65536;
constexpr uint64_t kAttributeTicks = 30;
constexpr uint64_t kCheckpointTicks = 20;
constexpr uint64_t kDamageTicks = 30;  // a failing disk may take long for each read

// Returns whether this tick is the last one of a period of `ticks`.
bool EndsPeriod(uint64_t tick, uint64_t ticks) { return tick % ticks == ticks - 1; }

}  // namespace

Maintainer::Maintainer(Node& node, Context context) : node_(node), context_(std::move(context)) {}

Maintainer::~Maintainer() {
  Stop();
  node_.catalog().OnLogLong({});  // the last commits of the store come after this
}

// Makes the reserve at the mount already, before other writers fill the node.
void Maintainer::Prepare() {
  if (node_.catalog().read_only()) return;
  node_.catalog().OnLogLong([this] {
    MutexLock lock(mu_);
    wake_.NotifyAll();
  });
  (void)node_.catalog().RestoreReserve();
  LookAtRoom();
}

void Maintainer::Start() {
  thread_ = Thread("maintain", [this] { Work(); });
}

void Maintainer::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    wake_.NotifyAll();
  }
  if (thread_.joinable()) thread_.Join();
}

void Maintainer::Work() {
  for (uint64_t tick = 0;; ++tick) {
    if (node_.CheckAnswers().ok()) MaintainOnce(tick);
    TellNode();
    for (const auto& volume : context_.volumes()) TellVolume(*volume);
    if (!WaitForTick(MonotonicNow() + kMaintenanceTick)) return;
  }
}

void Maintainer::MaintainOnce(uint64_t tick) {
  node_.LookForLoss();
  if (context_.garbage != nullptr) context_.garbage->Free(tick == 0);
  std::unordered_set<Id> seen;  // a layer may lie under many volumes
  for (const auto& volume : context_.volumes()) {
    if (&volume->node() != &node_) continue;
    LookForDamage(*volume, EndsPeriod(tick, kDamageTicks) ? &seen : nullptr);
    MaintainVolume(*volume, tick);
  }
  if (!node_.catalog().fenced()) MaintainCatalog(tick);
}

void Maintainer::LookForDamage(Volume& volume, std::unordered_set<Id>* seen) {
  if (node_.catalog().fenced() || volume.state().refused()) return;  // these errors say more
  const bool checks = node_.directory().ChecksNames();
  const bool any = node_.damaged_layers() != 0;
  if (checks) volume.CheckHeadFile();
  if (seen != nullptr && (checks || any)) volume.LookForDamageUnder(*seen);
  volume.state().NoteDamage(any ? volume.DamageUnder() : "");
}

void Maintainer::MaintainVolume(Volume& volume, uint64_t tick) {
  const uint64_t work = volume.commits().PendingWork();
  volume.commits().ReleasePins();
  // An error is the volume's trouble(), told by TellVolume.
  if (work > kPendingBlocks || (work > 0 && EndsPeriod(tick, kCommitTicks))) (void)volume.Sync();
  if (EndsPeriod(tick, kAttributeTicks)) (void)volume.commits().SyncAttributes();
  (void)volume.EvictMap(context_.map_idle);
}

void Maintainer::MaintainCatalog(uint64_t tick) {
  if (node_.catalog().missing_reserve_bytes() != 0) {
    // Room that has become free goes to the log and the reserve first.
    (void)node_.catalog().ShortenLog();
    (void)node_.catalog().RestoreReserve();
  }
  LookAtRoom();
  if (!EndsPeriod(tick, kCheckpointTicks)) return;
  // Without room the log just stays; any other error has fenced the node.
  const Status done = node_.catalog().Checkpoint();
  if (!done.ok()) LogWarning(done.error().message);
}

// Waits until `deadline`, and shortens the node's log meanwhile when it is long. Returns false if
// the store ends.
bool Maintainer::WaitForTick(Nanoseconds deadline) {
  for (bool may_shorten = true;;) {
    {
      MutexLock lock(mu_);
      while (!stopping_ && MonotonicNow() < deadline &&
             !(may_shorten && node_.catalog().LogIsLong())) {
        (void)wake_.WaitUntil(mu_, deadline);
      }
      if (stopping_) return false;
    }
    if (MonotonicNow() >= deadline) return true;
    may_shorten = node_.CheckAnswers().ok() && node_.catalog().ShortenLog().ok();
  }
}

void Maintainer::LookAtRoom() {
  const Fullness before = node_.fullness();
  const Fullness now = node_.LookAtRoom();
  if (now == before) return;
  const std::string state = node_.State();
  const uint64_t missing_bytes = node_.catalog().missing_reserve_bytes();
  const std::string reserve =
      missing_bytes == 0
          ? ""
          : StrCat(" (", missing_bytes, " bytes of its reserve are in use or missing)");
  (now == Fullness::kRoomy ? LogInfo : LogWarning)(StrCat(
      "node ", node_.name(), ": ", now == Fullness::kRoomy ? "has room again" : state, reserve));
  constexpr const char* kEvents[] = {"node-has-room", "node-nearly-full", "node-full"};
  context_.events.Emit(kEvents[static_cast<size_t>(now)], "", node_.id(), node_.name());
}

void Maintainer::TellNode() {
  if (node_.Works() == told_node_ok_) return;
  told_node_ok_ = !told_node_ok_;
  const std::string state = node_.State();
  if (!told_node_ok_) LogError(StrCat("node ", node_.name(), ": ", state));
  context_.events.Emit({.event = "node",
                        .status = told_node_ok_ ? "available" : "error",
                        .node = node_.name(),
                        .error = told_node_ok_ ? "" : state});
}

void Maintainer::TellVolume(Volume& volume) {
  if (&volume.node() != &node_) return;
  std::string why = volume.state().trouble();
  const auto known = told_troubles_.find(volume.id());
  if (known == told_troubles_.end() ? why.empty() : why == known->second) return;
  if (!why.empty()) LogError(StrCat(volume.name(), ": ", why));
  context_.events.Emit({.event = "status",
                        .volume = volume.name(),
                        .id = volume.id(),
                        .status = why.empty() ? context_.status(volume) : "error",
                        .error = why});
  told_troubles_[volume.id()] = std::move(why);
}

}  // namespace volfs
