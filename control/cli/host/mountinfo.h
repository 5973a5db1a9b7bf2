#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "blockstore/base/error.h"

namespace volfs::cli {

// The mounts of this process as /proc/self/mountinfo tells them. Reading that file touches none of
// the mounted filesystems, so it answers even when a daemon is dead or hangs.

inline constexpr std::string_view kVolfsType = "fuse.volfs";

struct MountEntry {
  int id = 0;
  int parent = 0;
  std::string device;      // "0:52": the superblock's
  std::string root;        // the part of the filesystem that is mounted; not "/" for a bind mount
                           // of a part
  std::string mountpoint;  // absolute, unescaped
  std::string type;        // "ext4", "fuse.volfs"
  std::string source;      // "/dev/loop0p1"
};

// Parses mountinfo; lines that are not of the documented form are skipped.
std::vector<MountEntry> ParseMountInfo(std::string_view text);

Result<std::vector<MountEntry>> ReadMountInfo();

// Returns the number N of the device 0:N, as a volfs has it, of the uppermost mount on exactly
// `mountpoint`; nothing if there is none.
std::optional<uint32_t> DeviceMinorOf(const std::string& mountpoint);

// Returns whether `path` is `directory` or lies below it. Both are absolute and without "." and
// "..".
bool IsAtOrBelow(std::string_view path, std::string_view directory);

// Returns the mount of volfs that `path` lies on; of several the one that hides the others.
std::optional<MountEntry> VolfsMountOf(const std::vector<MountEntry>& mounts,
                                       std::string_view path);

// Returns all mounts of whole volfs filesystems, each filesystem once.
std::vector<MountEntry> VolfsMounts(const std::vector<MountEntry>& mounts);

}  // namespace volfs::cli
