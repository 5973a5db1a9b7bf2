#include "blockstore/catalog/wal.h"

#include <array>
#include <span>
#include <vector>

namespace volfs::catalog {
namespace {

constexpr size_t kHeaderBytes = 32;
constexpr size_t kFrameHeaderBytes = kWalFrameHeaderBytes;
constexpr uint32_t kMagic = 0x377f0682;  // the lowest bit: checksums over big-endian words
constexpr uint32_t kVersion = 3007000;
constexpr uint32_t kMaxPageBytes = 65536;

uint32_t ReadBigEndian(std::span<const uint8_t> bytes, size_t at) {
  return uint32_t{bytes[at]} << 24 | uint32_t{bytes[at + 1]} << 16 | uint32_t{bytes[at + 2]} << 8 |
         uint32_t{bytes[at + 3]};
}

uint32_t ReadLittleEndian(std::span<const uint8_t> bytes, size_t at) {
  return uint32_t{bytes[at + 3]} << 24 | uint32_t{bytes[at + 2]} << 16 |
         uint32_t{bytes[at + 1]} << 8 | uint32_t{bytes[at]};
}

uint64_t Salts(std::span<const uint8_t> bytes, size_t at) {
  return uint64_t{ReadBigEndian(bytes, at)} << 32 | ReadBigEndian(bytes, at + 4);
}

// The running checksum of a WAL: each frame's covers all before it.
struct Checksum {
  bool big_endian = false;
  uint32_t first = 0;
  uint32_t second = 0;

  void Add(std::span<const uint8_t> bytes) {
    for (size_t at = 0; at + 8 <= bytes.size(); at += 8) {
      const auto word = big_endian ? ReadBigEndian : ReadLittleEndian;
      first += word(bytes, at) + second;
      second += word(bytes, at + 4) + first;
    }
  }
  [[nodiscard]] bool Matches(std::span<const uint8_t> bytes, size_t at) const {
    return ReadBigEndian(bytes, at) == first && ReadBigEndian(bytes, at + 4) == second;
  }
};

// True if all of `out` could be read; false also at the end of the file (`failed` stays).
bool Read(sqlite3_file* wal, std::span<uint8_t> out, uint64_t at, bool* failed) {
  const int code = wal->pMethods->xRead(wal, out.data(), static_cast<int>(out.size()),
                                        static_cast<sqlite3_int64>(at));
  if (code != SQLITE_OK && code != SQLITE_IOERR_SHORT_READ) *failed = true;
  return code == SQLITE_OK;
}

bool IsOneBitOff(std::array<uint8_t, kHeaderBytes> header) {
  for (size_t bit = 0; bit < 8 * kHeaderBytes; ++bit) {
    const auto mask = static_cast<uint8_t>(1U << (bit % 8));
    header[bit / 8] ^= mask;
    Checksum sum{.big_endian = (ReadBigEndian(header, 0) & 1) != 0};
    sum.Add(std::span(header).first(24));
    if (sum.Matches(header, 24)) return true;
    header[bit / 8] ^= mask;
  }
  return false;
}

// Fills in state.frames and state.damaged.
void CountFrames(sqlite3_file* wal, Checksum sum, uint32_t page_bytes, WalState& state,
                 bool* failed) {
  std::vector<uint8_t> frame(kFrameHeaderBytes + page_bytes);
  const std::span<const uint8_t> bytes(frame);
  bool fits = true;      // every frame so far
  bool was_end = false;  // the one before ends a transaction
  for (uint64_t n = 0; Read(wal, frame, kHeaderBytes + n * frame.size(), failed); ++n) {
    const bool current = ReadBigEndian(bytes, 0) != 0 && Salts(bytes, 8) == state.salts;
    bool follows = current;
    if (current) {
      sum.Add(bytes.first(8));
      sum.Add(bytes.subspan(kFrameHeaderBytes));
      follows = sum.Matches(bytes, 16);
      // The checksum of a later frame was made from the one that this frame states.
      sum.first = ReadBigEndian(bytes, 16);
      sum.second = ReadBigEndian(bytes, 20);
    }
    const bool is_end = current && ReadBigEndian(bytes, 4) != 0;
    fits = fits && follows;
    if (fits && is_end) state.frames = n + 1;
    if (!fits && follows && was_end) {
      state.damaged = true;
      return;
    }
    was_end = is_end;
  }
}

}  // namespace

std::optional<WalState> ReadWal(sqlite3_file* wal) {
  std::array<uint8_t, kHeaderBytes> header{};
  bool failed = false;
  WalState state;
  if (!Read(wal, header, 0, &failed)) return failed ? std::nullopt : std::optional(state);
  state.salts = Salts(header, 16);
  const uint32_t magic = ReadBigEndian(header, 0);
  if (magic == 0) return state;  // emptied, or the file has its size, but its bytes never came
  const uint32_t page_bytes = ReadBigEndian(header, 8);
  if ((magic & ~1U) != kMagic || ReadBigEndian(header, 4) != kVersion || page_bytes < 512 ||
      page_bytes > kMaxPageBytes) {
    state.damaged = true;  // these never change
    return state;
  }
  Checksum sum{.big_endian = (magic & 1) != 0};
  sum.Add(std::span(header).first(24));
  if (!sum.Matches(header, 24)) {
    // A write of it that was cut short, to SQLite and to us an empty WAL; or a changed bit.
    state.damaged = IsOneBitOff(header);
    return state;
  }
  CountFrames(wal, sum, page_bytes, state, &failed);
  return failed ? std::nullopt : std::optional(state);
}

std::optional<uint64_t> ReadWalSalts(sqlite3_file* wal) {
  std::array<uint8_t, kHeaderBytes> header{};
  bool failed = false;
  if (!Read(wal, header, 0, &failed)) return std::nullopt;
  return Salts(header, 16);
}

}  // namespace volfs::catalog
