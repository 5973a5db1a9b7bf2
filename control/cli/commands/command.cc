#include "control/cli/commands/command.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>

#include "blockstore/base/str_cat.h"
#include "control/cli/commands/command_line.h"
#include "control/cli/completion.h"
#include "control/cli/mount_helper.h"
#include "control/cli/process/bounded.h"
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

// The shell shows the suggestions. An error would be in the way of the line that is being typed,
// and so would be a daemon or a node that does not answer.
int SuggestWords(const CommandShape& program, const std::vector<std::string>& words) {
  constexpr auto kLimit = std::chrono::seconds(1);
  const std::optional<std::string> text = AnswerWithin(kLimit, [&] {
    std::string lines;
    for (const Suggestion& suggestion : Complete(program, words)) {
      lines += StrCat(suggestion.text, suggestion.says.empty() ? "" : "\t", suggestion.says, "\n");
    }
    return lines;
  });
  if (text) Print(*text);
  return FlushOutput().ok() ? kExitOk : kExitFailed;
}

int RunVolfs(int argc, char** argv, const CommandLineParts& parts) {
  CommandLine line(parts);
  if (argc > 1 && argv[1] == kCompleteWord) {
    return parts.run([&] { return SuggestWords(line.Shape(), {argv + 2, argv + argc}); });
  }
  if (const std::optional<int> ended = line.Parse(argc, argv)) return *ended;
  // A user or systemd has started a foreground daemon itself and signals it directly.
  if (line.foreground()) return line.Run();
  return parts.run([&line] {
    SetSupervised(line.name(), line.exit_code_if_hung());
    return line.Run();
  });
}

}  // namespace

int RunCommand(int argc, char** argv, const CommandLineParts& parts) {
  const std::string name = argc > 0 ? std::filesystem::path(argv[0]).filename().string() : "";
  if (!IsMountHelperName(name)) return RunVolfs(argc, argv, parts);
  return parts.run([&] {
    SetSupervised(kMountHelperName, MountHelperExitCode(Errc::kNodeDown));
    const std::vector<std::string> words(argv + 1, argv + argc);
    const Result<MountHelperCall> call = ParseMountHelper(words);
    if (!call.ok()) {
      PrintError(name, call.error());
      return MountHelperExitCode(call.error().code);
    }
    return call.value().fake ? static_cast<int>(kExitOk) : parts.mount(call.value().arguments);
  });
}

std::string HelpOfAllCommands() {
  const CommandLineParts parts;
  return CommandLine(parts).HelpOfAll();
}

}  // namespace volfs
