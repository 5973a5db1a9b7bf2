#pragma once

#include <functional>
#include <string>

#include "fusefs/mount/start_report.h"

namespace volfs {

// Runs `body` in a daemon (a child, in a session of its own, stdin and stdout closed off, log in
// `log_file`) and returns, in the caller, the exit code of the command: 0 when the daemon reports
// that it is ready, else `exit_code` of its error. With an empty log_file the log stays on stderr.
// The daemon ends with the exit code that `body` returns. Requires: no thread was started, no lock
// is held.
int RunAsDaemon(const std::string& log_file, int (*exit_code)(Errc),
                const std::function<int(StartReport&)>& body);

// Asks the kernel for the rights of a daemon that a disk may stand on: many files, no I/O of its
// own when it allocates memory (PR_SET_IO_FLUSHER), and not to die first when memory is short. Logs
// each right that the kernel does not grant (CAP_SYS_RESOURCE may lack even to root). Before any
// thread.
void PrepareProcess();

// Returns how many files of layers a daemon with so many nodes may have open at once. After
// PrepareProcess.
size_t MaxLayerFiles(size_t nodes);

}  // namespace volfs
