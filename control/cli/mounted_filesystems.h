#pragma once

#include <memory>
#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/client.h"
#include "control/cli/freezable.h"
#include "control/cli/host/mountinfo.h"

namespace volfs::cli {

// Returns the filesystems that are mounted from a volume's image, each with all its mountpoints.
// They are found through loop devices and their partitions, as far as this mount namespace shows
// them.
using FilesystemMounts = std::vector<MountEntry>;
std::vector<FilesystemMounts> FilesystemsOf(const Client& client, const std::string& volume,
                                            const std::vector<MountEntry>& mounts);

// Filesystems that are mounted here, frozen by FIFREEZE. Their mountpoints stay open.
class MountedFilesystems : public Freezable {
 public:
  // Opens the mountpoints and `image`, the volume's image, which is synced before the freezing.
  static Result<std::unique_ptr<MountedFilesystems>> Open(
      const std::vector<FilesystemMounts>& filesystems, const std::string& image);

  void Prepare() override;
  // Returns kProtected if the kernel does not permit it, kBusy if another process has frozen one,
  // kNotSupported if a filesystem cannot be frozen.
  Status Freeze() override;
  Status Thaw() override;

 private:
  struct Filesystem {
    std::string mountpoint;
    Descriptor fd;
  };
  static Result<Filesystem> OpenVisible(const FilesystemMounts& mounts);

  std::vector<Filesystem> filesystems_;
  Descriptor image_;
  size_t frozen_ = 0;
};

}  // namespace volfs::cli
