#pragma once

#include <string>
#include <vector>

namespace volfs::cli {

// Has the daemon commit everything and returns the failures, one sentence each. Empty if all is
// durable, or if the daemon cannot be asked (another user's mount, an older daemon). Waits for as
// long as the daemon is at work, and says so. Each question is answered within half a second, so
// the supervisor deals with a daemon that hangs.
std::vector<std::string> AskUnsaved(const std::string& mountpoint);

// Returns, as wait(2) does, the status with which a process that is no child of ours ended; 0 if it
// is no longer known. `pidfd` is of the process.
int ExitStatusOf(int pid, int pidfd);

}  // namespace volfs::cli
