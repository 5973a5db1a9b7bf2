#pragma once

#include <memory>
#include <optional>
#include <string>

#include "control/cli/commands/command.h"
#include "control/cli/completion.h"

namespace volfs::cli {

// The command line of `volfs`: all commands with their options, parsed by CLI11, and the action of
// the command that was given. Thread-safety: one thread.
class CommandLine {
 public:
  explicit CommandLine(const CommandLineParts& parts);  // which must outlive it
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  // Returns nothing if there is a command to run. Else prints the help that was asked for, or the
  // fault, and returns the exit code.
  std::optional<int> Parse(int argc, char** argv);

  // ---- of the command that was given

  [[nodiscard]] bool foreground() const;          // `volfs mount -f`
  [[nodiscard]] const std::string& name() const;  // "volfs clone"
  [[nodiscard]] int exit_code_if_hung() const;
  // Does as the command says, prints its error, and returns its exit code.
  [[nodiscard]] int Run() const;

  [[nodiscard]] std::string HelpOfAll() const;
  [[nodiscard]] CommandShape Shape() const;  // for completion

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Prints the error of `command`, if there is one, and returns the exit code.
int Report(const std::string& command, const Status& status);

}  // namespace volfs::cli
