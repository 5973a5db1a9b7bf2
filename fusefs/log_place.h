#pragma once

#include <string>

namespace volfs {

// "/mnt/vol-a" -> "mnt-vol\x2da": a name without "/", as systemd escapes paths.
std::string EscapePath(const std::string& absolute);

// Where what volfs keeps between mounts besides the nodes belongs: /var/lib/volfs for root, else
// below $XDG_STATE_HOME or ~/.local/state; empty if there is no such place.
std::string StateFolder();

// The log file of the daemon of one mount (its folder is made); empty if there is no place for it.
std::string LogFileFor(const std::string& mountpoint);

}  // namespace volfs
