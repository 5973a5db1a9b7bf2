#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "fusefs/serve/filesystem.h"

namespace volfs {

// The options of a mount, from -o and the configuration file.
struct MountOptions {
  bool allow_shrink = false;
  bool allow_other = false;  // asked for by name; without it: whenever it is possible
  bool init = false;         // an empty directory may become a node even through mount(8)
  bool native = false;       // new volumes have io=native
  bool no_poll = false;      // FilesystemOptions::no_poll
  bool read_only = false;
  bool is_private = false;   // FilesystemOptions::is_private
  bool synchronous = false;  // FilesystemOptions::synchronous
  Nanoseconds node_timeout = kNodeTimeout;
  std::optional<uint32_t> control_gid;
  std::string copy_rate;            // as limits/copy_rate takes it; empty: as remembered
  std::string copy_jobs;            // as limits/copy_jobs takes it; empty: as remembered
  std::vector<std::string> accept;  // NodeOpenOptions::accept
  std::vector<std::string> kernel;  // for the kernel's mount: noexec, noatime, ...
  // All that were given and mean something to volfs, for control/config.
  std::vector<std::pair<std::string, std::string>> given;
};

// Reads options in order, a later one winning. `words` holds one option each, or several with
// commas between them. Options of mount(8), fstab and systemd that say nothing to a filesystem are
// skipped. kInvalid names the first one that is unknown or has a value that makes no sense.
Result<MountOptions> ParseOptions(const std::vector<std::string>& words);

// Returns all options that mean something to volfs or the kernel: "ro", "copy_rate=".
std::vector<std::string> MountOptionNames();

}  // namespace volfs
