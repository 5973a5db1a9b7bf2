#include "tests/stress/told_blocks.h"

#include <algorithm>
#include <cstring>

namespace volfs {
namespace {

constexpr uint64_t kMagic = 0x746f6c642d626c6bULL;
constexpr uint32_t kWriters = 3;  // of the stress test: block modulo this is the writer

struct Header {
  uint64_t magic;
  uint64_t block;
  uint64_t sector;
  uint64_t writer;
  uint64_t sequence;
  uint64_t check;
};
using Sector = std::array<std::byte, kSector>;

uint64_t Mix(uint64_t x) {  // splitmix64's last steps: well spread, and the same everywhere
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

Sector MakeSector(uint64_t block, uint64_t sector, uint64_t sequence) {
  Header header{kMagic, block, sector, block % kWriters, sequence, 0};
  header.check = Mix(block * 31 + sector * 7 + Mix(sequence));
  Sector bytes;
  bytes.fill(static_cast<std::byte>(header.check | 1));
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

Header HeaderOf(std::span<const std::byte> contents, size_t sector) {
  Header header;
  std::memcpy(&header, contents.data() + sector * kSector, sizeof header);
  return header;
}

bool IsZero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

bool Told::is_discard() const { return Mix(block_ * 1000003 + sequence_) % 6 == 0; }

std::pair<size_t, size_t> Told::sectors() const {
  const uint64_t dice = Mix(block_ + sequence_ * 7919);
  if (dice % 2 == 0) return {0, kSectors};
  const size_t first = dice / 2 % kSectors;
  return {first, first + 1 + dice / 16 % (kSectors - first)};
}

std::vector<std::byte> Told::Bytes() const {
  const auto [first, last] = sectors();
  std::vector<std::byte> bytes((last - first) * kSector);
  for (size_t s = first; s < last; ++s) {
    const Sector sector = MakeSector(block_, s, sequence_);
    std::memcpy(bytes.data() + (s - first) * kSector, sector.data(), kSector);
  }
  return bytes;
}

std::vector<std::byte> ContentsAt(uint64_t block, uint64_t sequence) {
  std::vector<std::byte> contents(kTold);
  std::array<bool, kSectors> known{};
  for (uint64_t s = sequence; s > 0; --s) {
    const Told told(block, s);
    if (told.is_discard()) break;
    const auto [first, last] = told.sectors();
    for (size_t i = first; i < last; ++i) {
      if (std::exchange(known[i], true)) continue;
      const Sector sector = MakeSector(block, i, s);
      std::memcpy(contents.data() + i * kSector, sector.data(), kSector);
    }
    if (std::all_of(known.begin(), known.end(), [](bool k) { return k; })) break;
  }
  return contents;
}

uint64_t SequenceIn(std::span<const std::byte> contents) {
  uint64_t newest = 0;
  for (size_t s = 0; s < kSectors; ++s) newest = std::max(newest, HeaderOf(contents, s).sequence);
  return newest;
}

bool IsTold(std::span<const std::byte> contents, uint64_t block) {
  for (size_t s = 0; s < kSectors; ++s) {
    const auto sector = contents.subspan(s * kSector, kSector);
    if (IsZero(sector)) continue;
    const Header header = HeaderOf(contents, s);
    const Sector expected = MakeSector(block, s, header.sequence);
    if (!std::equal(sector.begin(), sector.end(), expected.begin())) return false;
  }
  return true;
}

uint64_t ToldBlock::Begin(std::atomic<uint64_t>& clock) {
  steps_.fetch_add(1);
  writes_.push_back({clock.fetch_add(1), 0});
  return writes_.size();
}

void ToldBlock::End(std::atomic<uint64_t>& clock) {
  writes_.back().acknowledged = clock.fetch_add(1);
  steps_.fetch_add(1);
}

uint64_t ToldBlock::Steady() const {
  const uint64_t steps = steps_.load();
  return steps % 2 == 0 ? steps / 2 : kInWork;
}

uint64_t ToldBlock::AcknowledgedBefore(uint64_t instant) const {
  const auto end = std::find_if(writes_.begin(), writes_.end(),
                                [&](const Times& t) { return t.acknowledged >= instant; });
  return static_cast<uint64_t>(end - writes_.begin());
}

uint64_t ToldBlock::IssuedBefore(uint64_t instant) const {
  const auto end = std::find_if(writes_.begin(), writes_.end(),
                                [&](const Times& t) { return t.issued >= instant; });
  return static_cast<uint64_t>(end - writes_.begin());
}

}  // namespace volfs
