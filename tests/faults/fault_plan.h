#pragma once

#include <atomic>
#include <cstdint>

namespace volfs {

enum class FaultKind : uint32_t { kNone, kAllocation, kThread, kDescriptor, kLock };

// Says which calls of a program under test fail. It is a file that both the test and the program's
// injector.cc map. `kind` is written last, and read first.
struct FaultPlan {
  static constexpr int32_t kAnyProcess = -1;

  std::atomic<FaultKind> kind{FaultKind::kNone};
  std::atomic<int32_t> process{kAnyProcess};  // the process whose calls count
  std::atomic<int64_t> before{0};             // so many calls of this kind succeed ...
  std::atomic<int64_t> failing{0};            // ... then so many fail
  std::atomic<int64_t> failed{0};             // failed calls since the test set this to 0
};
static_assert(std::atomic<int64_t>::is_always_lock_free);

inline constexpr const char* kFaultPlanVariable = "VOLFS_FAULT_PLAN";  // the file's path

}  // namespace volfs
