#include "blockstore/store/store.h"

#include <cassert>
#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/store/clone_jobs.h"
#include "blockstore/store/recovery.h"

namespace volfs {

Store::Store(std::vector<std::unique_ptr<Node>> nodes, const StoreOptions& options)
    : parts_(std::move(nodes), options,
             [this](const std::shared_ptr<CloneJob>& job) { OnJobOver(parts_, job); }) {
  for (const auto& node : parts_.nodes) {
    const bool tidies = node == parts_.nodes.front() && !options.read_only;
    maintainers_.push_back(std::make_unique<Maintainer>(
        *node, Maintainer::Context{
                   parts_.events, tidies ? &parts_.garbage : nullptr, [this] { return Volumes(); },
                   [this](Volume& volume) { return Info(volume).status; }, options.map_idle}));
  }
}

Result<std::unique_ptr<Store>> Store::Open(std::vector<std::unique_ptr<Node>> nodes,
                                           const StoreOptions& options) {
  assert(!nodes.empty());
  std::unique_ptr<Store> store(new Store(std::move(nodes), options));
  RETURN_IF_ERROR(Recovery(store->parts_).Run());
  for (const auto& node : store->nodes()) {
    if (node->catalog().read_only()) continue;
    RETURN_IF_ERROR(node->catalog().Commit({PutSetting{kCleanKey, "0"}}, Room::kFree));
  }
  for (const auto& maintainer : store->maintainers_) maintainer->Prepare();
  store->Start();
  return store;
}

void Store::Start() {
  const StoreOptions& options = parts_.options;
  parts_.events.Start();
  for (size_t i = 0; i < parts_.nodes.size(); ++i) {
    Node& node = *parts_.nodes[i];
    maintainers_[i]->Start();
    if (options.read_only) continue;
    if (options.merge) mergers_.push_back(std::make_unique<LayerMerger>(parts_, node));
    if (options.commit_idle == kForever) continue;
    idle_committers_.push_back(std::make_unique<IdleCommitter>(node, options.commit_idle,
                                                               [this](Id id) { return Find(id); }));
  }
  if (options.hydrate && !options.read_only) StartJobs(parts_);
}

Store::~Store() { (void)Close(); }

Status Store::Close() {
  if (std::exchange(closed_, true)) return OkStatus();
  mergers_.clear();
  idle_committers_.clear();
  parts_.hydrator.Stop();
  for (const auto& maintainer : maintainers_) maintainer->Stop();
  parts_.events.Stop();
  const std::vector<std::string> unsaved = CommitAll(Silent::kWaitedFor);
  for (const std::string& what : unsaved) LogError(StrCat("unmounting: not durable: ", what));
  bool clean = unsaved.empty();
  for (const auto& volume : Volumes()) {
    volume->commits().ReleasePins();  // before SyncPunched, as pins free space
    clean = clean && !volume->native().closed_by_mount();
  }
  clean = clean && parts_.garbage.gone();
  for (const auto& node : parts_.nodes) clean = clean && node->trusted();
  if (const Status synced = parts_.reclaimer.SyncPunched(); !synced.ok()) {
    clean = false;
    LogWarning(StrCat("unmounting: ", synced.error().message));
  }
  // Only a stop that left nothing to tidy up is a clean one (recovery.h).
  for (const auto& node : parts_.nodes) {
    if (!clean || parts_.options.read_only || node->catalog().fenced()) continue;
    (void)node->catalog().Commit({PutSetting{kCleanKey, "1"}}, Room::kFree);
  }
  if (unsaved.empty()) return OkStatus();
  const std::string more =
      unsaved.size() == 1 ? "" : StrCat(" (and ", unsaved.size() - 1, " more)");
  return Error{Errc::kIo, StrCat("not durable: ", unsaved.front(), more)};
}

}  // namespace volfs
