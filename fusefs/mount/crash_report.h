#pragma once

namespace volfs {

// Has a death of the process by a fault of its own (an assertion, an exception that nothing
// catches, a bad address) leave one line in the log (the fault, the thread, the version) and the
// stack of that thread below it. The process then dies as it would have: same signal, same core
// file. For the daemon, once, when its log is open.
//
// The stack's addresses are relative to the file, so that `addr2line -e volfs -fCi ADDRESS` tells
// the lines. Not covered: a stack that overflows, except that of the first thread.
void InstallCrashReport();

}  // namespace volfs
