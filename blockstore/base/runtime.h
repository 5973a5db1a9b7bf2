#pragma once

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <utility>

// The runtime is one of the two seams through which blockstore and control touch the world (the
// other is node_directory.h): mutex, condition, thread, clock, sleep, random numbers, yield. No
// other file names std::mutex, std::thread or a clock (scripts/check_rules).
//
// In production these are plain threads (runtime.cc). The simulation gives each of them another
// meaning without changing the code that uses them. A Runtime that is installed with SetRuntime()
// before anything else runs gets every call, and a Mutex is then only a name. With none installed a
// lock costs one predictable branch more than std::mutex.
//
// The wrappers carry clang's thread-safety attributes, which libstdc++'s types lack.
#if defined(__clang__)
#define VOLFS_TSA(x) __attribute__((x))
#else
#define VOLFS_TSA(x)
#endif
#define VOLFS_GUARDED_BY(x) VOLFS_TSA(guarded_by(x))
#define VOLFS_REQUIRES(...) VOLFS_TSA(requires_capability(__VA_ARGS__))
#define VOLFS_REQUIRES_SHARED(...) VOLFS_TSA(requires_shared_capability(__VA_ARGS__))
#define VOLFS_EXCLUDES(...) VOLFS_TSA(locks_excluded(__VA_ARGS__))

namespace volfs {

using Nanoseconds = std::chrono::nanoseconds;

// The interface to a simulated world. Objects are identified by their address.
class Runtime {
 public:
  virtual ~Runtime() = default;
  virtual void Lock(const void* mutex) = 0;
  virtual void Unlock(const void* mutex) = 0;
  virtual void LockShared(const void* mutex) = 0;
  virtual void UnlockShared(const void* mutex) = 0;
  // Gives `mutex` up, waits for a notification or until `deadline` (monotonic), takes it again.
  // False if the deadline passed. Spurious wake-ups are allowed.
  virtual bool Wait(const void* condition, const void* mutex, Nanoseconds deadline) = 0;
  virtual void Notify(const void* condition) = 0;  // all waiters
  virtual uint64_t Spawn(std::string name, std::function<void()> body) = 0;
  virtual void Join(uint64_t thread) = 0;
  virtual Nanoseconds MonotonicNow() = 0;
  virtual Nanoseconds WallNow() = 0;  // since 1970
  virtual void Sleep(Nanoseconds duration) = 0;
  virtual void Yield() = 0;
  virtual uint64_t Random64() = 0;
};
void SetRuntime(Runtime* runtime);
namespace internal {
extern Runtime* simulated_runtime;  // null in production
}

class VOLFS_TSA(capability("mutex")) Mutex {
 public:
  void Lock() VOLFS_TSA(acquire_capability()) {
    if (Runtime* r = internal::simulated_runtime) return r->Lock(this);
    mu_.lock();
  }
  void Unlock() VOLFS_TSA(release_capability()) {
    if (Runtime* r = internal::simulated_runtime) return r->Unlock(this);
    mu_.unlock();
  }
  // Returns false if the lock is taken. In a simulated world it waits instead.
  bool TryLock() VOLFS_TSA(try_acquire_capability(true)) {
    if (Runtime* r = internal::simulated_runtime) {
      r->Lock(this);
      return true;
    }
    return mu_.try_lock();
  }

 private:
  friend class Condition;
  std::mutex mu_;
};

class VOLFS_TSA(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mu) VOLFS_TSA(acquire_capability(mu)) : mu_(mu) { mu_.Lock(); }
  ~MutexLock() VOLFS_TSA(release_capability()) { mu_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mu_;
};

// A reader-writer lock. Not fair; hold it for lookups and short changes only.
class VOLFS_TSA(capability("mutex")) SharedMutex {
 public:
  void Lock() VOLFS_TSA(acquire_capability()) {
    if (Runtime* r = internal::simulated_runtime) return r->Lock(this);
    mu_.lock();
  }
  void Unlock() VOLFS_TSA(release_capability()) {
    if (Runtime* r = internal::simulated_runtime) return r->Unlock(this);
    mu_.unlock();
  }
  void LockShared() VOLFS_TSA(acquire_shared_capability()) {
    if (Runtime* r = internal::simulated_runtime) return r->LockShared(this);
    mu_.lock_shared();
  }
  void UnlockShared() VOLFS_TSA(release_shared_capability()) {
    if (Runtime* r = internal::simulated_runtime) return r->UnlockShared(this);
    mu_.unlock_shared();
  }

 private:
  std::shared_mutex mu_;
};

class VOLFS_TSA(scoped_lockable) ReaderLock {
 public:
  explicit ReaderLock(SharedMutex& mu) VOLFS_TSA(acquire_shared_capability(mu)) : mu_(mu) {
    mu_.LockShared();
  }
  ~ReaderLock() VOLFS_TSA(release_generic_capability()) { mu_.UnlockShared(); }
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

 private:
  SharedMutex& mu_;
};

class VOLFS_TSA(scoped_lockable) WriterLock {
 public:
  explicit WriterLock(SharedMutex& mu) VOLFS_TSA(acquire_capability(mu)) : mu_(mu) { mu_.Lock(); }
  ~WriterLock() VOLFS_TSA(release_capability()) { mu_.Unlock(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  SharedMutex& mu_;
};

inline constexpr Nanoseconds kForever = Nanoseconds::max();

// The caller holds `mu` and calls in a loop over its own predicate: wake-ups may be spurious.
class Condition {
 public:
  void Wait(Mutex& mu) VOLFS_REQUIRES(mu) { (void)WaitUntil(mu, kForever); }
  // False if `deadline` (MonotonicNow's clock) has passed.
  bool WaitUntil(Mutex& mu, Nanoseconds deadline) VOLFS_REQUIRES(mu);
  void NotifyAll();

 private:
  std::condition_variable cv_;
};

// A thread that must be joined before it is destroyed (the destructor aborts otherwise). Its
// allocations wait (memory.h).
class Thread {
 public:
  Thread() = default;
  // A thread that the process cannot do without; name: at most 15 bytes are shown. Tries for
  // kPatience, then throws std::system_error. The mount has asked before (CanStartThreads).
  Thread(std::string name, std::function<void()> body);
  // One that would only be good to have: not joinable() if it cannot be had just now.
  static Thread TryStart(const std::string& name, const std::function<void()>& body);
  Thread(Thread&& other) noexcept { *this = std::move(other); }
  Thread& operator=(Thread&& other) noexcept;
  ~Thread();
  void Join();
  [[nodiscard]] bool joinable() const { return thread_.joinable() || simulated_ != 0; }

 private:
  static constexpr Nanoseconds kPatience = std::chrono::seconds(5);

  std::thread thread_;
  uint64_t simulated_ = 0;
};

// Whether so many threads can be had at once, just now: starts and ends them.
[[nodiscard]] bool CanStartThreads(size_t count);

Nanoseconds MonotonicNow();
Nanoseconds WallNow();        // since 1970, nanoseconds
Nanoseconds WallNowCoarse();  // the same to within a few milliseconds, without a system call
void SleepFor(Nanoseconds duration);
void YieldThread();
uint64_t Random64();  // from the kernel's generator; unpredictable

// 16 random bytes as an RFC 4122 version 4 UUID.
std::string NewUuid();

// A small number that is the same for all calls of one thread and spreads threads over `slots`
// (a power of two). For striped counters; two threads may share a slot.
uint32_t ThreadSlot(uint32_t slots);

}  // namespace volfs
