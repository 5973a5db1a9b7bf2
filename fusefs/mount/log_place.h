#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace volfs {

// "/mnt/vol-a" -> "mnt-vol\x2da": a name without "/", as systemd escapes paths.
std::string EscapePath(const std::string& absolute);

// The log file of the daemon of one mount (its directory is made); empty if there is no place for
// it.
std::string LogFileFor(const std::string& mountpoint);

// A directory keeps the logs of so many mount paths, those that were written last; and of every
// path where a volfs is mounted now.
inline constexpr size_t kMaxLogs = 128;

// Removes the other logs, with their rotated files. Keeps `log_file`. Never fails: a file that
// cannot be removed stays.
void RemoveOldLogs(const std::string& log_file, const std::vector<std::string>& mountpoints);

}  // namespace volfs
