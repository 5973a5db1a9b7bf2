#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/store/store.h"

namespace volfs {

enum class Limit : uint8_t { kCopyRate, kCopyJobs };
inline constexpr size_t kLimits = 2;

// The values of control/limits/, which bound the copying. They are kept in the store's settings
// under the file's name, and are in force from the constructor on.
//
// At start an option of the same name wins (`copy_rate=10M`), then the remembered value, then the
// default. A malformed value is logged and skipped.
//
// Thread-safety: all methods from any thread. Locks: mu_, then the leaves of Store, Hydrator and
// Throttle. mu_ is not held while the store makes a value durable.
class Limits {
 public:
  using Options = std::vector<std::pair<std::string, std::string>>;
  Limits(Store& store, const Options& options);
  Limits(const Limits&) = delete;
  Limits& operator=(const Limits&) = delete;

  // Returns the value in its one spelling, without an LF: bytes per second or "max"; a number.
  [[nodiscard]] std::string Value(Limit limit) const VOLFS_EXCLUDES(mu_);
  [[nodiscard]] uint64_t Number(Limit limit) const VOLFS_EXCLUDES(mu_);  // "max": kUnlimited

  // Remembers the value durably, then puts it into force. After an error the old value stays in
  // force: kInvalid if the new one is malformed, else the reason why it could not be remembered.
  Status Set(Limit limit, std::string_view value) VOLFS_EXCLUDES(mu_);

 private:
  void ApplyLocked(Limit limit, uint64_t number) VOLFS_REQUIRES(mu_);

  Store& store_;
  mutable Mutex mu_;
  std::array<uint64_t, kLimits> numbers_ VOLFS_GUARDED_BY(mu_);
};

// Reads a value as control/limits/ takes it. Pure.
Result<uint64_t> ParseLimit(Limit limit, std::string_view value);
std::string LimitText(Limit limit, uint64_t number);
std::string_view LimitName(Limit limit);  // the name of its file, setting and option

}  // namespace volfs
