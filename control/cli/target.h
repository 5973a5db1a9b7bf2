#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "blockstore/base/error.h"
#include "control/cli/client.h"

namespace volfs::cli {

// Returns "db" for "volumes/db" and "nodes/a/db", "db@monday" for "snapshots/db/monday", and
// nothing for a path that is no image. `relative` is a path below a mount.
std::optional<std::string> ImageName(std::string_view relative);

// Returns `path` made absolute by the working directory, without "." and "..". Looks at no file.
std::string AbsolutePath(const std::string& path);

// Returns the mountpoint in the environment variable VOLFS_MOUNT, "" if that is not set.
std::string DefaultMount();

// Finds the mount that a command means, and the names of its arguments there. The mount is that of
// --mount, else of an argument that is a path, else of VOLFS_MOUNT, else of the working directory,
// else the only one there is. Ask for the names first, then for the mount.
class Targets {
 public:
  explicit Targets(std::string mount_option) : mount_option_(std::move(mount_option)) {}

  // Returns the name of an existing volume. kInvalid if it cannot be a volume's name.
  Result<std::string> Volume(const std::string& argument);
  // Does the same, and takes VOLUME@SNAP too.
  Result<std::string> Image(const std::string& argument);
  // Returns the name of a new volume. MNT/volumes/NAME is taken too, other paths are not.
  Result<std::string> NewVolume(const std::string& argument);

  Result<Client> Mount();

 private:
  Result<Client> FindClient();
  Result<std::string> NameFromPath(const std::string& argument);

  std::string mount_option_;
  std::string mountpoint_;  // from a path argument
};

}  // namespace volfs::cli
