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
// Each reader has a cursor. A reader that is slower than the events finds an event `lost` in place
// of the missing lines, with their number in its field `lost`.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; it guards the cursors too. Cost
// of Add: one JSON line. Memory: kKept lines.
class EventRing {
 public:
  static constexpr size_t kKept = 1024;

  class Cursor {
    friend class EventRing;
    uint64_t next = 0;  // counted since the ring was made; guarded by the ring's mu_
    std::string rest;   // of a line that was partly read
  };

  void Add(const StoreEvent& event) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] uint64_t added() const VOLFS_EXCLUDES(mu_);

  // Returns a cursor that reads the events from now on.
  [[nodiscard]] Cursor End() const VOLFS_EXCLUDES(mu_);
  // Returns whole lines of at most `max` bytes together, or a part of a longer one. Returns nothing
  // if there is no new event.
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
  std::deque<Line> lines_ VOLFS_GUARDED_BY(mu_);  // the last of the `added_` lines
};

// Passes events from the store's notifier thread to the ring, then to the callbacks.
//
// Thread-safety: all methods from any thread, but no method from within a callback. Locks: mu_, a
// leaf; the callbacks run without it.
class EventFeed {
 public:
  void Deliver(const StoreEvent& event) VOLFS_EXCLUDES(mu_);  // from one thread at a time

  // Each sets a callback. When it returns, the previous callback is not running and will not run
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
