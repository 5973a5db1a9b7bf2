#include "blockstore/base/memory.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>

#include "blockstore/base/log.h"
#include "blockstore/base/runtime.h"

namespace volfs {
namespace {

constexpr Nanoseconds kMemoryPause = std::chrono::milliseconds(10);
constexpr Nanoseconds kMemoryToldEach = std::chrono::seconds(10);
// As much as a request that changes something allocates, rounded up generously; so little that the
// allocator mostly has it at hand.
constexpr size_t kUsualBytes = size_t{64} << 10;

std::atomic<void*> reserve{nullptr};
std::atomic<bool> prepared{false};
std::atomic<Nanoseconds> told{Nanoseconds{0}};  // when it was last said that threads wait

// Not from the allocator, which might keep it for itself when it is given back.
void* MapReserve() {
  void* const mapped = ::mmap(nullptr, kMemoryReserveBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return mapped == MAP_FAILED ? nullptr : mapped;
}

bool UseReserve() {
  void* const mapped = reserve.exchange(nullptr);
  if (mapped == nullptr) return false;
  ::munmap(mapped, kMemoryReserveBytes);
  return true;
}

// Called by operator new, which tries once more when this returns. The functions it calls allocate
// nothing.
void OnNoMemory() {
  if (!AwaitMemory()) throw std::bad_alloc();
}

}  // namespace

void PrepareForLackOfMemory() {
  reserve = MapReserve();
  prepared = true;
  std::set_new_handler(OnNoMemory);
}

void RefillMemoryReserve() {
  if (!prepared || reserve.load(std::memory_order_relaxed) != nullptr) return;
  void* const mapped = MapReserve();
  if (mapped == nullptr) return;
  void* none = nullptr;
  if (!reserve.compare_exchange_strong(none, mapped)) ::munmap(mapped, kMemoryReserveBytes);
}

bool MemoryToSpare() {
  void* const piece = std::malloc(kUsualBytes);
  asm volatile("" : : "r"(piece) : "memory");  // or a compiler leaves both calls out
  std::free(piece);
  return piece != nullptr;
}

// So short that it is kept within the string: there is no memory for a longer one.
Error NoMemory() { return Error{Errc::kNoMemory, "no memory left", 0}; }

bool AwaitMemory() {
  if (!prepared || internal::allocations == Allocations::kFail) return false;
  if (UseReserve()) return true;
  SleepFor(kMemoryPause);
  const Nanoseconds now = MonotonicNow();
  Nanoseconds before = told;
  if (now - before > kMemoryToldEach && told.compare_exchange_strong(before, now)) {
    LogRaw("error", {"memory is used up, and so is the reserve: requests under way wait"});
  }
  return true;
}

}  // namespace volfs
