#pragma once

#include <string>

#include "blockstore/base/error.h"
#include "control/cli/client.h"

namespace volfs::cli {

// Requests for a copy of a volume whose filesystems are frozen meanwhile.

struct FreezeOptions {
  bool filesystems = false;  // those that are mounted here from the volume
  std::string agent;         // of a guest that has the volume as its disk: its socket
  [[nodiscard]] bool wanted() const { return filesystems || !agent.empty(); }
};

struct FreezableSource {
  std::string volume;
  std::string command;  // "volfs clone", for messages
  FreezeOptions freeze;
};

// Asks `file` with `line` as Client::Ask does, with the source frozen as its options want. Prints
// its warnings before anything is frozen: they may be on their way into a file on that filesystem.
// `unclean` says why the instant may be none of a frozen filesystem.
Result<Reply> AskFrozen(const Client& client, const FreezableSource& source,
                        const std::string& file, const std::string& line, Status& unclean);

// Returns the error of a copy that was made all the same.
Error UncleanCopy(const std::string& copy, const Error& unclean);

}  // namespace volfs::cli
