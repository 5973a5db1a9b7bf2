#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "blockstore/base/runtime.h"
#include "blockstore/base/units.h"

namespace volfs {

// Tells of a change, for watchers, and for caches of the layers above. The store's notifier thread
// sends events in order, with no lock held.
struct StoreEvent {
  uint64_t seq = 0;     // counts the events of this store from 1
  int64_t time_ns = 0;  // since 1970
  std::string event{};  // created, deleted, renamed, resized, snapshot, clone, status, node, ...
  std::string volume{};
  Id id = kNoId;
  std::string status{};
  // Set in the event `node`, which tells that a node has begun or ceased to work.
  std::string node{};
  std::string error{};  // the reason, also of a `status` that is `error`
};

// The events of one store, in order, and the thread that tells them to the one listener. Events
// live in memory only: those of an earlier mount are gone.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf, not held while the listener runs.
// Cost of Emit: one short lock. Memory: the events that the listener has not been told yet.
class EventQueue {
 public:
  using Listener = std::function<void(const StoreEvent&)>;

  EventQueue() = default;
  ~EventQueue();  // Stop
  EventQueue(const EventQueue&) = delete;
  EventQueue& operator=(const EventQueue&) = delete;

  // Sets the listener. Called once, by the layer above.
  void SetListener(Listener listener) VOLFS_EXCLUDES(mu_);
  // Starts the thread. Events that were emitted before wait for it.
  void Start() VOLFS_EXCLUDES(mu_);
  // Returns after the last event was told. Requires: no event is emitted afterwards.
  void Stop() VOLFS_EXCLUDES(mu_);

  // Numbers and dates `event`, and queues it.
  void Emit(StoreEvent event) VOLFS_EXCLUDES(mu_);
  void Emit(std::string event, const std::string& volume, Id id, std::string status)
      VOLFS_EXCLUDES(mu_);

 private:
  void Notify() VOLFS_EXCLUDES(mu_);

  Mutex mu_;
  Condition changed_;
  std::deque<StoreEvent> events_ VOLFS_GUARDED_BY(mu_);
  Listener listener_ VOLFS_GUARDED_BY(mu_);
  uint64_t seq_ VOLFS_GUARDED_BY(mu_) = 0;
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
  Thread notifier_;
};

}  // namespace volfs
