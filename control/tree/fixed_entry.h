#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "control/tree/control_tree.h"
#include "control/tree/control_view.h"

namespace volfs {

// The files and directories of control/ that always exist: one table, one line each.
//
// Inode numbers (16 to 255, control_tree.h) are written out because they never change. The number
// of a file that is removed is not used again.
namespace inode {
inline constexpr uint64_t kControlNodes = 64;
inline constexpr uint64_t kControlVolumes = 65;
inline constexpr uint64_t kControlSnapshots = 66;
inline constexpr uint64_t kWatchVolumes = 82;
}  // namespace inode

enum class FixedKind : uint8_t { kDirectory, kText, kRequest, kCopyRate, kCopyJobs, kEvents };
// A file whose read blocks is found by its name and never listed, so that a program that walks the
// tree (`grep -r`, `cp -r`, an indexer) does not wait in it for ever.
enum class Listing : uint8_t { kShown, kUnlisted };

struct FixedEntry {
  uint64_t ino;
  uint64_t parent;
  std::string_view name;
  FixedKind kind;
  std::string (*text)(ControlView&) = nullptr;  // of kText, kCopyRate and kCopyJobs
  Listing listing = Listing::kShown;
};

std::span<const FixedEntry> FixedEntries();
const FixedEntry* FindFixed(uint64_t ino);                            // null if there is none
const FixedEntry* FindFixed(uint64_t parent, std::string_view name);  // null if there is none

// Returns the entry's text now. It is the usage line for a request file, and "" for a directory or
// a file that blocks.
std::string FixedText(const FixedEntry& entry, ControlView& view);

// Describes the entry as stat and a listing show it.
ControlEntry DescribeFixed(const FixedEntry& entry, ControlView& view);

}  // namespace volfs
