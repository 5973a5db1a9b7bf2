#pragma once

#include <functional>
#include <string>
#include <vector>

#include "control/cli/mount_arguments.h"

namespace volfs {

// Mounts, prints its messages, and returns the exit code of the command.
using MountFunction = std::function<int(const MountArguments&)>;

// Runs a parsed command: directly, or under supervision (cli/process/supervisor.h).
using CommandRunner = std::function<int(const std::function<int()>&)>;

// The parts of the command that are not the client's.
struct CommandLineParts {
  MountFunction mount;
  std::vector<std::string> mount_options = {};  // "ro", "copy_rate="; for completion
  std::string version = VOLFS_VERSION;
  CommandRunner run = [](const auto& command) { return command(); };
};

// The `volfs` command. Reads the command line, does as it says, prints its errors, and returns the
// exit code (failure.h). Under the name of a mount helper it takes the arguments that mount(8)
// gives its helpers. All commands but `mount`, `check` and `node init` are clients of a mounted
// filesystem and know only its files.
int RunCommand(int argc, char** argv, const CommandLineParts& parts);

// Returns the help texts of all commands, one after another; a test compares the manual page with
// them.
std::string HelpOfAllCommands();

}  // namespace volfs
