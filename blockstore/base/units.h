#pragma once

#include <cstdint>
#include <string>

namespace volfs {

// Block numbers and counts are in units of the store's block size (4096 bytes; a parameter only so
// that the simulation can use small ones). Byte quantities end in _bytes. Ranges are half-open.
struct BlockRange {
  uint64_t first = 0;
  uint64_t count = 0;
  [[nodiscard]] uint64_t end() const { return first + count; }
  [[nodiscard]] bool empty() const { return count == 0; }
  friend bool operator==(const BlockRange&, const BlockRange&) = default;
};

inline constexpr uint32_t kDefaultBlockSize = 4096;

// The greatest size of a volume: off_t is signed, and the last block must not overflow it.
inline constexpr uint64_t kMaxVolumeBytes = (uint64_t{1} << 63) - kDefaultBlockSize;

inline uint64_t BlocksFor(uint64_t size_bytes, uint32_t block_size) {
  return size_bytes / block_size + (size_bytes % block_size != 0 ? 1 : 0);
}

// Identifies a volume, snapshot, layer or clone for ever: 55 random bits in the upper bits, the low
// 8 bits zero. A FUSE inode number is an Id plus a facet in those 8 bits
// (control/tree/control_tree.h), so numbers are stable over restarts and nothing has to be
// remembered. Never reused. 0 means none.
using Id = uint64_t;
inline constexpr Id kNoId = 0;
inline constexpr int kIdFacetBits = 8;

// Returns the name of a layer's file within its node's directory: "layers/0123456789abcd00".
inline std::string LayerFileName(Id id) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string name = "layers/";
  for (int shift = 60; shift >= 0; shift -= 4) name.push_back(kHex[(id >> shift) & 15]);
  return name;
}

// The state of a block in a layer that lies over another. The numbers are on disk (FORMAT.md).
enum class BlockState : uint8_t {
  kAbsent = 0,   // ask the layer under it
  kPresent = 1,  // its bytes are in this layer's file, at the block's own offset
  kZero = 2,     // reads as zeros and hides the layers below
};

}  // namespace volfs
