#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/io/node_directory.h"

namespace volfs {

class Layer;
class Node;

// A bounded cache of open layer files, as a store may have more layers than a process has
// descriptors. When the cache is full, a file that was not used recently is closed (CLOCK, one bit
// per file). Its layer reopens it on demand.
//
// Invariants:
//   F1  A file with an outstanding Use is never closed.
//   F2  A file is closed only after every write to it has been synced without an error. Linux
//   reports
//       a write-back error to a descriptor that is opened later only if no descriptor has seen it
//       yet, so closing a dirty file could lose one. A closed file therefore has nothing to sync,
//       and the caller that syncs sees every error.
//   F3  Slot::file_ is null or owned_.get(). It is null for a moment while OpenFiles tests whether
//   the
//       file can be closed; FindOpen waits until that is over.
//
// More than the maximum are open only while more are in use at once, or cannot be synced.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; nothing is opened, closed or
// synced under it. Cost of a Use of an open file: an atomic addition and a subtraction on a counter
// of that layer, no lock, no system call. Cost of MakeRoom in a full cache: a step for each file
// that was used since the hand passed it, and for each that has something to sync.
class OpenFiles {
 public:
  class Slot;

  // Keeps the file open. Empty: the file is not open.
  class [[nodiscard]] Use {
   public:
    Use() = default;
    Use(Use&& other) noexcept
        : slot_(std::exchange(other.slot_, nullptr)),
          file_(std::exchange(other.file_, nullptr)),
          writes_(other.writes_) {}
    Use& operator=(Use&& other) noexcept {
      std::swap(slot_, other.slot_);
      std::swap(file_, other.file_);
      std::swap(writes_, other.writes_);
      return *this;
    }
    ~Use();
    explicit operator bool() const { return file_ != nullptr; }
    NodeFile* operator->() const { return file_; }
    NodeFile& operator*() const { return *file_; }

   private:
    friend class OpenFiles;
    // Requires: the caller has raised the counter.
    Use(Slot* slot, NodeFile* file, bool writes) : slot_(slot), file_(file), writes_(writes) {}
    Slot* slot_ = nullptr;
    NodeFile* file_ = nullptr;
    bool writes_ = false;
  };

  // Whether the user changes the file. Its bytes are then to be synced (F2). kLook does not count
  // as a use for CLOCK.
  enum class For { kRead, kWrite, kLook };

  // The place in the cache for one layer's file. A member of the layer.
  class Slot {
   public:
    explicit Slot(Layer& layer) : layer_(layer) {}

    // The hot path. Returns an empty Use if the file is not open, or seems so for a moment;
    // FindOpen decides.
    Use TryUse(For what) {
      uses_.fetch_add(1, std::memory_order_seq_cst);  // before the load, as Close looks after it
      NodeFile* const file = file_.load(std::memory_order_seq_cst);
      if (file == nullptr) {
        uses_.fetch_sub(1, std::memory_order_release);
        return {};
      }
      if (what != For::kLook && !used_.load(std::memory_order_relaxed)) {
        used_.store(true, std::memory_order_relaxed);
      }
      return {this, file, what == For::kWrite};
    }

    // Called by a caller that holds a Use: all that was written before is about to be synced.
    void BeginSync() { unsynced_.store(false); }
    void SyncFailed() { unsynced_.store(true); }

   private:
    friend class OpenFiles;
    Layer& layer_;
    std::atomic<NodeFile*> file_{nullptr};
    std::atomic<uint32_t> uses_{0};
    std::atomic<bool> used_{false};      // since the hand passed
    std::atomic<bool> unsynced_{false};  // a Use for writing sets it before it lowers uses_
    uint32_t place_ = 0;                 // in open_; guarded by mu_, as owned_ is
    std::unique_ptr<NodeFile> owned_;
  };

  static constexpr size_t kDefaultMax = 1024;
  explicit OpenFiles(size_t most) : max_(most) {}
  OpenFiles(const OpenFiles&) = delete;
  OpenFiles& operator=(const OpenFiles&) = delete;

  // Closes a file if the cache is full. Called before one is opened, with no lock of a layer held.
  // If every file that could be closed has something to sync, one of `node` is synced, so that a
  // node that hangs delays only its own layers.
  void MakeRoom(const Node& node) VOLFS_EXCLUDES(mu_);

  // Called under the layer's lock, which keeps others from opening the file.
  Use FindOpen(Slot& slot, For what) VOLFS_EXCLUDES(mu_);  // empty: the file is not open
  Use Opened(Slot& slot, std::unique_ptr<NodeFile> file, For what) VOLFS_EXCLUDES(mu_);

  // Closes the file of a layer that is neither read nor written any more. Requires: the layer's
  // lock is not held. Waits while MakeRoom syncs the file.
  void Close(Slot& slot) VOLFS_EXCLUDES(mu_);

  [[nodiscard]] size_t open() const VOLFS_EXCLUDES(mu_);

 private:
  // Takes a file out of the cache. The caller destroys, and so closes, it without the lock. Null
  // with `sync` set: that slot of `node`, with one more use, is to be synced first. Both null: all
  // files are in use.
  std::unique_ptr<NodeFile> TakeOneLocked(const Node& node, Slot*& sync) VOLFS_REQUIRES(mu_);
  std::unique_ptr<NodeFile> TakeLocked(Slot& slot) VOLFS_REQUIRES(mu_);

  const size_t max_;
  mutable Mutex mu_;
  std::vector<Slot*> open_ VOLFS_GUARDED_BY(mu_);
  size_t hand_ VOLFS_GUARDED_BY(mu_) = 0;
};

inline OpenFiles::Use::~Use() {
  if (slot_ == nullptr) return;
  if (writes_ && !slot_->unsynced_.load(std::memory_order_relaxed)) slot_->unsynced_.store(true);
  slot_->uses_.fetch_sub(1, std::memory_order_release);
}

}  // namespace volfs
