#include "tests/control/cli/commands/command_run.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "control/cli/commands/command.h"

namespace volfs {

CommandRun RunVolfsCommand(std::vector<std::string> words) {
  words.insert(words.begin(), "volfs");
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  std::fflush(nullptr);  // otherwise both processes would write the buffered text
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    const int code = RunCommand(static_cast<int>(words.size()), argv.data(),
                                {.mount = [](const MountArguments&) { return 99; }});
    std::fflush(nullptr);
    ::_exit(code);
  }
  ::close(ends[1]);
  CommandRun run;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
    run.output.append(buffer.data(), static_cast<size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status)) run.exit_code = WEXITSTATUS(status);
  return run;
}

}  // namespace volfs
