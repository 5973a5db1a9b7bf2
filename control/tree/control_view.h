#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "blockstore/store/store.h"
#include "control/request/last_error.h"
#include "control/tree/control_tree.h"
#include "control/tree/diff_place.h"
#include "control/tree/events.h"
#include "control/tree/held_texts.h"
#include "control/tree/limits.h"
#include "control/tree/metrics.h"

namespace volfs {

// Limits how many texts about the whole store are made at once, however many readers want one. Each
// takes some kilobytes per volume while it is made.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf, is free while a text is made. A
// text never waits for a slow node (NodeCalls::slow), so no caller waits here for one.
class RenderSlots {
 public:
  static constexpr int kMax = 4;

  class [[nodiscard]] Slot {
   public:
    explicit Slot(RenderSlots& slots);
    ~Slot();
    Slot(const Slot&) = delete;
    Slot& operator=(const Slot&) = delete;

   private:
    RenderSlots& slots_;
  };

 private:
  Mutex mu_;
  Condition freed_;
  int free_ VOLFS_GUARDED_BY(mu_) = kMax;
};

// The state that all files of one ControlTree share. Thread-safety: each member is safe by itself
// or constant.
struct ControlState {
  ControlState(Store& store_of_mount, ControlConfig mount_config);

  // Records a refusal for last_error and the counters, and in the log if a backing file failed.
  // `object` is printable.
  void RecordRefusal(uint32_t uid, std::string_view operation, std::string_view object,
                     const Error& error);

  Store& store;
  const ControlConfig config;
  const int64_t started_ns;
  LastError last_error;
  ControlCounters counters;
  Limits limits;
  HeldTexts texts;
  RenderSlots render_slots;
  DiffSlots diff_slots;
  // Shared with the store's listener, which may be called until the store is gone.
  const std::shared_ptr<EventFeed> feed = std::make_shared<EventFeed>();
};

// The store as one call (a stat, a listing, an open) sees it. Each value is fetched at most once,
// when it is first needed.
//
// Thread-safety: none; it lives on one thread's stack.
class ControlView {
 public:
  // `viewer` is the caller that opens a file, and outlives this view. Null means the daemon's own
  // view, which sees everything.
  explicit ControlView(ControlState& state, const Caller* viewer = nullptr)
      : state_(state), viewer_(viewer) {}

  [[nodiscard]] ControlState& state() const { return state_; }
  // Returns the user whose refusals last_error may show; nothing means every user's.
  [[nodiscard]] std::optional<uint32_t> only_uid() const;
  const std::vector<VolumeInfo>& Volumes();      // by name
  const std::vector<SnapshotInfo>& Snapshots();  // measured; by their volume's name
  const std::vector<NodeInfo>& Nodes();
  const VolumeInfo& Info(Volume& volume);
  // Returns it measured; if it is gone by now, as `snapshot` says.
  const SnapshotInfo& Info(const SnapshotInfo& snapshot);
  const NodeInfo& Info(const Node& node);

 private:
  ControlState& state_;
  const Caller* const viewer_;
  std::optional<std::vector<VolumeInfo>> volumes_;
  std::optional<std::vector<SnapshotInfo>> snapshots_;
  std::optional<std::vector<NodeInfo>> nodes_;
  // The ones that were fetched last.
  std::optional<VolumeInfo> volume_;
  std::optional<SnapshotInfo> snapshot_;
  NodeInfo no_node_;
};

}  // namespace volfs
