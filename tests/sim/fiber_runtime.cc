#include "tests/sim/fiber_runtime.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdlib>

#include "blockstore/base/str_cat.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace volfs::sim {
namespace {

namespace context = boost::context;

// No run needs so much time. A fiber that waits longer waits forever.
constexpr Nanoseconds kEndOfTime = std::chrono::hours(10);

// Stacks are reused: a run makes some thirty fibers, and a process runs thousands of seeds.
class StackPool {
 public:
  static constexpr size_t kBytes = 256 * 1024;  // SQLite's parser takes about 30 KiB

  context::stack_context allocate() {
    void* bottom = nullptr;
    if (free_.empty()) {
      bottom = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (bottom == MAP_FAILED) std::abort();
      // A guard page below: an overflow must crash, not write into a neighbour.
      (void)::mprotect(bottom, 4096, PROT_NONE);
    } else {
      bottom = free_.back();
      free_.pop_back();
    }
    context::stack_context stack;
    stack.size = kBytes;
    stack.sp = static_cast<std::byte*>(bottom) + kBytes;
    return stack;
  }
  void deallocate(context::stack_context& stack) {
    free_.push_back(static_cast<std::byte*>(stack.sp) - kBytes);
  }

 private:
  std::vector<void*> free_;
};

StackPool& Stacks() {
  static StackPool pool;
  return pool;
}

struct PooledStack {  // a fiber keeps a copy of its allocator
  context::stack_context allocate() { return Stacks().allocate(); }
  void deallocate(context::stack_context& stack) { Stacks().deallocate(stack); }
};

// The address sanitizer must know which stack is in use.
void BeginSwitch([[maybe_unused]] void** fake_stack, [[maybe_unused]] const void* bottom,
                 [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(fake_stack, bottom, bytes);
#endif
}

void EndSwitch([[maybe_unused]] void* fake_stack, [[maybe_unused]] const void** bottom_from,
               [[maybe_unused]] size_t* bytes_from) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack, bottom_from, bytes_from);
#endif
}

constexpr std::array<uint32_t, 4> kSwitchRates = {1, 3, 10, 40};
// At one of so many switch points a fiber pauses for a while, as if its disk were slow or its core
// taken away, and other fibers run on. Races with a window of a few instructions need that.
constexpr std::array<uint32_t, 4> kPauseRates = {0, 2000, 300, 60};
constexpr uint64_t kPauseDoublings = 19;  // from 1 us to 0.26 s

}  // namespace

FiberRuntime::FiberRuntime(uint64_t seed, Trace& trace)
    : trace_(trace), choice_(seed * 2), ids_(seed * 2 + 1) {
  switch_in_ = kSwitchRates[choice_.Below(kSwitchRates.size())];
  if (seed != 0) pause_in_ = kPauseRates[choice_.Below(kPauseRates.size())];
}

FiberRuntime::~FiberRuntime() {
  // Fibers that never ended cannot be unwound through SQLite's frames; hung() was reported.
  for (auto& fiber : fibers_) {
    if (!fiber->over) (void)fiber.release();
  }
}

bool FiberRuntime::Run(std::function<void()> body) {
  SetRuntime(this);
  (void)Spawn("main", std::move(body));
  while (Schedule()) {
  }
  SetRuntime(nullptr);
  const bool all_over =
      std::all_of(fibers_.begin(), fibers_.end(), [](const auto& fiber) { return fiber->over; });
  if (!all_over) hung_ = DescribeHung();
  return all_over;
}

std::string FiberRuntime::DescribeHung() const {
  std::string text = StrCat("at ", now_.count(), " ns, nobody can go on:");
  for (const auto& fiber : fibers_) {
    if (!fiber->over) text += StrCat(' ', fiber->name, '#', fiber->id);
  }
  return text;
}

// --- switching -----------------------------------------------------------------------------------

void FiberRuntime::Start(Fiber* fiber) {
  const context::stack_context stack = Stacks().allocate();
  fiber->stack_bytes = stack.size;
  fiber->stack_bottom = static_cast<std::byte*>(stack.sp) - stack.size;
  fiber->context =
      context::fiber(std::allocator_arg, context::preallocated(stack.sp, stack.size, stack),
                     PooledStack{}, [this, fiber](context::fiber&& from) {
                       scheduler_ = std::move(from);
                       EndSwitch(nullptr, &scheduler_stack_bottom_, &scheduler_stack_bytes_);
                       fiber->body();
                       fiber->body = nullptr;
                       fiber->over = true;
                       for (Fiber* joiner : fiber->joiners) Wake(joiner);
                       // Null: this stack is not used again.
                       BeginSwitch(nullptr, scheduler_stack_bottom_, scheduler_stack_bytes_);
                       return std::move(scheduler_);
                     });
}

void FiberRuntime::Enter(Fiber* fiber) {
  current_ = fiber;
  BeginSwitch(&scheduler_fake_stack_, fiber->stack_bottom, fiber->stack_bytes);
  fiber->context = std::move(fiber->context).resume();
  EndSwitch(scheduler_fake_stack_, nullptr, nullptr);
  current_ = nullptr;
}

void FiberRuntime::Leave() {
  Fiber* const self = current_;
  BeginSwitch(&self->fake_stack, scheduler_stack_bottom_, scheduler_stack_bytes_);
  scheduler_ = std::move(scheduler_).resume();
  EndSwitch(self->fake_stack, &scheduler_stack_bottom_, &scheduler_stack_bytes_);
}

bool FiberRuntime::Schedule() {
  if (ready_.empty()) {
    if (timers_.empty()) return false;
    now_ = std::max(now_, timers_.begin()->first.first);
  }
  FireTimers();
  if (now_ > kEndOfTime) return false;
  const size_t pick = ready_.size() == 1 ? 0 : choice_.Below(ready_.size());
  Fiber* const next = ready_[pick];
  ready_[pick] = ready_.back();
  ready_.pop_back();
  trace_.Note(next->id);
  Enter(next);
  return true;
}

void FiberRuntime::SwitchReference() {
  now_ += Nanoseconds(1000);
  if (pause_in_ > 0 && current_ != nullptr && choice_.OneIn(pause_in_)) {
    return Sleep(std::chrono::microseconds(uint64_t{1} << choice_.Below(kPauseDoublings)));
  }
  if (current_ == nullptr || ready_.empty() || !choice_.OneIn(switch_in_)) return;
  ready_.push_back(current_);
  Leave();
}

void FiberRuntime::Block() {
  assert(current_ != nullptr);
  Leave();
}

void FiberRuntime::Wake(Fiber* fiber) {
  if (fiber->timer != 0) {
    timers_.erase({fiber->timer_at, fiber->timer});
    fiber->timer = 0;
  }
  ready_.push_back(fiber);
}

void FiberRuntime::SetTimer(Fiber* fiber, Nanoseconds at) {
  fiber->timer = ++next_timer_;
  fiber->timer_at = at;
  timers_[{at, fiber->timer}] = fiber;
}

void FiberRuntime::FireTimers() {
  while (!timers_.empty() && timers_.begin()->first.first <= now_) {
    Fiber* const fiber = timers_.begin()->second;
    fiber->timed_out = true;
    if (fiber->waits_for != nullptr) std::erase(waiting_[fiber->waits_for], fiber);
    Wake(fiber);
  }
}

// --- calls of the code under test ---------------------------------------------------------------

void FiberRuntime::Lock(const void* mutex) {
  SwitchReference();
  if (current_ == nullptr) return;
  for (;;) {
    LockState& lock = locks_[mutex];
    if (lock.owner == nullptr && lock.shared == 0) {
      lock.owner = current_;
      return;
    }
    if (lock.owner == current_) std::abort();  // it would wait for itself forever
    lock.waiters.push_back(current_);
    Block();
  }
}

void FiberRuntime::LockShared(const void* mutex) {
  SwitchReference();
  if (current_ == nullptr) return;
  for (;;) {
    LockState& lock = locks_[mutex];
    if (lock.owner == nullptr) {
      ++lock.shared;
      return;
    }
    if (lock.owner == current_) std::abort();
    lock.waiters.push_back(current_);
    Block();
  }
}

void FiberRuntime::Release(LockState& lock) {
  for (Fiber* waiter : lock.waiters) Wake(waiter);
  lock.waiters.clear();
}

void FiberRuntime::Unlock(const void* mutex) {
  if (current_ == nullptr) return;
  LockState& lock = locks_[mutex];
  if (lock.owner != current_) std::abort();
  lock.owner = nullptr;
  Release(lock);
}

void FiberRuntime::UnlockShared(const void* mutex) {
  if (current_ == nullptr) return;
  LockState& lock = locks_[mutex];
  if (lock.shared == 0) std::abort();
  if (--lock.shared == 0) Release(lock);
}

bool FiberRuntime::Wait(const void* condition, const void* mutex, Nanoseconds deadline) {
  assert(current_ != nullptr);
  Fiber* const self = current_;
  Unlock(mutex);
  self->timed_out = false;
  if (choice_.OneIn(50)) {
    SwitchReference();  // a spurious wake-up
  } else {
    self->waits_for = condition;
    waiting_[condition].push_back(self);
    if (deadline != kForever) SetTimer(self, std::max(deadline, now_));
    Block();
    self->waits_for = nullptr;
  }
  const bool in_time = !self->timed_out;
  Lock(mutex);
  return in_time;
}

void FiberRuntime::Notify(const void* condition) {
  const auto found = waiting_.find(condition);
  if (found == waiting_.end()) return;
  for (Fiber* waiter : found->second) Wake(waiter);
  found->second.clear();
}

uint64_t FiberRuntime::Spawn(std::string name, std::function<void()> body) {
  fibers_.push_back(std::make_unique<Fiber>());
  Fiber* const fiber = fibers_.back().get();
  fiber->id = fibers_.size();
  fiber->name = std::move(name);
  fiber->body = std::move(body);
  Start(fiber);
  ready_.push_back(fiber);
  return fiber->id;
}

void FiberRuntime::Join(uint64_t thread) {
  Fiber* const fiber = fibers_[thread - 1].get();
  SwitchReference();
  while (!fiber->over) {
    fiber->joiners.push_back(current_);
    Block();
  }
}

void FiberRuntime::Sleep(Nanoseconds duration) {
  if (current_ == nullptr) {
    now_ += duration;
    return;
  }
  SetTimer(current_, now_ + duration);
  Block();
}

}  // namespace volfs::sim
