#pragma once

#include <cstdint>
#include <list>
#include <utility>

#include "blockstore/base/runtime.h"
#include "blockstore/base/units.h"

namespace volfs {

// Exclusive locks of ranges of one volume's blocks. A first write holds the lock of its range from
// the question whether the blocks are absent until they are marked as present (ARCHITECTURE.md,
// section 5). Overwrites of blocks that are present take no range lock.
//
// Units: blocks. Invariants:
//   L1  held ranges do not overlap;
//   L2  a range waits for exactly those that came earlier and overlap it, held or waiting. Hence
//       first come, first served among ranges that overlap: a 4 GiB discard is not overtaken for
//       ever by small writes, and small writes elsewhere do not wait for it.
//
// Thread-safety: all methods from any thread; a Guard may be released by another thread than the
// one that got it. A thread that holds a Guard must not lock a second range (two such threads could
// wait for each other). Locks: mu_ is a leaf. Cost: O(n) for n ranges held or waiting (about one
// per worker thread); entries are reused, so locking allocates only while n grows past its peak. A
// release wakes only the threads that it lets in.
class RangeLock {
 private:
  struct Entry {
    BlockRange range;
    uint64_t blockers = 0;  // earlier overlapping entries; 0: held
    Condition admitted;
  };
  using Entries = std::list<Entry>;

 public:
  class [[nodiscard]] Guard {
   public:
    Guard() = default;  // holds nothing
    Guard(Guard&& other) noexcept { *this = std::move(other); }
    Guard& operator=(Guard&& other) noexcept;
    ~Guard() { Release(); }
    void Release();
    [[nodiscard]] bool holds() const { return owner_ != nullptr; }
    [[nodiscard]] const BlockRange& range() const { return range_; }  // empty if !holds()

   private:
    friend class RangeLock;
    Guard(RangeLock* owner, Entries::iterator entry)
        : owner_(owner), entry_(entry), range_(entry->range) {}
    RangeLock* owner_ = nullptr;
    Entries::iterator entry_;
    BlockRange range_;
  };

  RangeLock() = default;
  RangeLock(const RangeLock&) = delete;
  RangeLock& operator=(const RangeLock&) = delete;
  ~RangeLock();  // requires: no Guard is left, no thread waits

  // Waits until no earlier caller holds or wants a part of `range`. Requires: `range` is not empty.
  Guard Lock(const BlockRange& range) VOLFS_EXCLUDES(mu_);

  // As Lock, without waiting. The Guard holds nothing where Lock would wait.
  Guard TryLock(const BlockRange& range) VOLFS_EXCLUDES(mu_);

  // Returns whether one Guard, of any thread, holds all of `range`. For assertions.
  [[nodiscard]] bool held(const BlockRange& range) const VOLFS_EXCLUDES(mu_);

 private:
  Entries::iterator EnterLocked(const BlockRange& range) VOLFS_REQUIRES(mu_);
  void LeaveLocked(Entries::iterator entry) VOLFS_REQUIRES(mu_);

  mutable Mutex mu_;
  Entries entries_ VOLFS_GUARDED_BY(mu_);  // held and waiting, in the order in which they came
  Entries unused_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
