#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "blockstore/base/runtime.h"
#include "blockstore/store/store.h"

namespace volfs {

// The last events of the store as JSON lines, for the readers of control/watch/events.
//
// Each reader has a cursor. One that reads more slowly than events come finds the line of an event
// `lost` with their number in `lost` where the missing ones would be.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; it guards the cursors too. Cost
// of Add: one JSON line. Memory: kKept lines.
class EventRing {
 public:
  static constexpr size_t kKept = 1024;

  class Cursor {
    friend class EventRing;
    uint64_t next = 0;  // counted since the ring was made; guarded by the ring's mu_
    std::string rest;   // of a line that was read in part
  };

  void Add(const StoreEvent& event) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] uint64_t added() const VOLFS_EXCLUDES(mu_);

  // From now on.
  [[nodiscard]] Cursor End() const VOLFS_EXCLUDES(mu_);
  // Whole lines of at most `max` bytes together, or a part of one that is longer; nothing if there
  // is no new event.
  std::optional<std::string> Read(Cursor& cursor, size_t max) const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool Readable(const Cursor& cursor) const VOLFS_EXCLUDES(mu_);

 private:
  struct Line {
    uint64_t seq;
    int64_t time_ns;
    std::string text;
  };
  [[nodiscard]] std::string NextLineLocked(Cursor& cursor) const VOLFS_REQUIRES(mu_);
  [[nodiscard]] bool ReadableLocked(const Cursor& cursor) const VOLFS_REQUIRES(mu_);

  mutable Mutex mu_;
  uint64_t added_ VOLFS_GUARDED_BY(mu_) = 0;
  std::deque<Line> lines_ VOLFS_GUARDED_BY(mu_);  // the last of these `added_`
};

// Takes events from the store's notifier thread: into the ring, then to who asked for them.
//
// Thread-safety: all methods from any thread, but no method from within a callback. Locks: mu_, a
// leaf; the callbacks run without it.
class EventFeed {
 public:
  void Deliver(const StoreEvent& event) VOLFS_EXCLUDES(mu_);  // one thread at a time

  // When one of these returns, the callback that was there before is not running and will not run
  // again.
  void SetEventCallback(std::function<void(const StoreEvent&)> callback) VOLFS_EXCLUDES(mu_);
  void SetActivityCallback(std::function<void()> callback) VOLFS_EXCLUDES(mu_);

  [[nodiscard]] const EventRing& ring() const { return ring_; }

 private:
  EventRing ring_;
  Mutex mu_;
  Condition delivered_;
  bool delivering_ VOLFS_GUARDED_BY(mu_) = false;
  std::function<void(const StoreEvent&)> on_event_ VOLFS_GUARDED_BY(mu_);
  std::function<void()> on_activity_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
