#pragma once

#include <string>

#include "blockstore/base/error.h"
#include "control/cli/client.h"

namespace volfs::cli {

// Waits until a clone depends on nothing, with a progress bar on stderr if that is a terminal.
// Returns ok when the clone is whole. SIGINT ends the waiting and not the clone: the error is
// kInterrupted, and its message says how to cancel the clone. Returns kIo if the clone is in
// `error` or was cancelled meanwhile.
Status WaitForClone(const Client& client, const std::string& volume);

}  // namespace volfs::cli
