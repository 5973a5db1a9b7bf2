#pragma once

#include <cstddef>
#include <new>
#include <type_traits>

#include "blockstore/base/error.h"

namespace volfs {

// How an allocation fails for which there is no memory. On a thread that may fail it throws
// std::bad_alloc, as everywhere in C++; OrNoMemory makes that the ENOMEM of the one request. On a
// thread that waits it takes a reserve, and then waits until there is memory again. So a change of
// a store that has begun never stops half way for want of some bytes, and code between its first
// and its last step need not be written for an exception at each line:
//
//   request --> MemoryToSpare()? --no--> ENOMEM, nothing was begun
//                    | yes
//                    +--> the work, under Allocations::kWait
//
// Threads of the runtime wait (runtime.cc), all others may fail, until an AllocationScope says
// otherwise. SQLite's allocations follow the same rule (catalog/sqlite.cc).
//
// Thread-safety: all functions from any thread. Cost of a scope: two moves of a byte in the
// thread's own memory; an allocation that succeeds costs nothing.
enum class Allocations : bool { kFail, kWait };

namespace internal {
inline constinit thread_local Allocations allocations = Allocations::kFail;
}

class [[nodiscard]] AllocationScope {
 public:
  explicit AllocationScope(Allocations choice) : before_(internal::allocations) {
    internal::allocations = choice;
  }
  ~AllocationScope() { internal::allocations = before_; }
  AllocationScope(const AllocationScope&) = delete;
  AllocationScope& operator=(const AllocationScope&) = delete;

 private:
  const Allocations before_;
};

// Once, at the start of a daemon: operator new behaves as above from here on, and the reserve is
// taken. Without it (commands, tests, the simulation) allocations throw.
void PrepareForLackOfMemory();

// The bytes that waiting threads may use up while other requests get ENOMEM. Address space only,
// until a thread uses it.
inline constexpr size_t kMemoryReserveBytes = size_t{16} << 20;

// Takes the reserve again if it was used and there is memory now. For a thread that comes by often.
void RefillMemoryReserve();

// Whether a request may begin that must not fail for want of memory later: could a piece of a usual
// size be had just now? Some 100 ns.
[[nodiscard]] bool MemoryToSpare();
Error NoMemory();

// For allocators that are not operator new: an allocation failed; true: try once more. Waits if the
// thread does.
[[nodiscard]] bool AwaitMemory();

// The result of `body`, a function without lasting effects that allocates much for one caller; or
// kNoMemory.
template <typename Body>
auto OrNoMemory(const Body& body) -> std::invoke_result_t<Body> {
  const AllocationScope scope(Allocations::kFail);
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return NoMemory();
  }
}

}  // namespace volfs
