#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "blockstore/base/error.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/freezable.h"

namespace volfs::cli {

// Filesystems that are frozen: no process can write to them, and each is whole on its device, with
// an empty journal.
//
// A child process freezes and thaws them. It thaws them when its pipe to this process ends for any
// reason, SIGKILL included. It thaws them in any case kMaxMs after it began to freeze, so a hung
// request cannot stop a user's services for good.
class Freeze {
 public:
  static constexpr int kMaxMs = 10'000;

  // Freezes `what`, all of it or nothing. Returns the error of Freezable::Freeze.
  static Result<Freeze> Begin(std::unique_ptr<Freezable> what);
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
