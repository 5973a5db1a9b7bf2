#pragma once

#include <atomic>
#include <cstdint>

namespace volfs {

enum class FaultKind : uint32_t { kNone, kAllocation, kThread, kDescriptor, kLock };

// Which calls of a program under test fail: a file that the test and the program's injector.cc both
// map. `kind` is written last, and read first.
struct FaultPlan {
  static constexpr int32_t kAnyProcess = -1;

  std::atomic<FaultKind> kind{FaultKind::kNone};
  std::atomic<int32_t> process{kAnyProcess};  // the one whose calls count
  std::atomic<int64_t> before{0};             // that many calls of this kind go well ...
  std::atomic<int64_t> failing{0};            // ... then that many fail
  std::atomic<int64_t> failed{0};             // so many have, since the test has set this to 0
};
static_assert(std::atomic<int64_t>::is_always_lock_free);

inline constexpr const char* kFaultPlanVariable = "VOLFS_FAULT_PLAN";  // the file's path

}  // namespace volfs
