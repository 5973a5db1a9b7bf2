#pragma once

#include <functional>
#include <string>

#include "control/cli/mount_arguments.h"

namespace volfs {

// Mounts, tells people what it has to tell, and returns the exit code of the command.
using MountFunction = std::function<int(const MountArguments&)>;

// Runs a command that has been understood: by itself, or under supervision
// (cli/process/supervisor.h).
using CommandRunner = std::function<int(const std::function<int()>&)>;

// The `volfs` command: reads the command line, does what it says, prints what went wrong, returns
// the exit code (failure.h). Under the name mount.volfs it takes what mount(8) gives its helpers.
// All but `mount`, `check` and `node init` are clients of a mounted filesystem: they know its files
// only.
int RunCommand(
    int argc, char** argv, const MountFunction& mount,
    const CommandRunner& run = [](const auto& command) { return command(); });

// The help texts of all commands, one after another: what the manual page is compared with.
std::string HelpOfAllCommands();

}  // namespace volfs
