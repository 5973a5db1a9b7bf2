#pragma once

#include <string>
#include <vector>

namespace volfs {

// The result of a command. `output` holds its standard output and standard error in the order of
// writing.
struct CommandResult {
  static constexpr int kTimedOut = -1;

  int exit_code = 0;  // 128 + N if signal N ended it; kTimedOut: it was killed with its group
  std::string output;

  [[nodiscard]] bool ok() const { return exit_code == 0; }
};

struct CommandOptions {
  std::string input = {};      // its standard input
  std::string directory = {};  // its working directory; empty: the caller's
  int timeout_ms = 60'000;     // an address-sanitized program on a busy machine is slow
};

// Runs a program, found by PATH, in a process group of its own, and waits for its end, but not for
// its background processes. Throws std::runtime_error if it cannot be started.
CommandResult RunProgram(const std::vector<std::string>& words, const CommandOptions& options = {});

// The same with `sh -c LINE`.
CommandResult RunShell(const std::string& line, const CommandOptions& options = {});

// Runs a step that a test relies on, as RunShell does, and returns the output. Throws
// std::runtime_error, with the output, if the exit code is not 0.
std::string MustRun(const std::string& line, const CommandOptions& options = {});

// A program that runs while the test goes on. The destructor kills it with its group.
class BackgroundProgram {
 public:
  explicit BackgroundProgram(const std::vector<std::string>& words,
                             const CommandOptions& options = {});
  ~BackgroundProgram();
  BackgroundProgram(const BackgroundProgram&) = delete;
  BackgroundProgram& operator=(const BackgroundProgram&) = delete;

  [[nodiscard]] int pid() const { return pid_; }
  // Waits for its end for at most `timeout_ms`. Returns false if it still runs.
  bool WaitForEnd(int timeout_ms);
  void Signal(int number) const;
  // Kills it if it has not ended within `timeout_ms`.
  CommandResult Finish(int timeout_ms);

 private:
  int pid_ = -1;
  int pid_fd_ = -1;
  int output_fd_ = -1;
};

// Returns "'it'\''s'": the text as one word of a shell.
std::string Quoted(const std::string& text);

}  // namespace volfs
