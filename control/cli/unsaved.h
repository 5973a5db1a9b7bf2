#pragma once

#include <string>
#include <vector>

namespace volfs::cli {

// Has the daemon commit everything and returns what could not be made durable, a sentence each;
// none if all is, or if the daemon cannot be asked (another user's mount, an older daemon). Waits
// for as long as the daemon is at work, and says so; each question is answered within half a
// second, so a daemon that hangs is the supervisor's business.
std::vector<std::string> AskUnsaved(const std::string& mountpoint);

// How a process ended that is no child of ours, as wait(2) tells it; 0 if that cannot be told any
// more. `pidfd` is of the process.
int ExitStatusOf(int pid, int pidfd);

}  // namespace volfs::cli
