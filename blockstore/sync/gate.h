#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "blockstore/base/runtime.h"

namespace volfs {

// A per-CPU reader-writer lock: many short passages, and now and then one closer. Writes pass the
// gate of their volume. A snapshot closes it, which waits until the writes in flight have ended,
// swaps the head, and opens the gate again.
//
// Invariants:
//   G1  while a Closure holds the gate, no Passage is inside;
//   G2  everything done inside a Passage that left before a Close returned, whose Closure holds,
//       happens before that return.
//
// Ordering: Enter raises a counter, then reads closed_. Close sets closed_, then reads the
// counters. All four are seq_cst, hence in one total order: either the closer sees the raised
// counter, or the entering thread sees closed_, lowers its counter and waits. With a weaker order
// each could miss the other, as a store may be delayed past the load after it. Leave lowers the
// counter, then reads closed_, so for the same reason it sees a waiting closer, or the closer sees
// the lowered counter.
//
// Thread-safety: all methods from any thread; a Passage may end on another thread. A thread that is
// inside must not enter again: a closer in between would wait for that thread, and the thread for
// the closer. Destroy the gate only when no thread can still be in one of its methods, the end of a
// Passage included. Locks: mu_ is a leaf. Cost: Enter and Leave are one atomic addition each, and a
// read of a cache line that only closers write. About 1.2 KiB of memory.
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

  // Keeps the gate closed until it is destroyed, or until Open. May end on another thread.
  class [[nodiscard]] Closure {
   public:
    Closure() = default;  // closes nothing
    Closure(Closure&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Closure& operator=(Closure&& other) noexcept {
      std::swap(gate_, other.gate_);
      return *this;
    }
    ~Closure() { Open(); }
    void Open() {
      if (gate_ != nullptr) std::exchange(gate_, nullptr)->Open();
    }
    [[nodiscard]] bool holds() const { return gate_ != nullptr; }

   private:
    friend class Gate;
    explicit Closure(Gate* gate) : gate_(gate) {}
    Gate* gate_ = nullptr;
  };

  Gate() = default;
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  ~Gate();  // requires: open, no Passage inside

  // Waits while the gate is closed.
  Passage Enter() VOLFS_EXCLUDES(mu_);

  // Makes Enter wait from now on, and returns once all Passages that were inside have left. The
  // Closure does not hold, and the gate is open, if some are still inside at `deadline`
  // (MonotonicNow's clock). A second Close first waits for the end of the first Closure, up to its
  // own deadline.
  Closure Close(Nanoseconds deadline) VOLFS_EXCLUDES(mu_);

 private:
  void Open() VOLFS_EXCLUDES(mu_);
  Passage EnterSlowly(Stripe* stripe) VOLFS_EXCLUDES(mu_);
  void WakeCloser() VOLFS_EXCLUDES(mu_);
  void OpenLocked() VOLFS_REQUIRES(mu_);

  Stripe stripes_[kStripes];
  alignas(64) std::atomic<bool> closed_{false};  // changed under mu_ only
  alignas(64) Mutex mu_;
  Condition left_;    // a Passage has left while the gate was closed
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
