#include "fusefs/serve/watchdog.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/memory.h"
#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

constexpr Nanoseconds kLongestTick = std::chrono::milliseconds(250);

int64_t Seconds(Nanoseconds time) { return time / std::chrono::seconds(1); }

}  // namespace

Watchdog::Watchdog(const std::vector<std::unique_ptr<Node>>& nodes, Nanoseconds limit, Hooks hooks)
    : limit_(limit),
      tick_(std::min(limit / 8, kLongestTick)),
      hooks_(std::move(hooks)),
      now_(MonotonicNow()),
      slots_(std::make_unique<std::array<Slot, kSlots>>()) {
  for (const auto& node : nodes) {
    nodes_.push_back({node.get(), node->directory().calls(), node->name()});
  }
  thread_ = Thread("volfs-watchdog", [this] { Work(); });
}

Watchdog::~Watchdog() { Stop(); }

void Watchdog::Stop() {
  {
    MutexLock lock(mu_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  if (thread_.joinable()) thread_.Join();
}

// --- the work ------------------------------------------------------------------------------------

Watchdog::Guard::Guard(Watchdog& watchdog, const Watch& watch, Place place)
    : watchdog_(watchdog),
      watch_(watch),
      slot_(watchdog.Enter(watch, place == Place::kQueued ? State::kQueued : State::kAtWork)) {}

Watchdog::Slot* Watchdog::Enter(const Watch& watch, State state) {
  const uint32_t first = ThreadSlot(kSlots);
  for (uint32_t i = 0; i < kSlots; ++i) {
    Slot& slot = (*slots_)[(first + i) % kSlots];
    State free = State::kFree;
    // kLookedAt keeps the watchdog away until the rest is written.
    if (!slot.state.compare_exchange_strong(free, State::kLookedAt)) continue;
    slot.watch = watch;
    slot.since = now_.load(std::memory_order_relaxed);
    slot.state.store(state, std::memory_order_release);
    return &slot;
  }
  return nullptr;
}

bool Watchdog::Guard::Begin() {
  if (slot_ == nullptr) return true;
  for (State seen = State::kQueued;
       !slot_->state.compare_exchange_weak(seen, State::kLookedAt, std::memory_order_acquire);
       seen = State::kQueued) {
    if (seen == State::kAbandoned) return false;
    assert(seen == State::kQueued || seen == State::kLookedAt);
    YieldThread();
  }
  if (watchdog_.hooks_.interrupted(watch_.request)) {
    watchdog_.Abandon(*slot_, {Errc::kInterrupted, "interrupted before it began"});
    return false;
  }
  slot_->state.store(State::kAtWork, std::memory_order_release);
  return true;
}

Status Watchdog::Guard::Admit() {
  if (watch_.admitted) return OkStatus();
  const bool named = watch_.node != nullptr;
  const bool trouble = watchdog_.hung_nodes_.load(std::memory_order_relaxed) != 0;
  if (const Watched* hung = named && trouble ? watchdog_.HungOf(watch_) : nullptr) {
    return Error{Errc::kIo,
                 StrCat("node ", hung->name, " does not answer: ", hung->calls->Trouble(),
                        "; its volumes can be used again when it has")};
  }
  if (watch_.changes == kNoId || watchdog_.abandoned_changes_ == 0) return OkStatus();
  return watchdog_.AwaitEarlierWrites(slot_, watch_.changes);
}

bool Watchdog::Guard::Finish() {
  if (finished_ || slot_ == nullptr) return !std::exchange(finished_, true);
  finished_ = true;
  return watchdog_.Leave(*slot_);
}

bool Watchdog::Leave(Slot& slot) {
  for (State seen = slot.state.load();;) {
    assert(seen != State::kFree);  // W1: this Guard has the slot until here
    if (seen == State::kAbandoned) break;
    if (seen == State::kLookedAt) {
      YieldThread();
      seen = slot.state.load();
    } else if (slot.state.compare_exchange_weak(seen, State::kFree, std::memory_order_acq_rel)) {
      return true;
    }
  }
  std::vector<const void*> to_close;
  {
    MutexLock lock(mu_);
    const Watch watch = std::exchange(slot.watch, {});
    slot.state = State::kFree;
    assert(abandoned_ > 0);
    --abandoned_;
    if (watch.changes != kNoId) --abandoned_changes_;
    assert(abandoned_changes_ >= 0);
    for (const void* handle : {watch.handle, watch.second_handle}) {
      if (!InUseLocked(handle) && kept_open_.erase(handle) != 0) to_close.push_back(handle);
    }
    changed_.NotifyAll();
  }
  for (const void* handle : to_close) hooks_.close(handle);
  return false;
}

bool Watchdog::InUseLocked(const void* handle) const {
  return std::any_of(slots_->begin(), slots_->end(), [&](const Slot& slot) {
    return slot.state == State::kAbandoned &&
           (slot.watch.handle == handle || slot.watch.second_handle == handle);
  });
}

bool Watchdog::KeepOpen(const void* handle) {
  if (abandoned_ == 0) return false;
  MutexLock lock(mu_);
  if (!InUseLocked(handle)) return false;
  kept_open_.insert(handle);
  return true;
}

Status Watchdog::AwaitEarlierWrites(const Slot* own, Id volume) {
  MutexLock lock(mu_);
  while (true) {
    bool waits = false;
    for (const Slot& slot : *slots_) {
      if (&slot == own || slot.state != State::kAbandoned || slot.watch.changes != volume) continue;
      waits = true;
      if (!slot.over_limit) continue;
      return Error{Errc::kIo,
                   "an earlier write that was given up has not returned and may still land over "
                   "this one; write again when it has"};
    }
    if (own != nullptr && own->state == State::kAbandoned) {
      return Error{Errc::kIo, "given up while it waited for an earlier write"};
    }
    if (!waits) return OkStatus();
    (void)changed_.WaitUntil(mu_, MonotonicNow() + tick_);
  }
}

// --- the watch -----------------------------------------------------------------------------------

void Watchdog::Work() {
  while (true) {
    const Nanoseconds now = MonotonicNow();
    now_ = now;
    LookAtNodes(now);
    for (Slot& slot : *slots_) LookAt(slot, now);
    LogWhatWasLeftOut();
    RefillMemoryReserve();
    MutexLock lock(mu_);
    const Nanoseconds next = now + tick_;
    while (!stopping_ && MonotonicNow() < next) (void)changed_.WaitUntil(mu_, next);
    if (stopping_) return;
  }
}

void Watchdog::LookAtNodes(Nanoseconds now) {
  for (Watched& watched : nodes_) {
    watched.calls->Look(now, limit_);
    const bool hung = watched.calls->hung();
    if (hung == watched.hung) continue;
    watched.hung = hung;
    hung_nodes_ += hung ? 1 : -1;
    assert(hung_nodes_ >= 0);
    if (hung) {
      LogError(StrCat("node ", watched.name, " does not answer: ", watched.calls->Trouble(),
                      "; reads, writes and requests for it are refused until it has"));
    } else {
      LogInfo(StrCat("node ", watched.name, " answers again"));
    }
  }
}

const Watchdog::Watched* Watchdog::HungOf(const Watch& watch) const {
  const bool any = watch.node == nullptr && watch.source == nullptr;
  for (const Watched& watched : nodes_) {
    if (!any && watched.node != watch.node && watched.node != watch.source) continue;
    if (watched.calls->hung()) return &watched;
  }
  return nullptr;
}

void Watchdog::LookAt(Slot& slot, Nanoseconds now) {
  const State state = slot.state.load(std::memory_order_acquire);
  if (state != State::kQueued && state != State::kAtWork) return;
  State seen = state;
  if (!slot.state.compare_exchange_strong(seen, State::kLookedAt)) return;
  const Nanoseconds waited = now - slot.since;
  const bool queued = state == State::kQueued;
  const bool named = slot.watch.node != nullptr;
  const bool due = waited > limit_ || (queued && named);
  const Watched* const hung = due ? HungOf(slot.watch) : nullptr;
  if (hung != nullptr) {
    Abandon(slot, {Errc::kIo, StrCat("given up after ", Seconds(waited), " s, as node ", hung->name,
                                     " does not answer: ", hung->calls->Trouble(),
                                     "; it may still take effect")});
  } else if (waited > limit_ * NodeCalls::kLongFactor) {
    Abandon(slot, {Errc::kIo, StrCat("given up after ", Seconds(waited),
                                     " s without an answer; it may still take effect")});
  } else if ((queued || waited > kPatience) && hooks_.interrupted(slot.watch.request)) {
    Abandon(slot, {Errc::kInterrupted, "interrupted; it may still take effect"});
  } else {
    slot.state.store(state, std::memory_order_release);
  }
}

// It is kLookedAt. The answer comes last: it lets the caller close its file, and write again.
void Watchdog::Abandon(Slot& slot, const Error& error) {
  assert(slot.state == State::kLookedAt);
  const Watch watch = slot.watch;
  slot.over_limit = error.code != Errc::kInterrupted;
  ++abandoned_;
  if (watch.changes != kNoId) ++abandoned_changes_;
  slot.state = State::kAbandoned;
  hooks_.answer(watch, error);
}

}  // namespace volfs
