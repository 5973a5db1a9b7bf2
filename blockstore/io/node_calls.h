#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>

#include "blockstore/base/runtime.h"

namespace volfs {

// The calls that are at work on one node right now, and when each began. They show whether a node
// hangs (a dead NFS server, a disk that does not answer). The kernel does not return a call before
// the node answers, so the daemon can do nothing for the call itself. It can refuse new requests,
// and answer those that wait (fusefs/serve/watchdog.h).
//
// A thread holds a Call while it is in a system call on the node that may hang. Waiting for a lock
// is no Call, as the thread that holds the lock is in one. One thread calls Look again and again,
// which also moves the clock: a Call reads none.
//
// A call is over its limit after `limit`. A call that may have to write out the data of many others
// (a sync, a commit, freeing space) is over it after kLongFactor times that.
//
// Thread-safety: all methods from any thread, Look from one at a time. No locks.
// Cost of a Call: one compare-and-swap and one store, to a line that hardly any other thread uses.
class NodeCalls {
 public:
  // kRead, kWrite and kLook are brief, the others long.
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
    std::atomic<uint64_t>* const slot_;  // null: there were already kSlots calls
  };

  // Looks at all calls. Requires: `now` does not go backwards.
  void Look(Nanoseconds now, Nanoseconds limit);

  // Returns, as of the last Look, whether a call is over its limit. New reads and writes are then
  // refused until every such call has returned: each may still land, in place, over something newer
  // (T63).
  [[nodiscard]] bool hung() const { return hung_.load(std::memory_order_relaxed); }
  // Returns whether a call has waited for kSlow. A request that only asks for a state does not call
  // the node then.
  [[nodiscard]] bool slow() const { return slow_.load(std::memory_order_relaxed); }
  // Returns for how long the oldest brief call has not returned. 0: none is slow.
  [[nodiscard]] uint64_t waiting_seconds() const { return waiting_ms_ / 1000; }
  // For how long the call that has waited longest has not returned; 0: none is slow.
  [[nodiscard]] Nanoseconds longest() const;
  // Returns "a write has not returned for 31 s", of the call that has waited longest. Empty: none
  // is slow.
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
