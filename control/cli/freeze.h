#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/client.h"
#include "control/cli/host/mountinfo.h"

namespace volfs::cli {

// Returns the filesystems that are mounted from a volume's image, each with all its mountpoints.
// They are found through loop devices and their partitions, as far as this mount namespace shows
// them.
using FilesystemMounts = std::vector<MountEntry>;
std::vector<FilesystemMounts> FilesystemsOf(const Client& client, const std::string& volume,
                                            const std::vector<MountEntry>& mounts);

// Filesystems that are frozen (FIFREEZE): no process can write to them, and each is whole on its
// device, with an empty journal.
//
// A child process freezes them and holds their mountpoints. It thaws them when its pipe to this
// process ends for any reason, SIGKILL included. It thaws them in any case kMaxMs after it began to
// freeze, so a hung request cannot stop a user's services for good.
class Freeze {
 public:
  static constexpr int kMaxMs = 10'000;

  // Freezes all filesystems, or none if it returns an error. Before that it writes out the kernel's
  // dirty data, so that freezing has little left to do, and syncs `image`, the volume's image.
  // Returns kProtected if the kernel does not permit it, kBusy if another process has frozen one,
  // kNotSupported if a filesystem cannot be frozen.
  static Result<Freeze> Begin(const std::vector<FilesystemMounts>& filesystems,
                              const std::string& image);
  Freeze(Freeze&& other) noexcept = default;
  Freeze& operator=(Freeze&&) = delete;
  ~Freeze();  // calls End

  // Thaws all filesystems. Returns kIo, with the remedy, if they were not frozen all the time until
  // now, or cannot be thawed. Call it once.
  Status End();

 private:
  Freeze(pid_t child, Descriptor words, Descriptor lifeline)
      : child_(child), words_(std::move(words)), lifeline_(std::move(lifeline)) {}
  [[nodiscard]] std::string NextWord() const;

  pid_t child_;
  Descriptor words_;     // the child's messages, one per line
  Descriptor lifeline_;  // the child thaws when this is closed
};

}  // namespace volfs::cli
