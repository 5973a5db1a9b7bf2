#pragma once

#include <cstddef>
#include <cstring>
#include <span>

namespace volfs {

// Is there nothing but zeros in it? One memcmp: of the bytes with themselves, one further on.
inline bool AllZero(std::span<const std::byte> data) {
  return data.empty() || (data[0] == std::byte{0} &&
                          std::memcmp(data.data(), data.data() + 1, data.size() - 1) == 0);
}

}  // namespace volfs
