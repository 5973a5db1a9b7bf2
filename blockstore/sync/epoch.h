#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "blockstore/base/runtime.h"

namespace volfs {

// Epoch-based reclamation, as RCU: tells when no request can use a place on disk any more. A
// request enters before it looks up its blocks, and leaves after its I/O. A thread that frees a
// place (unlinks a file, punches a range, closes a descriptor) first makes it unfindable, then
// calls Synchronize, then frees it.
//
// Invariants:
//   E1  Synchronize returns only after every Reader that entered before the call has left;
//   E2  everything that those Readers did before they left happens before the return;
//   E3  Synchronize does not wait for a Reader that enters after the call began, except for the few
//       that were between their two steps (read the parity, raise the counter) when the parity
//       changed.
//
// Ordering: a Reader that Synchronize does not wait for must not find the place. That holds if the
// lookup and the hiding are done under one lock (LiveMap::mu_) or by seq_cst operations on one
// atomic.
//
// Thread-safety: all methods from any thread; a Reader may end on another thread. A thread with a
// Reader must not call Synchronize: it would wait for itself. Locks: Synchronize holds mu_ while it
// waits; no other method takes it. Cost: one atomic addition to enter and one to leave, no lock.
// Synchronize takes as long as the longest request, and up to 2 ms more. 1 KiB of memory.
class Epoch {
 private:
  static constexpr uint32_t kStripes = 16;
  struct alignas(64) Stripe {  // a cache line of its own: threads do not take it from each other
    std::atomic<uint64_t> readers[2] = {0, 0};  // by parity
  };

 public:
  class [[nodiscard]] Reader {
   public:
    Reader() = default;  // is not inside
    Reader(Reader&& other) noexcept : counter_(std::exchange(other.counter_, nullptr)) {}
    Reader& operator=(Reader&& other) noexcept {
      if (this != &other) {
        Leave();
        counter_ = std::exchange(other.counter_, nullptr);
      }
      return *this;
    }
    ~Reader() { Leave(); }
    void Leave() {
      std::atomic<uint64_t>* counter = std::exchange(counter_, nullptr);
      if (counter != nullptr) counter->fetch_sub(1, std::memory_order_release);
    }
    [[nodiscard]] bool inside() const { return counter_ != nullptr; }

   private:
    friend class Epoch;
    explicit Reader(std::atomic<uint64_t>* counter) : counter_(counter) {}
    std::atomic<uint64_t>* counter_ = nullptr;
  };

  Epoch() = default;
  Epoch(const Epoch&) = delete;
  Epoch& operator=(const Epoch&) = delete;
  ~Epoch();  // requires: no Reader is inside

  Reader Enter() {
    const uint32_t parity = parity_.load(std::memory_order_seq_cst);
    std::atomic<uint64_t>* counter = &stripes_[ThreadSlot(kStripes)].readers[parity];
    counter->fetch_add(1, std::memory_order_seq_cst);
    return Reader(counter);
  }

  // Waits for all Readers that entered before the call. Concurrent calls take turns.
  void Synchronize() VOLFS_EXCLUDES(mu_);

 private:
  void WaitUntilEmpty(uint32_t parity);

  Stripe stripes_[kStripes];
  alignas(64) std::atomic<uint32_t> parity_{0};  // of new Readers; changed under mu_ only
  alignas(64) Mutex mu_;
};

}  // namespace volfs
