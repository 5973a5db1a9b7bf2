// What volumes take, what of it is theirs alone, and how much room their nodes have left.
#include <set>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/store/store.h"

namespace volfs {

SpaceInfo SpaceOfAll(const std::vector<NodeInfo>& nodes) {
  SpaceInfo sum;
  std::set<std::pair<std::string, uint64_t>> counted;
  for (const NodeInfo& node : nodes) {
    const bool known = !node.filesystem.empty();
    if (known && !counted.emplace(node.filesystem, node.space.size_bytes).second) continue;
    sum.size_bytes += node.space.size_bytes;
    sum.free_bytes += node.space.free_bytes;
  }
  return sum;
}

// Of one that is being deleted nothing: its layers may be gone.
uint64_t Store::ExclusiveBytes(Volume& volume) {
  const Epoch::Reader reader = volume.node().epoch().Enter();
  if (volume.opens().deleting() || volume.state().refused()) return 0;
  // It is a lower bound: who looks shall not wait for a catalog that somebody else waits for.
  if (volume.node().directory().calls()->slow()) return 0;
  const Result<uint64_t> bytes = reclaimer_->ExclusiveBytes(volume.head());
  return bytes.ok() ? bytes.value() : 0;
}

std::vector<NodeInfo> Store::Nodes() {
  std::vector<NodeInfo> infos;
  for (const auto& node : nodes_) {
    const NodeRecord& r = node->record();
    NodeInfo info{node->id(), r.uuid, r.name, node->path(), r.region, node->State(), r.types, {}};
    info.waiting_seconds = node->directory().calls()->waiting_seconds();
    info.filesystem = node->directory().FilesystemName();
    info.works = node->Works();
    info.fullness = node->fullness();
    info.missing_reserve_bytes = node->catalog().missing_reserve_bytes();
    if (const Result<SpaceInfo> space = node->Space(); space.ok()) {
      info.space = space.value();
    } else if (info.works) {
      info.works = false;
      info.state = space.error().message;
    }
    infos.push_back(std::move(info));
  }
  return infos;
}

// Made again at a mount, so that who fills the node next does not find it without.
void Store::PrepareRoom(Node& node) {
  if (node.catalog().read_only()) return;
  node.catalog().OnLogLong([this] {
    MutexLock lock(event_mu_);
    maintain_now_.NotifyAll();
  });
  (void)node.catalog().RestoreReserve();
  LookAtRoom(node);
}

void Store::LookAtRoom(Node& node) {
  const Fullness before = node.fullness();
  const Fullness now = node.LookAtRoom();
  if (now == before) return;
  const std::string state = node.State();
  const uint64_t missing_bytes = node.catalog().missing_reserve_bytes();
  const std::string reserve =
      missing_bytes == 0
          ? ""
          : StrCat(" (", missing_bytes, " bytes of its reserve are in use or missing)");
  (now == Fullness::kRoomy ? LogInfo : LogWarning)(StrCat(
      "node ", node.name(), ": ", now == Fullness::kRoomy ? "has room again" : state, reserve));
  constexpr const char* kEvents[] = {"node-has-room", "node-nearly-full", "node-full"};
  Emit(kEvents[static_cast<size_t>(now)], "", node.id(), node.name());
}

// Shortens the node's log meanwhile, when that is long. False: the store ends.
bool Store::WaitForTick(Node& node, Nanoseconds deadline) {
  for (bool may_shorten = true;;) {
    {
      MutexLock lock(event_mu_);
      while (!stopping_ && MonotonicNow() < deadline &&
             !(may_shorten && node.catalog().LogIsLong())) {
        (void)maintain_now_.WaitUntil(event_mu_, deadline);
      }
      if (stopping_) return false;
    }
    if (MonotonicNow() >= deadline) return true;
    may_shorten = node.CheckAnswers().ok() && node.catalog().ShortenLog().ok();
  }
}

}  // namespace volfs
