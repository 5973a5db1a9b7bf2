#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "blockstore/store/store.h"
#include "control/tree/control_tree.h"

namespace volfs {

namespace inode {
inline constexpr uint64_t kControlDiff = 96;  // control/diff, a fixed entry (fixed_entry.h)
}

// A directory or file below control/diff. A and B are snapshots of V. Without B, V is compared as
// it is when the file is opened.
//
//   V/                  the snapshots of a volume, or of the deleted ones of that name
//   V/A..B              the sparse image of what has changed from A to B (OpenDiff)
//   V/ranges/A..B       the ranges, a line each: OFFSET LENGTH data|zero
//   V/ranges.json/A..B  the same as JSON
//
// Inode numbers: as everywhere, nothing is remembered. The number of a directory is the volume's id
// and a facet. That of a file is made of the ids of A and B, and is taken apart by trying all
// snapshots as A.
struct DiffPlace {
  enum class Kind : uint8_t { kVolume = 0xe0, kRanges, kRangesJson, kImage, kText, kJson };

  Kind kind;
  std::string name;
  Id volume = kNoId;  // of a directory
  Id before = kNoId;  // of a file: the snapshot A ...
  Id after = kNoId;   // ... and the snapshot B, or the volume V

  [[nodiscard]] bool directory() const { return kind < Kind::kImage; }
  [[nodiscard]] uint64_t ino() const;
};

[[nodiscard]] bool IsDiffIno(uint64_t ino);
[[nodiscard]] bool IsDiffImageIno(uint64_t ino);

// Each returns kNotFound if there is no such place. "A..B" may be cut at several places, as names
// may hold dots: kInvalid if more than one of them gives the names of two snapshots.
// Cost of FindDiff: O(n log n) for n snapshots.
Result<DiffPlace> FindDiff(Store& store, uint64_t ino);
Result<DiffPlace> FindDiffVolume(Store& store, std::string_view name);
Result<DiffPlace> FindInDiff(Store& store, const DiffPlace& directory, std::string_view name);

// Describes a place as stat shows it. An image has the owner and the rights of B, whose bytes it
// shows.
ControlEntry DescribeDiff(const DiffPlace& place, Store& store, const ControlConfig& config,
                          int64_t mtime_ns);

// Bounds how many diffs are open, as each may keep layers and the nodes of two maps that nothing
// else needs any more.
//
// Thread-safety: all methods from any thread.
class DiffSlots {
 public:
  static constexpr int kMax = 256;

  // Opens the two images of a file. Returns kNoMemory if kMax diffs are open.
  Result<std::shared_ptr<OpenDiff>> Open(Store& store, const DiffPlace& place);

 private:
  // Shared with the diffs, which may outlive this object.
  const std::shared_ptr<std::atomic<int>> open_ = std::make_shared<std::atomic<int>>(0);
};

// Shows the ranges of `diff` as lines or as JSON. The text is made while it is read, so that a
// million ranges take no more memory than one. Reading it anew from an earlier offset begins at its
// start.
std::unique_ptr<ControlFile> OpenDiffText(std::shared_ptr<OpenDiff> diff, DiffPlace::Kind kind);

}  // namespace volfs
