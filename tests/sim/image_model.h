#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/sim/disk.h"

namespace volfs::sim {

// The contents of sectors, each kept once and identified by a number. Number 0 is zeros.
class ContentPool {
 public:
  using Number = uint32_t;
  using Sector = std::array<std::byte, kSectorBytes>;

  ContentPool() : sectors_(1) {}
  Number Add(const Sector& sector);
  [[nodiscard]] const Sector& Get(Number number) const { return sectors_[number]; }

 private:
  std::vector<Sector> sectors_;
};

// The contents that the image of a volume, or of a snapshot point, may hold: for each sector, all
// right contents. This is contract.md 7.1 as a data structure: bytes that fsync acknowledged
// survive, and a sector that was not synced reads old or new, never anything else.
//
// A sector's versions are numbered in the order of their writes, because a sector has one writer at
// a time. `first` is the oldest version that may be on disk, and an acknowledged sync moves it.
// `settled` is the version that a read shows, or a later one while a write is in flight or has
// failed. After a power loss each version from `first` on is right. The first read then decides,
// and later reads must agree.
//
// Times are ticks of one clock that every call and return of a client moves.
//
// Times are ticks of one clock that every call and return of a client moves.
class ImageModel {
 public:
  struct Version {
    ContentPool::Number content = 0;
    uint64_t issued = 0;
    uint64_t acked = 0;  // 0: not acknowledged yet
  };
  struct Sector {
    std::vector<Version> versions{{}};
    uint32_t first = 0;
    uint32_t settled = 0;
    [[nodiscard]] uint32_t newest() const { return static_cast<uint32_t>(versions.size()) - 1; }
  };

  explicit ImageModel(uint64_t size_bytes = 0) { Grow(size_bytes); }

  [[nodiscard]] uint64_t size() const { return size_; }
  [[nodiscard]] uint64_t min_size() const { return min_size_; }
  [[nodiscard]] uint64_t max_size() const { return max_size_; }
  // Returns whether no write in this range is in flight or has failed.
  [[nodiscard]] bool Writable(uint64_t offset_bytes, uint64_t length_bytes) const;
  [[nodiscard]] bool Settled() const { return Writable(0, max_size_); }

  // --- writes ----------------------------------------------------------------------------------
  // Requires: Writable. Zeros if `data` is empty.
  void BeginWrite(ContentPool& pool, uint64_t offset_bytes, uint64_t length_bytes,
                  std::span<const std::byte> data, uint64_t now);
  void EndWrite(uint64_t offset_bytes, uint64_t length_bytes, bool ok, uint64_t now);
  // BeginGrow: the size may hold from now on. Grow: it holds.
  void BeginGrow(uint64_t size_bytes);
  void Grow(uint64_t size_bytes);
  void SizeIsDurable() { min_size_ = size_; }
  // Makes the model of a clone: at least as large, the rest zeros.
  void ExtendTo(uint64_t size_bytes);

  // Returns the model after a shrink: the settled versions, durable, and nothing past `size_bytes`.
  [[nodiscard]] ImageModel CutAt(ContentPool& pool, uint64_t size_bytes) const;

  // --- syncs and instants ------------------------------------------------------------------------
  struct Mark {  // the settled versions at some moment
    std::vector<uint32_t> settled;
    uint64_t size = 0;
  };
  [[nodiscard]] Mark Now() const;
  void Synced(const Mark& since);
  // Records that a synchronous write of this range has returned. Requires: no client writes there.
  void IsDurable(uint64_t offset_bytes, uint64_t length_bytes);
  // Returns the contents that a snapshot point between the mark and now may have caught.
  [[nodiscard]] ImageModel SnapshotPoint(const Mark& since) const;

  // --- reads ------------------------------------------------------------------------------------
  // Loses the power: the disk may hold any version.
  void LosePower();
  // Checks a read of the whole image without concurrent writes. Every sector and the size must be
  // right, and are from now on the only right ones (`durable`: on disk, too). Returns the fault, or
  // nothing.
  std::optional<std::string> Decide(ContentPool& pool, std::span<const std::byte> bytes,
                                    bool durable);
  // Checks a read of a part since `mark`, with concurrent writers.
  [[nodiscard]] std::optional<std::string> CheckRead(const ContentPool& pool, const Mark& since,
                                                     uint64_t offset_bytes,
                                                     std::span<const std::byte> bytes) const;

 private:
  [[nodiscard]] std::optional<std::string> CheckPrefixRule(const ContentPool& pool,
                                                           std::span<const std::byte> bytes) const;

  std::vector<Sector> sectors_;
  uint64_t size_ = 0;
  uint64_t min_size_ = 0;  // durable
  uint64_t max_size_ = 0;
  bool undecided_ = false;  // a snapshot point, or after a power loss: Decide has not been called
  bool instant_ = false;    // ... a snapshot point, to which the prefix rule applies
};

// Returns a readable content for a write: its volume, sector and number, which error messages show.
ContentPool::Sector MakeContent(uint32_t volume, uint64_t sector, uint64_t number);
std::string DescribeContent(std::span<const std::byte> bytes);

}  // namespace volfs::sim
