#include "blockstore/map/presence.h"

#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>

namespace volfs {
namespace {

[[noreturn]] void BrokenRuns(const char* invariant) {
  std::fprintf(stderr, "PresenceRuns: %s is broken\n", invariant);
  std::abort();
}

// The chunk is worked on in words of 32 blocks. Which byte of a word holds which block does not
// matter: no operation below moves bits from one block to another.
constexpr size_t kWordBytes = sizeof(uint64_t);
constexpr uint64_t kBlocksPerWord = kWordBytes * 4;
constexpr uint64_t kLowBits = 0x5555'5555'5555'5555;  // the lower bit of each block
static_assert(PresenceChunk::kBytes % kWordBytes == 0);

uint64_t LoadWord(const uint8_t* bytes) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, kWordBytes);
  return word;
}

// The lower bit of each block that is not absent.
uint64_t Covered(uint64_t word) { return (word | (word >> 1)) & kLowBits; }

uint8_t UniformByte(BlockState state) {
  return static_cast<uint8_t>(static_cast<unsigned>(state) * 0x55u);
}

}  // namespace

PresenceRuns::Runs::iterator PresenceRuns::Cut(const BlockRange& range) {
  auto it = runs_.lower_bound(range.first);
  if (it != runs_.begin()) {
    const auto before = std::prev(it);
    const uint64_t before_end = before->first + before->second.count;
    if (before_end > range.first) {
      if (before_end > range.end()) {
        it = runs_.emplace_hint(it, range.end(),
                                Tail{before_end - range.end(), before->second.state});
        blocks_ += it->second.count;
      }
      blocks_ -= before_end - range.first;
      before->second.count = range.first - before->first;
    }
  }
  while (it != runs_.end() && it->first < range.end()) {
    const uint64_t run_end = it->first + it->second.count;
    const Tail rest{run_end - range.end(), it->second.state};  // used only if there is a rest
    blocks_ -= it->second.count;
    it = runs_.erase(it);
    if (run_end > range.end()) {
      it = runs_.emplace_hint(it, range.end(), rest);
      blocks_ += rest.count;
    }
  }
  return it;
}

void PresenceRuns::Set(const BlockRange& range, BlockState state) {
  if (range.empty()) return;
  assert(range.end() > range.first);
  auto after = runs_.end();  // of the range; right already if it lies behind everything
  if (!runs_.empty() && range.first < runs_.rbegin()->first + runs_.rbegin()->second.count) {
    after = runs_.upper_bound(range.first);
    if (after != runs_.begin()) {  // said already?
      const auto holder = std::prev(after);
      const bool covers = holder->first + holder->second.count >= range.end();
      if (covers && holder->second.state == state) return;
    }
    after = Cut(range);
  }

  auto run = after == runs_.begin() ? runs_.end() : std::prev(after);
  if (run != runs_.end() && run->second.state == state &&
      run->first + run->second.count == range.first) {
    run->second.count += range.count;
  } else {
    run = runs_.emplace_hint(after, range.first, Tail{range.count, state});
  }
  blocks_ += range.count;
  if (after != runs_.end() && after->first == range.end() && after->second.state == state) {
    run->second.count += after->second.count;
    runs_.erase(after);
  }
}

void PresenceRuns::Merge(const PresenceRuns& newer) {
  assert(&newer != this);
  for (const auto& [first, tail] : newer.runs_) Set({first, tail.count}, tail.state);
}

void PresenceRuns::Clear() {
  runs_.clear();
  blocks_ = 0;
}

void PresenceRuns::ForEach(const std::function<void(const PresenceRun&)>& visit) const {
  for (const auto& [first, tail] : runs_) visit({first, tail.count, tail.state});
}

void PresenceRuns::CheckInvariants() const {
  uint64_t blocks = 0;
  PresenceRun last;
  for (const auto& [first, tail] : runs_) {
    if (tail.count == 0 || first < last.end()) BrokenRuns("R1");
    if (last.count > 0 && first == last.end() && tail.state == last.state) BrokenRuns("R2");
    blocks += tail.count;
    last = {first, tail.count, tail.state};
  }
  if (blocks != blocks_) BrokenRuns("R3");
}

PresenceChunk::PresenceChunk(BlockState uniform) : bits_(kBytes, UniformByte(uniform)) {}

void PresenceChunk::Set(const BlockRange& range, BlockState state) {
  assert(range.first <= kChunkBlocks && range.count <= kChunkBlocks - range.first);
  uint64_t index = range.first;
  const auto set_one = [&] {
    const unsigned shift = 2 * static_cast<unsigned>(index % 4);
    const unsigned others = bits_[index / 4] & ~(3u << shift);
    bits_[index / 4] = static_cast<uint8_t>(others | (static_cast<unsigned>(state) << shift));
    ++index;
  };
  while (index < range.end() && index % 4 != 0) set_one();
  const uint64_t whole_bytes = (range.end() - index) / 4;
  std::memset(bits_.data() + index / 4, UniformByte(state), whole_bytes);
  index += whole_bytes * 4;
  while (index < range.end()) set_one();
}

BlockState PresenceChunk::Get(uint64_t index) const {
  assert(index < kChunkBlocks);
  const unsigned bits = (bits_[index / 4] >> (2 * (index % 4))) & 3u;
  assert(bits != 3);
  return static_cast<BlockState>(bits);
}

bool PresenceChunk::IsUniform(BlockState* state) const {
  const BlockState first = Get(0);
  if (bits_[0] != UniformByte(first)) return false;
  if (std::memcmp(bits_.data(), bits_.data() + 1, kBytes - 1) != 0) return false;
  *state = first;
  return true;
}

void PresenceChunk::ForEachRun(uint64_t base,
                               const std::function<void(const PresenceRun&)>& visit) const {
  PresenceRun run{base, 0, BlockState::kAbsent};
  const auto add = [&](uint64_t count, BlockState state) {
    if (state != run.state) {
      if (run.count > 0 && run.state != BlockState::kAbsent) visit(run);
      run = {run.end(), 0, state};
    }
    run.count += count;
  };
  for (uint64_t index = 0; index < kChunkBlocks; index += kBlocksPerWord) {
    const BlockState state = Get(index);
    if (LoadWord(&bits_[index / 4]) == static_cast<uint64_t>(state) * kLowBits) {
      add(kBlocksPerWord, state);
      continue;
    }
    for (uint64_t i = index; i < index + kBlocksPerWord; ++i) add(1, Get(i));
  }
  assert(run.end() == base + kChunkBlocks);
  if (run.state != BlockState::kAbsent) visit(run);
}

void PresenceChunk::UniteCovered(const PresenceChunk& other) {
  for (size_t i = 0; i < kBytes; i += kWordBytes) {
    uint64_t word = LoadWord(&bits_[i]);
    word |= (Covered(LoadWord(&other.bits_[i])) & ~Covered(word)) << 1;  // absent becomes kZero
    std::memcpy(&bits_[i], &word, kWordBytes);
  }
}

void PresenceChunk::IntersectCovered(const PresenceChunk& other) {
  for (size_t i = 0; i < kBytes; i += kWordBytes) {
    const uint64_t keep = Covered(LoadWord(&other.bits_[i]));
    const uint64_t word = LoadWord(&bits_[i]) & (keep | (keep << 1));
    std::memcpy(&bits_[i], &word, kWordBytes);
  }
}

bool PresenceChunk::FromBytes(const uint8_t* data, size_t size) {
  if (size != kBytes) return false;
  for (size_t i = 0; i < kBytes; i += kWordBytes) {
    const uint64_t word = LoadWord(data + i);
    if ((word & (word >> 1) & kLowBits) != 0) return false;
  }
  bits_.assign(data, data + size);
  return true;
}

void AddWholeChunks(const BlockRange& run, std::vector<BlockRange>& parts) {
  constexpr uint64_t kChunk = PresenceChunk::kChunkBlocks;
  uint64_t first = run.first / kChunk * kChunk;
  const uint64_t end = BlocksFor(run.end(), kChunk) * kChunk;
  if (!parts.empty()) first = std::max(first, parts.back().end());
  if (first >= end) return;
  if (!parts.empty() && parts.back().end() == first) {
    parts.back().count += end - first;
  } else {
    parts.push_back({first, end - first});
  }
}

}  // namespace volfs
