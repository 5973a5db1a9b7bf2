#include "control/tree/control_view.h"

#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"

namespace volfs {

RenderSlots::Slot::Slot(RenderSlots& slots) : slots_(slots) {
  MutexLock lock(slots_.mu_);
  while (slots_.free_ == 0) slots_.freed_.Wait(slots_.mu_);
  --slots_.free_;
}

RenderSlots::Slot::~Slot() {
  MutexLock lock(slots_.mu_);
  ++slots_.free_;
  slots_.freed_.NotifyAll();
}

ControlState::ControlState(Store& store_of_mount, ControlConfig mount_config)
    : store(store_of_mount),
      config(std::move(mount_config)),
      started_ns(WallNow().count()),
      limits(store_of_mount, config.options),
      texts(config.uid) {}

void ControlState::RecordRefusal(uint32_t uid, std::string_view operation, std::string_view object,
                                 const Error& error) {
  last_error.Add(uid, operation, object, error);
  counters.CountRefusal(error.code);
  if (error.code == Errc::kIo || error.code == Errc::kCorrupt) {
    LogError(StrCat(operation, object.empty() ? "" : " ", object, ": ", error.message));
  }
}

std::optional<uint32_t> ControlView::only_uid() const {
  const ControlConfig& config = state_.config;
  if (viewer_ == nullptr || Administers(*viewer_, config.uid, config.control_gid)) {
    return std::nullopt;
  }
  return viewer_->uid;
}

const std::vector<VolumeInfo>& ControlView::Volumes() {
  if (!volumes_) {
    volumes_.emplace();
    for (const std::shared_ptr<Volume>& volume : state_.store.Volumes()) {
      volumes_->push_back(state_.store.Info(*volume));
    }
  }
  return *volumes_;
}

const std::vector<SnapshotInfo>& ControlView::Snapshots() {
  if (!snapshots_) snapshots_ = state_.store.MeasureSnapshots();
  return *snapshots_;
}

const std::vector<NodeInfo>& ControlView::Nodes() {
  if (!nodes_) nodes_ = state_.store.Nodes();
  return *nodes_;
}

const VolumeInfo& ControlView::Info(Volume& volume) {
  if (!volume_ || volume_->id != volume.id()) volume_ = state_.store.Info(volume);
  return *volume_;
}

const SnapshotInfo& ControlView::Info(const SnapshotInfo& snapshot) {
  if (!snapshot_ || snapshot_->id != snapshot.id) {
    snapshot_ = state_.store.MeasureSnapshot(snapshot.id).value_or(snapshot);
  }
  return *snapshot_;
}

const NodeInfo& ControlView::Info(const Node& node) {
  for (const NodeInfo& info : Nodes()) {
    if (info.uuid == node.uuid()) return info;
  }
  return no_node_;
}

}  // namespace volfs
