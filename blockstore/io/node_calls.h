#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "blockstore/base/runtime.h"

namespace volfs {

// The calls that are at work on one node right now, and since when: how it is known that a node
// hangs (a dead NFS server, a disk that does not answer). The kernel gives no call back before the
// node answers, so nothing can be done for the call itself; but newcomers can be kept away, and
// those who wait can be told (fusefs/serve/watchdog.h).
//
// Whoever calls something of a node that may hang holds a Call meanwhile. Waiting for a lock is no
// call: who holds the lock is in one. One thread calls Look again and again, and so moves the clock
// too: a call reads none.
//
// A call is over its limit after `limit`; one that may have to write out what many others left
// behind (a sync, a commit, freeing space) after kLongFactor times that.
//
// Thread-safety: all methods from any thread, Look from one at a time. No locks.
// Cost of a Call: one compare-and-swap and one store, to a line that hardly any other thread uses.
class NodeCalls {
 public:
  // kRead, kWrite, kLook: brief ones; the others are long.
  enum class Kind : uint8_t { kRead = 1, kWrite, kLook, kSync, kFree, kCommit };
  static constexpr int kLongFactor = 4;

  class Call {
   public:
    Call(NodeCalls& calls, Kind kind) : slot_(calls.Enter(kind)) {}
    ~Call() {
      if (slot_ != nullptr) slot_->store(0, std::memory_order_release);
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    std::atomic<uint64_t>* const slot_;  // null: more calls at once than are looked at
  };

  // Looks at all calls. `now` does not go backwards.
  void Look(Nanoseconds now, Nanoseconds limit);

  // As of the last Look. Hung: a call is over its limit. New reads and writes are refused then,
  // until every such call has returned: each may still land, in place, over something newer (T63).
  [[nodiscard]] bool hung() const { return hung_.load(std::memory_order_relaxed); }
  // A call has waited for kSlow: who only wants to know something should not join it.
  [[nodiscard]] bool slow() const { return slow_.load(std::memory_order_relaxed); }
  // For how long the oldest brief call has not returned; 0: none is slow.
  [[nodiscard]] uint64_t waiting_seconds() const { return waiting_ms_ / 1000; }
  // For how long the call that has waited longest has not returned; 0: none is slow.
  [[nodiscard]] Nanoseconds longest() const;
  // "a write has not returned for 31 s", of the call that has waited longest; empty: none is slow.
  [[nodiscard]] std::string Trouble() const;

 private:
  // (milliseconds of the clock when it began) * 256 + Kind; 0: free.
  struct alignas(64) Slot {
    std::atomic<uint64_t> call{0};
  };
  static constexpr uint32_t kSlots = 128;

  std::atomic<uint64_t>* Enter(Kind kind);

  std::atomic<uint64_t> now_ms_{0};
  std::atomic<bool> hung_{false};
  std::atomic<bool> slow_{false};
  std::atomic<uint64_t> waiting_ms_{0};
  std::atomic<uint64_t> oldest_{0};  // the call that has waited longest, as in its slot
  std::array<Slot, kSlots> slots_;
};

}  // namespace volfs
