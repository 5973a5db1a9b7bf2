#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "blockstore/base/runtime.h"

namespace volfs {

// A world with one thread whose clock stands still until the test moves it, or sleeps. It serves
// tests of code that depends on time alone. It is installed for as long as it lives.
class StandingTime : public Runtime {
 public:
  StandingTime() { SetRuntime(this); }
  ~StandingTime() override { SetRuntime(nullptr); }
  void Pass(Nanoseconds time) { now_ += time; }

  Nanoseconds MonotonicNow() override { return now_; }
  Nanoseconds WallNow() override { return now_; }
  bool Wait(const void*, const void*, Nanoseconds) override { return false; }
  void Lock(const void*) override {}
  void Unlock(const void*) override {}
  void LockShared(const void*) override {}
  void UnlockShared(const void*) override {}
  void Notify(const void*) override {}
  uint64_t Spawn(std::string, std::function<void()>) override { return 0; }
  void Join(uint64_t) override {}
  void Sleep(Nanoseconds duration) override { now_ += duration; }
  void Yield() override {}
  uint64_t Random64() override { return 4; }

 protected:
  Nanoseconds now_ = std::chrono::seconds(1);
};

}  // namespace volfs
