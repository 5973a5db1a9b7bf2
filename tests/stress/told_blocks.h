#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace volfs {

// Blocks that show which write was lost or misplaced: each sector names its block, sector, writer
// and write.
//
// Write `sequence` of a block (from 1 on) is a discard, a write of the whole block, or one of some
// of its sectors. The kind of write, and so the block's contents after it, are functions of the two
// numbers. Each block has one writer.
inline constexpr size_t kTold = 4096;  // bytes
inline constexpr size_t kSector = 512;
inline constexpr size_t kSectors = kTold / kSector;

class Told {
 public:
  Told(uint64_t block, uint64_t sequence) : block_(block), sequence_(sequence) {}
  [[nodiscard]] bool is_discard() const;
  [[nodiscard]] std::pair<size_t, size_t> sectors() const;  // written: [first, last)
  [[nodiscard]] std::vector<std::byte> Bytes() const;       // of these sectors

 private:
  const uint64_t block_;
  const uint64_t sequence_;
};

// Returns the contents of a block after write `sequence`; zeros after none.
std::vector<std::byte> ContentsAt(uint64_t block, uint64_t sequence);
// Returns the newest write that a sector names, or 0 if all are zeros.
uint64_t SequenceIn(std::span<const std::byte> contents);
// Returns whether each sector is whole and of this block, or zeros.
bool IsTold(std::span<const std::byte> contents, uint64_t block);

// The account that a block's writer keeps. An instant is a reading of one clock that ticks with
// every event. Only the writer calls Begin and End. Any thread may call Steady, and the rest when
// the writer has ended.
class ToldBlock {
 public:
  static constexpr uint64_t kInWork = UINT64_MAX;

  uint64_t Begin(std::atomic<uint64_t>& clock);  // the sequence of the write that begins
  void End(std::atomic<uint64_t>& clock);
  // Returns the number of writes, if none is running.
  [[nodiscard]] uint64_t Steady() const;

  [[nodiscard]] uint64_t issued(uint64_t sequence) const { return writes_[sequence - 1].issued; }
  [[nodiscard]] uint64_t AcknowledgedBefore(uint64_t instant) const;  // the last such write
  [[nodiscard]] uint64_t IssuedBefore(uint64_t instant) const;

 private:
  struct Times {
    uint64_t issued;
    uint64_t acknowledged;
  };
  std::vector<Times> writes_;
  std::atomic<uint64_t> steps_{0};  // twice the ended writes, plus one while a write runs
};

}  // namespace volfs
