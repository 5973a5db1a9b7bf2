#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/base/units.h"
#include "blockstore/node/node.h"

namespace volfs {

// The subject of a request that is in work. `request` and the handles are names (addresses) here.
struct Watch {
  const void* request = nullptr;
  const char* what = "";                // "write"
  const void* handle = nullptr;         // open files that are in use as long as the work goes on
  const void* second_handle = nullptr;  // ... of copy_file_range's source
  const Node* node = nullptr;           // null: perhaps any
  const Node* source = nullptr;         // the node that a clone still copies from
  Id changes = kNoId;                   // the volume whose bytes it changes in place
  bool admitted = false;                // the store refuses it by itself while a node is hung
};

// Answers requests whose node does not (contract.md 7.7). An unanswered request makes its caller
// unkillable, and the system call that it waits for cannot be taken back. So the watchdog abandons
// the request: it answers early, and the work goes on to its end. The store learns nothing of it.
// Its late commits count, and no caller is ever told of a commit that did not happen.
//
// A request is abandoned
//   - if its node is hung (node_calls.h) and it has waited for the limit, or has not begun;
//   - if it has waited for NodeCalls::kLongFactor times the limit, for any reason;
//   - if its caller was interrupted, and it has waited for kPatience or has not begun.
//
// Invariants:
//   W1  Each request is answered once: by the thread to which Guard::Finish returned true, or by
//       `answer`. Until then no thread but the watchdog's may touch the request.
//   W2  While an abandoned write has not returned, no other write to that volume begins: the late
//       one would land over it (T63). Others wait, or are refused if it was abandoned at a limit.
//   W3  A handle whose request was abandoned is closed when the work has ended, not before.
//
// The kernel's buffer of a write belongs to the thread that received it, and stays with the work.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; no hook is called under it.
// Cost of a Guard whose request is not abandoned: two compare-and-swaps and a few stores to a line
// that other threads seldom use; no lock, no allocation, no clock.
class Watchdog {
  struct Slot;

 public:
  struct Hooks {
    std::function<void(const Watch&, const Error&)> answer;
    std::function<bool(const void* request)> interrupted;
    std::function<void(const void* handle)> close;  // a handle that KeepOpen kept
  };
  static constexpr Nanoseconds kPatience = std::chrono::seconds(1);

  Watchdog(const std::vector<std::unique_ptr<Node>>& nodes, Nanoseconds limit, Hooks hooks);
  ~Watchdog();  // Stop()
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // A request's work, from when it came until it has ended.
  class Guard {
   public:
    enum class Place { kAtWork, kQueued };
    Guard(Watchdog& watchdog, const Watch& watch, Place place = Place::kAtWork);
    ~Guard() { (void)Finish(); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

    // Begins the work of a queued request. Returns false if the request was abandoned.
    [[nodiscard]] bool Begin();
    // Refuses the request if its node is hung, and waits for earlier writes (W2). Called before the
    // node is asked for anything.
    Status Admit();
    // Ends the work. Returns false if the request was abandoned, and is answered.
    [[nodiscard]] bool Finish();

   private:
    Watchdog& watchdog_;
    const Watch watch_;
    Slot* const slot_;  // null: kSlots requests are watched already, and this one is not
    bool finished_ = false;
  };

  // Returns whether work that was abandoned uses this handle; if so, calls `close` when it has
  // ended.
  [[nodiscard]] bool KeepOpen(const void* handle) VOLFS_EXCLUDES(mu_);

  // Says whether a node is hung, or work that was abandoned has not ended.
  [[nodiscard]] bool Trouble() const { return hung_nodes_ != 0 || abandoned_ != 0; }

  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  enum class State : uint32_t {
    kFree,
    kQueued,
    kAtWork,
    kLookedAt,  // by the watchdog, for a moment
    kAbandoned,
  };
  struct alignas(64) Slot {
    std::atomic<State> state{State::kFree};
    std::atomic<bool> over_limit{false};  // abandoned for that reason
    Watch watch;
    Nanoseconds since{0};
  };
  struct Watched {
    const Node* node;
    std::shared_ptr<NodeCalls> calls;  // outlives the node, as this class does
    std::string name;
    bool hung = false;
  };
  static constexpr uint32_t kSlots = 1024;

  Slot* Enter(const Watch& watch, State state);
  bool Leave(Slot& slot) VOLFS_EXCLUDES(mu_);
  void Abandon(Slot& slot, const Error& error);
  void LookAtNodes(Nanoseconds now);
  void LookAt(Slot& slot, Nanoseconds now);
  [[nodiscard]] const Watched* HungOf(const Watch& watch) const;
  Status AwaitEarlierWrites(const Slot* own, Id volume) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] bool InUseLocked(const void* handle) const VOLFS_REQUIRES(mu_);
  void Work() VOLFS_EXCLUDES(mu_);

  const Nanoseconds limit_;
  const Nanoseconds tick_;
  const Hooks hooks_;
  std::vector<Watched> nodes_;  // `hung` is the thread's
  std::atomic<Nanoseconds> now_;
  std::atomic<int> hung_nodes_{0};
  std::atomic<int> abandoned_{0};          // slots in that state
  std::atomic<int> abandoned_changes_{0};  // ... of writes
  std::unique_ptr<std::array<Slot, kSlots>> slots_;

  Mutex mu_;
  Condition changed_;  // work that was abandoned has ended, or stopping_
  std::set<const void*> kept_open_ VOLFS_GUARDED_BY(mu_);
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
  Thread thread_;
};

}  // namespace volfs
