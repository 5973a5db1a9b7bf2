#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "blockstore/base/runtime.h"

namespace volfs {

// Many short passages, now and then one closer: writes pass the gate of their volume, a snapshot
// closes it until the writes in flight have ended, swaps the head, and opens it again.
//
// Invariants:
//   G1  when Close has returned true, and until Open, nobody is inside;
//   G2  whoever left before Close returned true did everything it did inside before that return.
//
// Ordering: who enters raises a counter, then reads closed_; who closes sets closed_, then reads
// the counters. All four are seq_cst, hence in one total order: either the closer sees the raised
// counter, or the other sees closed_, takes its step back and waits. With anything weaker both
// could miss each other (a store may be delayed past the load after it). Leaving is the same with
// the roles of "waits" and "is woken": lower, then read closed_.
//
// Thread-safety: all methods from any thread; a Passage may end on another thread. A thread that is
// inside must not enter again (a closer in between would wait for it, and it for the closer).
// Destroy the gate only when nobody can still be in one of its methods, the end of a Passage
// included. Locks: mu_ is a leaf. Cost: Enter and leave are one atomic addition each and a read of
// a line that only closers write; about 1.2 KiB of memory.
class Gate {
 private:
  static constexpr uint32_t kStripes = 16;
  struct alignas(64) Stripe {  // a cache line of its own: threads do not take it from each other
    std::atomic<uint32_t> inside{0};
  };

 public:
  class [[nodiscard]] Passage {
   public:
    Passage() = default;  // is not inside
    Passage(Passage&& other) noexcept
        : gate_(std::exchange(other.gate_, nullptr)), stripe_(other.stripe_) {}
    Passage& operator=(Passage&& other) noexcept;
    ~Passage() { Leave(); }
    void Leave();
    [[nodiscard]] bool inside() const { return gate_ != nullptr; }

   private:
    friend class Gate;
    Passage(Gate* gate, Stripe* stripe) : gate_(gate), stripe_(stripe) {}
    Gate* gate_ = nullptr;
    Stripe* stripe_ = nullptr;
  };

  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate();  // requires: open, nobody inside

  // Waits while the gate is closed.
  Passage Enter() VOLFS_EXCLUDES(mu_);

  // Newcomers wait from now on. True once all who were inside have left; the gate then stays closed
  // until Open. False if that was not so at `deadline` (MonotonicNow's clock): the gate is open.
  // One closer at a time: a second Close first waits, up to its deadline, for the first one's Open.
  [[nodiscard]] bool Close(Nanoseconds deadline) VOLFS_EXCLUDES(mu_);

  // Requires: Close has returned true.
  void Open() VOLFS_EXCLUDES(mu_);

 private:
  Passage EnterSlowly(Stripe* stripe) VOLFS_EXCLUDES(mu_);
  void WakeCloser() VOLFS_EXCLUDES(mu_);
  void OpenLocked() VOLFS_REQUIRES(mu_);

  Stripe stripes_[kStripes];
  alignas(64) std::atomic<bool> closed_{false};  // changed under mu_ only
  alignas(64) Mutex mu_;
  Condition left_;    // somebody left while the gate was closed
  Condition opened_;  // closed_ fell
};

inline Gate::Passage Gate::Enter() {
  Stripe* stripe = &stripes_[ThreadSlot(kStripes)];
  stripe->inside.fetch_add(1, std::memory_order_seq_cst);
  if (!closed_.load(std::memory_order_seq_cst)) [[likely]] {
    return Passage(this, stripe);
  }
  return EnterSlowly(stripe);
}

inline void Gate::Passage::Leave() {
  Gate* gate = std::exchange(gate_, nullptr);
  if (gate == nullptr) return;
  stripe_->inside.fetch_sub(1, std::memory_order_seq_cst);
  if (gate->closed_.load(std::memory_order_seq_cst)) [[unlikely]] {
    gate->WakeCloser();
  }
}

}  // namespace volfs
