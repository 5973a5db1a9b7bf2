#pragma once

#include <functional>
#include <string>

#include "fusefs/mount/start_report.h"

namespace volfs {

// Runs `body` in a daemon (a child, in a session of its own, stdin and stdout closed off, log in
// `log_file`) and returns, in the caller, what the daemon reported: the exit code of the command.
// An empty log_file: the log stays on stderr. No thread may have been started, no lock been taken.
// The daemon ends with the exit code that `body` returns.
int RunAsDaemon(const std::string& log_file, const std::function<int(StartReport&)>& body);

// Asks the kernel for what a daemon needs that a disk may stand on: many files, no I/O of its own
// when it allocates memory (PR_SET_IO_FLUSHER), not to be the first that dies when memory is short.
// What is not granted (CAP_SYS_RESOURCE may lack even to root) is logged. Before any thread.
void PrepareProcess();

// How many files of layers a daemon with so many nodes may have open at once. After PrepareProcess.
size_t MaxLayerFiles(size_t nodes);

}  // namespace volfs
