#pragma once

#include <cstdint>

namespace volfs {

inline constexpr uint64_t kMiB = uint64_t{1} << 20;
inline constexpr uint64_t kBlock = 4096;  // of a store, and of a direct write

}  // namespace volfs
