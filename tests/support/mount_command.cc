#include "tests/support/mount_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace volfs {
namespace {

[[noreturn]] void Fail(const std::string& what, int os_errno) {
  throw std::runtime_error(what + ": " + std::strerror(os_errno));
}

int MemoryFile(const std::string& text) {
  const int fd = ::memfd_create("volfs-test", MFD_CLOEXEC);
  if (fd < 0) Fail("memfd_create", errno);
  if (::pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    Fail("writing a command's input", errno);
  }
  return fd;
}

std::string ContentsOf(int fd) {
  std::string text;
  std::array<char, 16384> buffer;
  for (ssize_t got = 0;
       (got = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(text.size()))) > 0;) {
    text.append(buffer.data(), static_cast<size_t>(got));
  }
  return text;
}

// posix_spawn(3), not fork(2): a test may have threads.
pid_t Spawn(const std::vector<std::string>& words, const std::string& directory, int in, int out) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out, STDERR_FILENO);
  if (!directory.empty()) posix_spawn_file_actions_addchdir_np(&actions, directory.c_str());
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  std::vector<char*> argv;
  for (const std::string& word : words) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = -1;
  const int failed = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) Fail(words.front(), failed);
  return pid;
}

}  // namespace

BackgroundProgram::BackgroundProgram(const std::vector<std::string>& words,
                                     const CommandOptions& options) {
  const int input_fd = MemoryFile(options.input);
  ::lseek(input_fd, 0, SEEK_SET);
  // A file and not a pipe, so that a process that keeps it open cannot delay the reader.
  output_fd_ = MemoryFile("");
  ::fcntl(output_fd_, F_SETFL, O_APPEND);
  pid_ = Spawn(words, options.directory, input_fd, output_fd_);
  ::close(input_fd);
  pid_fd_ = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  if (pid_fd_ < 0) Fail("pidfd_open", errno);
}

BackgroundProgram::~BackgroundProgram() {
  if (pid_ > 0) Finish(0);
  ::close(pid_fd_);
  ::close(output_fd_);
}

bool BackgroundProgram::WaitForEnd(int timeout_ms) {
  pollfd ended{pid_fd_, POLLIN, 0};
  return ::poll(&ended, 1, timeout_ms) > 0;
}

void BackgroundProgram::Signal(int number) const { ::kill(pid_, number); }

CommandResult BackgroundProgram::Finish(int timeout_ms) {
  CommandResult result;
  const bool ended = WaitForEnd(timeout_ms);
  if (!ended) ::kill(-pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
  result.output = ContentsOf(output_fd_);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  if (!ended) result.exit_code = CommandResult::kTimedOut;
  return result;
}

CommandResult RunProgram(const std::vector<std::string>& words, const CommandOptions& options) {
  BackgroundProgram program(words, options);
  return program.Finish(options.timeout_ms);
}

CommandResult RunShell(const std::string& line, const CommandOptions& options) {
  return RunProgram({"sh", "-c", line}, options);
}

std::string MustRun(const std::string& line, const CommandOptions& options) {
  const CommandResult result = RunShell(line, options);
  if (result.ok()) return result.output;
  throw std::runtime_error(line + ": exit code " + std::to_string(result.exit_code) + "\n" +
                           result.output);
}

std::string Quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c;
    }
  }
  return out + "'";
}

}  // namespace volfs
