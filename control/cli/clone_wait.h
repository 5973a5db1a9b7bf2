#pragma once

#include <string>

#include "blockstore/base/error.h"
#include "control/cli/client.h"

namespace volfs::cli {

// Waits until a clone depends on nothing, with a progress bar on stderr if that is a terminal.
// Returns ok when it is whole. SIGINT ends the waiting, not the clone: kInterrupted, and the
// message says how to cancel it. kIo if the clone is in `error`, or was cancelled meanwhile.
Status WaitForClone(const Client& client, const std::string& volume);

}  // namespace volfs::cli
