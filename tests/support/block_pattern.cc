#include "tests/support/block_pattern.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

namespace volfs {
namespace {

constexpr uint64_t kMagic = 0x764f'6c66'5374'4d70;
constexpr size_t kWords = kPatternSectorBytes / sizeof(uint64_t);

// One sector as it lies in the image. The filler makes each byte of it depend on the stamp.
struct Sector {
  uint64_t magic;
  uint64_t volume;
  uint64_t block;
  uint64_t writer;
  uint64_t sequence;
  uint64_t number;  // of the sector in its block
  std::array<uint64_t, kWords - 7> filler;
  uint64_t crc;  // of all that is before it
};
static_assert(sizeof(Sector) == kPatternSectorBytes);

uint64_t CrcOf(const Sector& sector) {
  return ::crc32(0, reinterpret_cast<const Bytef*>(&sector), offsetof(Sector, crc));
}

// A good sector with another `number`, which belongs elsewhere in its block, counts as garbage.
SectorContents Decode(const std::byte* bytes, size_t number) {
  Sector sector;
  std::memcpy(&sector, bytes, sizeof sector);
  const bool zero = std::all_of(bytes, bytes + kPatternSectorBytes,
                                [](std::byte byte) { return byte == std::byte{0}; });
  if (zero) return {SectorContents::Kind::kZero, {}};
  if (sector.magic != kMagic || sector.crc != CrcOf(sector)) return {};
  if (sector.number != number) return {};
  return {SectorContents::Kind::kStamped,
          {sector.volume, sector.block, sector.writer, sector.sequence}};
}

std::string ToText(const SectorContents& sector) {
  switch (sector.kind) {
    case SectorContents::Kind::kZero:
      return "zeros";
    case SectorContents::Kind::kGarbage:
      return "garbage";
    case SectorContents::Kind::kStamped:
      break;
  }
  return ToText(sector.stamp);
}

bool Legal(const SectorContents& sector, const BlockExpectation& expected) {
  if (sector.kind == SectorContents::Kind::kZero) return expected.least == 0;
  if (sector.kind == SectorContents::Kind::kGarbage) return false;
  const BlockStamp& stamp = sector.stamp;
  return stamp.volume == expected.volume && stamp.block == expected.block &&
         stamp.sequence >= expected.least && stamp.sequence <= expected.most;
}

}  // namespace

std::string ToText(const BlockStamp& stamp) {
  return "volume " + std::to_string(stamp.volume) + " block " + std::to_string(stamp.block) +
         " writer " + std::to_string(stamp.writer) + " sequence " + std::to_string(stamp.sequence);
}

void StampBlock(std::span<std::byte, kPatternBlockBytes> block, const BlockStamp& stamp) {
  Sector sector{kMagic, stamp.volume, stamp.block, stamp.writer, stamp.sequence, 0, {}, 0};
  uint64_t word = stamp.sequence * 0x9e37'79b9'7f4a'7c15 ^ stamp.block ^ stamp.volume << 48;
  for (uint64_t& filler : sector.filler) {
    word = word * 6'364'136'223'846'793'005 + 1'442'695'040'888'963'407;
    filler = word;
  }
  for (size_t i = 0; i < kPatternSectors; ++i) {
    sector.number = i;
    sector.crc = CrcOf(sector);
    std::memcpy(block.data() + i * kPatternSectorBytes, &sector, sizeof sector);
  }
}

std::array<SectorContents, kPatternSectors> ReadStamps(
    std::span<const std::byte, kPatternBlockBytes> block) {
  std::array<SectorContents, kPatternSectors> sectors;
  for (size_t i = 0; i < kPatternSectors; ++i) {
    sectors[i] = Decode(block.data() + i * kPatternSectorBytes, i);
  }
  return sectors;
}

std::optional<std::string> CheckBlock(std::span<const std::byte, kPatternBlockBytes> block,
                                      const BlockExpectation& expected) {
  const auto sectors = ReadStamps(block);
  bool legal = true;
  for (const SectorContents& sector : sectors) {
    legal = legal && Legal(sector, expected) && (!expected.whole || sector == sectors[0]);
  }
  if (legal) return std::nullopt;
  std::string text = "block " + std::to_string(expected.block) + " of volume " +
                     std::to_string(expected.volume) + ": expected sequence " +
                     std::to_string(expected.least) + " to " + std::to_string(expected.most) +
                     ", found " + ToText(sectors[0]);
  for (size_t i = 1; i < kPatternSectors; ++i) {
    if (sectors[i] == sectors[i - 1]) continue;
    text += ", from sector " + std::to_string(i) + " on " + ToText(sectors[i]);
  }
  return text;
}

uint64_t SequenceOf(std::span<const std::byte, kPatternBlockBytes> block) {
  uint64_t greatest = 0;
  for (const SectorContents& sector : ReadStamps(block)) {
    greatest = std::max(greatest, sector.stamp.sequence);
  }
  return greatest;
}

}  // namespace volfs
