#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

namespace volfs {

constexpr size_t kPatternSectorBytes = 512;
constexpr size_t kPatternSectors = 8;
constexpr size_t kPatternBlockBytes = kPatternSectorBytes * kPatternSectors;

// The writer of a block, and the place where it belongs.
struct BlockStamp {
  uint64_t volume = 0;  // a number of the test's own for each volume
  uint64_t block = 0;   // the offset in the volume, in blocks of kPatternBlockBytes
  uint64_t writer = 0;
  uint64_t sequence = 0;  // grows with each write to the block; never 0

  bool operator==(const BlockStamp&) const = default;
};

std::string ToText(const BlockStamp& stamp);

// Fills a block so that every sector shows its stamp and that it is whole: magic, stamp, sector
// number, bytes that follow from them, CRC.
void StampBlock(std::span<std::byte, kPatternBlockBytes> block, const BlockStamp& stamp);

// The meaning of a sector's bytes.
struct SectorContents {
  enum class Kind : uint8_t { kZero, kStamped, kGarbage };
  Kind kind = Kind::kGarbage;
  BlockStamp stamp;  // if kStamped

  bool operator==(const SectorContents&) const = default;
};

std::array<SectorContents, kPatternSectors> ReadStamps(
    std::span<const std::byte, kPatternBlockBytes> block);

// The contents that a block may hold: zeros if `least` is 0, or the stamp of this volume and block
// with a sequence from `least` to `most`. Each sector is judged alone, unless `whole`.
struct BlockExpectation {
  uint64_t volume = 0;
  uint64_t block = 0;
  uint64_t least = 0;
  uint64_t most = 0;
  bool whole = true;
};

// Returns the fault of the block, or nothing if it is as expected.
std::optional<std::string> CheckBlock(std::span<const std::byte, kPatternBlockBytes> block,
                                      const BlockExpectation& expected);

// Returns the greatest sequence in the block (0: none).
uint64_t SequenceOf(std::span<const std::byte, kPatternBlockBytes> block);

}  // namespace volfs
