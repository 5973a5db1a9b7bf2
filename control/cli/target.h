#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "blockstore/base/error.h"
#include "control/cli/client.h"

namespace volfs::cli {

// "volumes/db" and "nodes/a/db" -> "db", "snapshots/db/monday" -> "db@monday"; nothing for what is
// not an image. `relative` is a path below a mount.
std::optional<std::string> ImageName(std::string_view relative);

// `path` made absolute by the working directory, without "." and "..". Looks at no file.
std::string AbsolutePath(const std::string& path);

// Finds out which mount a command means, and what its arguments are called there: by --mount, else
// from an argument that is a path, else from the working directory, else as the only mount there
// is. Ask for the names first, then for the mount.
class Targets {
 public:
  explicit Targets(std::string mount_option) : mount_option_(std::move(mount_option)) {}

  // The name of what exists: a volume's. kInvalid if it cannot be one's name.
  Result<std::string> Volume(const std::string& argument);
  // The same, or VOLUME@SNAP.
  Result<std::string> Image(const std::string& argument);
  // Of what shall be made: MNT/volumes/NAME is taken too, other paths are not.
  Result<std::string> NewVolume(const std::string& argument);

  Result<Client> Mount();

 private:
  Result<Client> FindClient();
  Result<std::string> NameFromPath(const std::string& argument);

  std::string mount_option_;
  std::string mountpoint_;  // from a path argument
};

}  // namespace volfs::cli
