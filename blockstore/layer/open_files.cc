#include "blockstore/layer/open_files.h"

#include <cassert>

#include "blockstore/base/sabotage.h"
#include "blockstore/layer/layer.h"

namespace volfs {
namespace {

constexpr int kMaxSyncs = 3;  // a writer may go on and on
constexpr Nanoseconds kPause = std::chrono::microseconds(50);

}  // namespace

void OpenFiles::MakeRoom(const Node& node) {
  for (int syncs = 0; syncs < kMaxSyncs;) {
    std::unique_ptr<NodeFile> closed;
    Slot* sync = nullptr;
    {
      MutexLock lock(mu_);
      if (open_.size() < max_) return;
      closed = TakeOneLocked(node, sync);
    }
    if (closed == nullptr && sync == nullptr) return;
    if (sync == nullptr) continue;
    // An error has marked the layer, and the next sync of its volume reports it.
    const bool synced = sync->layer_.SyncFile().ok();
    sync->uses_.fetch_sub(1, std::memory_order_release);
    if (!synced) return;
    ++syncs;
  }
}

// Two rounds: the first may find all files used since.
std::unique_ptr<NodeFile> OpenFiles::TakeOneLocked(const Node& node, Slot*& sync) {
  const size_t steps = 2 * open_.size();
  for (size_t step = 0; step < steps; ++step) {
    hand_ = (hand_ + 1) % open_.size();
    Slot& slot = *open_[hand_];
    if (slot.used_.exchange(false)) continue;
    if (slot.unsynced_.load() && !Sabotaged(Sabotage::kCloseUnsynced)) {
      const bool can = slot.layer_.node() == &node && !slot.layer_.failed();
      if (sync == nullptr && can && slot.uses_.load() == 0) sync = &slot;
      continue;
    }
    if (std::unique_ptr<NodeFile> file = TakeLocked(slot)) {
      sync = nullptr;
      return file;
    }
  }
  if (sync != nullptr) sync->uses_.fetch_add(1, std::memory_order_seq_cst);
  return nullptr;
}

// Hides the file first, then checks for a Use that found it before. A Use for writing sets
// unsynced_ before it ends.
std::unique_ptr<NodeFile> OpenFiles::TakeLocked(Slot& slot) {
  slot.file_.store(nullptr, std::memory_order_seq_cst);
  const bool in_use = slot.uses_.load(std::memory_order_seq_cst) != 0;
  if (in_use || (slot.unsynced_.load() && !Sabotaged(Sabotage::kCloseUnsynced))) {
    slot.file_.store(slot.owned_.get(), std::memory_order_seq_cst);
    return nullptr;
  }
  open_[slot.place_] = open_.back();
  open_[slot.place_]->place_ = slot.place_;
  open_.pop_back();
  return std::move(slot.owned_);
}

OpenFiles::Use OpenFiles::FindOpen(Slot& slot, For what) {
  MutexLock lock(mu_);
  return slot.TryUse(what);
}

OpenFiles::Use OpenFiles::Opened(Slot& slot, std::unique_ptr<NodeFile> file, For what) {
  MutexLock lock(mu_);
  assert(slot.owned_ == nullptr);
  slot.owned_ = std::move(file);
  slot.place_ = static_cast<uint32_t>(open_.size());
  open_.push_back(&slot);
  slot.file_.store(slot.owned_.get(), std::memory_order_seq_cst);
  return slot.TryUse(what);
}

void OpenFiles::Close(Slot& slot) {
  for (;;) {
    std::unique_ptr<NodeFile> closed;
    {
      MutexLock lock(mu_);
      if (slot.owned_ == nullptr) return;
      slot.unsynced_.store(false);  // the layer goes: its bytes are not read again
      closed = TakeLocked(slot);
    }
    if (closed != nullptr) return;
    SleepFor(kPause);
  }
}

size_t OpenFiles::open() const {
  MutexLock lock(mu_);
  return open_.size();
}

}  // namespace volfs
