#include "blockstore/base/runtime.h"

#include <pthread.h>
#include <sys/random.h>
#include <time.h>

#include <atomic>
#include <cassert>
#include <cstdlib>
#include <exception>
#include <new>
#include <system_error>
#include <vector>

#include "blockstore/base/memory.h"

namespace volfs {
namespace internal {
Runtime* simulated_runtime = nullptr;
}

namespace {

Nanoseconds ReadClock(clockid_t clock) {
  timespec ts{};
  clock_gettime(clock, &ts);
  return std::chrono::seconds(ts.tv_sec) + Nanoseconds(ts.tv_nsec);
}

Runtime* Simulated() { return internal::simulated_runtime; }

}  // namespace

void SetRuntime(Runtime* runtime) { internal::simulated_runtime = runtime; }

bool Condition::WaitUntil(Mutex& mu, Nanoseconds deadline) {
  if (Runtime* r = Simulated()) return r->Wait(this, &mu, deadline);
  std::unique_lock<std::mutex> lock(mu.mu_, std::adopt_lock);
  bool in_time = true;
  if (deadline == kForever) {
    cv_.wait(lock);
  } else {
    const std::chrono::time_point<std::chrono::steady_clock, Nanoseconds> until(deadline);
    in_time = cv_.wait_until(lock, until) == std::cv_status::no_timeout;
  }
  lock.release();  // the caller still holds it
  return in_time;
}

void Condition::NotifyAll() {
  if (Runtime* r = Simulated()) return r->Notify(this);
  cv_.notify_all();
}

namespace {

constexpr Nanoseconds kThreadPause = std::chrono::milliseconds(20);

// Throws std::system_error or std::bad_alloc.
std::thread StartThread(const std::string& name, const std::function<void()>& body) {
  return std::thread([name = name.substr(0, 15), body] {
    const AllocationScope scope(Allocations::kWait);
    pthread_setname_np(pthread_self(), name.c_str());
    body();
  });
}

}  // namespace

Thread::Thread(std::string name, std::function<void()> body) {
  if (Runtime* r = Simulated()) {
    simulated_ = r->Spawn(std::move(name), std::move(body));
    return;
  }
  for (const Nanoseconds deadline = MonotonicNow() + kPatience; !thread_.joinable();) {
    try {
      thread_ = StartThread(name, body);
    } catch (const std::system_error&) {
      if (MonotonicNow() >= deadline) throw;
      SleepFor(kThreadPause);
    }
  }
}

Thread Thread::TryStart(const std::string& name, const std::function<void()>& body) {
  if (Simulated() != nullptr) return {name, body};
  Thread thread;
  const AllocationScope scope(Allocations::kFail);
  try {
    thread.thread_ = StartThread(name, body);
  } catch (const std::system_error&) {  // NOLINT: it is said in the result
  } catch (const std::bad_alloc&) {     // NOLINT: the same
  }
  return thread;
}

Thread& Thread::operator=(Thread&& other) noexcept {
  assert(!joinable());
  thread_ = std::move(other.thread_);
  simulated_ = std::exchange(other.simulated_, 0);
  return *this;
}

Thread::~Thread() { assert(!joinable()); }

void Thread::Join() {
  assert(joinable());
  if (simulated_ != 0) {
    Simulated()->Join(std::exchange(simulated_, 0));
  } else {
    thread_.join();
  }
}

bool CanStartThreads(size_t count) {
  Mutex mu;
  Condition changed;
  bool end = false;
  std::vector<Thread> threads;
  threads.reserve(count);
  while (threads.size() < count) {
    Thread thread = Thread::TryStart("volfs-try", [&] {
      MutexLock lock(mu);
      while (!end) changed.Wait(mu);
    });
    if (!thread.joinable()) break;
    threads.push_back(std::move(thread));
  }
  {
    MutexLock lock(mu);
    end = true;
    changed.NotifyAll();
  }
  for (Thread& thread : threads) thread.Join();
  return threads.size() == count;
}

Nanoseconds MonotonicNow() {
  if (Runtime* r = Simulated()) return r->MonotonicNow();
  return ReadClock(CLOCK_MONOTONIC);
}

Nanoseconds WallNow() {
  if (Runtime* r = Simulated()) return r->WallNow();
  return ReadClock(CLOCK_REALTIME);
}

Nanoseconds WallNowCoarse() {
  if (Runtime* r = Simulated()) return r->WallNow();
  return ReadClock(CLOCK_REALTIME_COARSE);
}

void SleepFor(Nanoseconds duration) {
  if (Runtime* r = Simulated()) return r->Sleep(duration);
  std::this_thread::sleep_for(duration);
}

void YieldThread() {
  if (Runtime* r = Simulated()) return r->Yield();
  std::this_thread::yield();
}

uint64_t Random64() {
  if (Runtime* r = Simulated()) return r->Random64();
  uint64_t value = 0;
  // getrandom of 8 bytes cannot be interrupted or short once the generator is seeded.
  if (getrandom(&value, sizeof value, 0) != sizeof value) std::abort();
  return value;
}

std::string NewUuid() {
  constexpr char kHex[] = "0123456789abcdef";
  const uint64_t high = (Random64() & ~uint64_t{0xf000}) | 0x4000;
  const uint64_t low = (Random64() & ~(uint64_t{3} << 62)) | (uint64_t{2} << 62);
  std::string out;
  for (int nibble = 0; nibble < 32; ++nibble) {
    if (nibble == 8 || nibble == 12 || nibble == 16 || nibble == 20) out.push_back('-');
    const uint64_t word = nibble < 16 ? high : low;
    out.push_back(kHex[(word >> (60 - 4 * (nibble % 16))) & 15]);
  }
  return out;
}

uint32_t ThreadSlot(uint32_t slots) {
  assert(slots != 0 && (slots & (slots - 1)) == 0);
  static std::atomic<uint32_t> next{0};
  thread_local const uint32_t mine = next.fetch_add(1, std::memory_order_relaxed);
  return mine & (slots - 1);
}

}  // namespace volfs
