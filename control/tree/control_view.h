#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "blockstore/store/store.h"
#include "control/request/last_error.h"
#include "control/tree/control_tree.h"
#include "control/tree/events.h"
#include "control/tree/held_texts.h"
#include "control/tree/limits.h"
#include "control/tree/metrics.h"

namespace volfs {

// How many texts about the whole store are made at once: each takes some kilobytes a volume while
// it is made, however many want to have one.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; held by nobody while a text is
// made. A text waits for no node that is slow (NodeCalls::slow), so nobody waits here for one.
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

// What all files of one ControlTree share. Thread-safety: all members are safe by themselves or
// constant.
struct ControlState {
  ControlState(Store& store_of_mount, ControlConfig mount_config);

  // For last_error and the counters; the log too, if a backing file failed. `object` is printable.
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
  // Shared with the store's listener, which may be called until the store is gone.
  const std::shared_ptr<EventFeed> feed = std::make_shared<EventFeed>();
};

// The store as it is while one call (a stat, a listing, an open) looks at it: each thing is asked
// for at most once, when it is needed first.
//
// Thread-safety: none; lives on one thread's stack.
class ControlView {
 public:
  // `viewer` is the one who opens a file, and lives as long as this; null: the view is the daemon's
  // own, which sees everything.
  explicit ControlView(ControlState& state, const Caller* viewer = nullptr)
      : state_(state), viewer_(viewer) {}

  [[nodiscard]] ControlState& state() const { return state_; }
  // Of whom last_error may tell; nothing: of everybody.
  [[nodiscard]] std::optional<uint32_t> only_uid() const;
  const std::vector<VolumeInfo>& Volumes();  // by name
  const std::vector<NodeInfo>& Nodes();
  const VolumeInfo& Info(Volume& volume);
  const NodeInfo& Info(const Node& node);

 private:
  ControlState& state_;
  const Caller* const viewer_;
  std::optional<std::vector<VolumeInfo>> volumes_;
  std::optional<std::vector<NodeInfo>> nodes_;
  std::optional<VolumeInfo> volume_;  // the one that was asked for last
  NodeInfo no_node_;
};

}  // namespace volfs
