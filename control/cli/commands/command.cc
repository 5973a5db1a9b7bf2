#include "control/cli/commands/command.h"

#include <cstdio>
#include <filesystem>

#include "blockstore/base/str_cat.h"
#include "control/cli/commands/command_line.h"
#include "control/cli/mount_helper.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/cli/process/supervisor.h"

namespace volfs {

namespace cli {

int Report(const std::string& command, const Status& status) {
  Status result = status;
  if (result.ok()) result = FlushOutput();
  std::fflush(stdout);  // the output comes before the error
  if (result.ok()) return kExitOk;
  PrintError(command, result.error());
  return ExitCodeOf(result.error().code);
}

}  // namespace cli

namespace {

using namespace cli;

int RunVolfs(int argc, char** argv, const MountFunction& mount, const CommandRunner& run) {
  CommandLine line(mount);
  if (const std::optional<int> ended = line.Parse(argc, argv)) return *ended;
  // A user or systemd has started a foreground daemon itself and signals it directly.
  if (line.foreground()) return line.Run();
  return run([&line] {
    SetSupervised(line.name(), line.exit_code_if_hung());
    return line.Run();
  });
}

}  // namespace

int RunCommand(int argc, char** argv, const MountFunction& mount, const CommandRunner& run) {
  const std::string name = argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "";
  if (name != kMountHelperName) return RunVolfs(argc, argv, mount, run);
  return run([&] {
    SetSupervised(kMountHelperName, kExitNodeNotThere);
    const std::vector<std::string> words(argv + 1, argv + argc);
    const Result<MountHelperCall> call = ParseMountHelper(words);
    if (!call.ok()) return Report(name, call.error());
    return call.value().fake ? static_cast<int>(kExitOk) : mount(call.value().arguments);
  });
}

std::string HelpOfAllCommands() {
  const MountFunction no_mount;
  return CommandLine(no_mount).HelpOfAll();
}

}  // namespace volfs
