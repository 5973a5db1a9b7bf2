#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/client.h"
#include "control/cli/host/mountinfo.h"

namespace volfs::cli {

// The filesystems that are mounted from a volume's image, each with all its mountpoints: through
// loop devices, also from their partitions, as far as they can be seen from this mount namespace.
using FilesystemMounts = std::vector<MountEntry>;
std::vector<FilesystemMounts> FilesystemsOf(const Client& client, const std::string& volume,
                                            const std::vector<MountEntry>& mounts);

// Filesystems that are frozen (FIFREEZE): nobody can write to them, and what is on their device is
// whole, with an empty journal.
//
// A child process freezes them and holds their mountpoints. It thaws them when its pipe to this
// process ends, however that comes, SIGKILL included, and in any case kMaxMs after it began to
// freeze: a request that is hung cannot stop somebody's services for good.
class Freeze {
 public:
  static constexpr int kMaxMs = 10'000;

  // Returns when all are frozen; after an error none is. What the kernel has of them is written
  // out before, so that freezing has little left to do. kProtected where the kernel does not permit
  // it, kBusy if somebody else has frozen one, kNotSupported by the filesystem.
  // `image`: the volume's image, which is synced before, too.
  static Result<Freeze> Begin(const std::vector<FilesystemMounts>& filesystems,
                              const std::string& image);
  Freeze(Freeze&& other) noexcept = default;
  Freeze& operator=(Freeze&&) = delete;
  ~Freeze();  // End

  // Returns when all are thawed. kIo, with what to do, if they were not frozen all the time until
  // now, or cannot be thawed. Once.
  Status End();

 private:
  Freeze(pid_t child, Descriptor words, Descriptor lifeline)
      : child_(child), words_(std::move(words)), lifeline_(std::move(lifeline)) {}
  [[nodiscard]] std::string NextWord() const;

  pid_t child_;
  Descriptor words_;     // what the child says, a line each
  Descriptor lifeline_;  // the child thaws when this is closed
};

}  // namespace volfs::cli
