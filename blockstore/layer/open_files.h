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

// The open files of layers: there may be more layers than a process may have descriptors. When
// there are as many as there may be, one that was not used for long is closed; its layer opens it
// again when it is needed ("not for long": the clock algorithm, one bit a file).
//
// Invariants:
//   F1  a file is closed only while nobody has a Use of it;
//   F2  a file is closed only if all that was written to it was synced, without an error, since:
//       the kernel tells who opens a file only of errors that nobody was told. So a file that is
//       not open has nothing to sync, and an error of writing is told to who syncs;
//   F3  Slot::file_ is null, or what owned_ has. It may be null for a moment while it is looked
//       whether the file can be closed; FindOpen waits until that is over.
//
// There may be more than `most` only while more are in use at once, or cannot be synced.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; nothing is opened, closed or
// synced under it. Cost of a Use of an open file: an atomic addition and a subtraction on a counter
// of that layer, no lock, no system call. Of MakeRoom, where there is none: a step for each file
// that was used since it came by last, and for each that has something to sync.
class OpenFiles {
 public:
  class Slot;

  // Keeps the file open. Empty: it is not.
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
    // The counter has been raised.
    Use(Slot* slot, NodeFile* file, bool writes) : slot_(slot), file_(file), writes_(writes) {}
    Slot* slot_ = nullptr;
    NodeFile* file_ = nullptr;
    bool writes_ = false;
  };

  // Does the user change the file? What it has then is to be synced (F2).
  enum class For { kRead, kWrite };

  // The place of one layer's file, which may be open. A member of the layer.
  class Slot {
   public:
    explicit Slot(Layer& layer) : layer_(layer) {}

    // The hot path. Empty if it is not open, or seems so for a moment: then FindOpen knows.
    Use TryUse(For what) {
      uses_.fetch_add(1, std::memory_order_seq_cst);  // before the load, as Close looks after it
      NodeFile* const file = file_.load(std::memory_order_seq_cst);
      if (file == nullptr) {
        uses_.fetch_sub(1, std::memory_order_release);
        return {};
      }
      if (!used_.load(std::memory_order_relaxed)) used_.store(true, std::memory_order_relaxed);
      return {this, file, what == For::kWrite};
    }

    // Of who has a Use: all that was written before the call is about to be synced.
    void BeginSync() { unsynced_.store(false); }
    void SyncFailed() { unsynced_.store(true); }

   private:
    friend class OpenFiles;
    Layer& layer_;
    std::atomic<NodeFile*> file_{nullptr};
    std::atomic<uint32_t> uses_{0};
    std::atomic<bool> used_{false};      // since the hand came by
    std::atomic<bool> unsynced_{false};  // a Use for writing sets it before it lowers uses_
    uint32_t place_ = 0;                 // in open_; guarded by mu_, as the next
    std::unique_ptr<NodeFile> owned_;
  };

  static constexpr size_t kDefaultMax = 1024;
  explicit OpenFiles(size_t most) : max_(most) {}
  OpenFiles(const OpenFiles&) = delete;
  OpenFiles& operator=(const OpenFiles&) = delete;

  // Closes one if there are as many as there may be: before one is opened, with no lock of a layer
  // held. If all that could be closed have something to sync, one of `node` is synced: a node that
  // hangs holds up its own only.
  void MakeRoom(const Node& node) VOLFS_EXCLUDES(mu_);

  // Under the layer's lock, which keeps others from opening the file:
  Use FindOpen(Slot& slot, For what) VOLFS_EXCLUDES(mu_);  // empty: it is not open
  Use Opened(Slot& slot, std::unique_ptr<NodeFile> file, For what) VOLFS_EXCLUDES(mu_);

  // Of a layer that nobody reads or writes any more, and without its lock. Waits if the file is
  // just being synced by MakeRoom.
  void Close(Slot& slot) VOLFS_EXCLUDES(mu_);

  [[nodiscard]] size_t open() const VOLFS_EXCLUDES(mu_);

 private:
  // Closes nothing itself: what it returns is to be destroyed without the lock. Null, and `sync` is
  // of `node` and has a use more: that is to be synced first. Both null: all are in use.
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
