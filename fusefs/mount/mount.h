#pragma once

#include "control/cli/mount_arguments.h"

namespace volfs {

// `volfs mount`: checks what can be checked, starts the daemon (or becomes it, in the foreground),
// tells people how it went and returns the exit code (contract.md section 3).
//
// The process that was called forks before it has opened or started anything: locks on nodes are
// not inherited, and threads do not survive a fork. The child does the work and reports.
int Mount(const MountArguments& arguments);

}  // namespace volfs
