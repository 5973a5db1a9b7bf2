#pragma once

#include <string>

namespace volfs {

// "/mnt/vol-a" -> "mnt-vol\x2da": a name without "/", as systemd escapes paths.
std::string EscapePath(const std::string& absolute);

// The log file of the daemon of one mount (its folder is made); empty if there is no place for it.
std::string LogFileFor(const std::string& mountpoint);

}  // namespace volfs
