#pragma once

#include <boost/context/fiber.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "blockstore/base/runtime.h"
#include "tests/sim/random.h"
#include "tests/sim/trace.h"

namespace volfs::sim {

// The simulated runtime. All threads of a run are stackful fibers on one thread, so a run is a
// function of its seed alone. (C++20 coroutines cannot suspend through the C frames of SQLite.)
//
// Every lock, wait and disk call is a switch point, at which the seed picks the next fiber. While a
// fiber can run, the clock advances by one microsecond per switch point. When all fibers wait, it
// jumps to the next deadline, so waiting costs nothing.
//
// Nothing depends on an address. Waiters are kept in the order of arrival, and the table of locks,
// which is keyed by address, is never iterated.
class FiberRuntime final : public Runtime {
 public:
  FiberRuntime(uint64_t seed, Trace& trace);
  ~FiberRuntime() override;

  // Runs `body` as the first fiber and returns when every fiber has ended. Meanwhile this object is
  // the runtime. Returns false if the fibers wait for each other forever; then hung() says where,
  // and the fibers are leaked with all they own.
  bool Run(std::function<void()> body);
  [[nodiscard]] const std::string& hung() const { return hung_; }
  // Returns whether fibers may pause for long. Then a snapshot may wait in vain for writes in
  // flight.
  [[nodiscard]] bool pauses() const { return pause_in_ > 0; }

  // May let another fiber run.
  void SwitchReference();
  // Advances the clock by the time that an operation of a device takes.
  void Advance(Nanoseconds duration) { now_ += duration; }

  void Lock(const void* mutex) override;
  void Unlock(const void* mutex) override;
  void LockShared(const void* mutex) override;
  void UnlockShared(const void* mutex) override;
  bool Wait(const void* condition, const void* mutex, Nanoseconds deadline) override;
  void Notify(const void* condition) override;
  uint64_t Spawn(std::string name, std::function<void()> body) override;
  void Join(uint64_t thread) override;
  Nanoseconds MonotonicNow() override { return now_; }
  Nanoseconds WallNow() override { return kEpoch + now_; }
  void Sleep(Nanoseconds duration) override;
  void Yield() override { Sleep(Nanoseconds(1000)); }
  uint64_t Random64() override { return ids_.Next(); }

 private:
  static constexpr Nanoseconds kEpoch = std::chrono::seconds(1'700'000'000);

  struct Fiber {
    uint64_t id = 0;
    std::string name;
    std::function<void()> body;
    boost::context::fiber context;
    bool over = false;
    const void* waits_for = nullptr;  // a condition; null: a lock, a sleep, or no wait
    uint64_t timer = 0;               // the number of its entry in timers_; 0: none
    Nanoseconds timer_at{0};
    bool timed_out = false;
    std::vector<Fiber*> joiners;
    void* fake_stack = nullptr;  // the address sanitizer's
    const void* stack_bottom = nullptr;
    size_t stack_bytes = 0;
  };
  struct LockState {
    Fiber* owner = nullptr;
    int shared = 0;
    std::vector<Fiber*> waiters;
  };

  void Start(Fiber* fiber);
  void Enter(Fiber* fiber);  // scheduler -> fiber
  void Leave();              // current fiber -> scheduler
  void Block();              // waits until another fiber calls Wake
  void Wake(Fiber* fiber);
  void SetTimer(Fiber* fiber, Nanoseconds at);
  void FireTimers();
  bool Schedule();  // one step; false when no fiber can run
  void Release(LockState& lock);
  std::string DescribeHung() const;

  Trace& trace_;
  Random choice_;          // of the scheduler
  Random ids_;             // drawn by the code under test
  uint32_t switch_in_;     // one switch point in so many switches
  uint32_t pause_in_ = 0;  // one switch point in so many pauses; 0: none
  Nanoseconds now_{std::chrono::seconds(1)};
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> ready_;
  std::map<std::pair<Nanoseconds, uint64_t>, Fiber*> timers_;  // by time, then by order of setting
  uint64_t next_timer_ = 0;
  std::unordered_map<const void*, LockState> locks_;
  std::unordered_map<const void*, std::vector<Fiber*>> waiting_;  // on a condition
  Fiber* current_ = nullptr;
  boost::context::fiber scheduler_;
  void* scheduler_fake_stack_ = nullptr;
  const void* scheduler_stack_bottom_ = nullptr;
  size_t scheduler_stack_bytes_ = 0;
  std::string hung_;
};

}  // namespace volfs::sim
