#pragma once

#include <string>

namespace volfs {

// How a starting daemon tells the command that started it how it went. In the foreground the two
// are one process and it prints; else it goes through a pipe, one line a message.
//
// Thread-safety: one thread at a time.
class StartReport {
 public:
  explicit StartReport(int pipe_fd) : foreground_(pipe_fd < 0), fd_(pipe_fd) {}  // -1: foreground
  ~StartReport();
  StartReport(const StartReport&) = delete;
  StartReport& operator=(const StartReport&) = delete;

  void Warn(const std::string& text);
  // Each ends the command. Later reports go to the log only.
  void Ready(const std::string& text);
  void Fail(int exit_code, const std::string& text);

  // The command's side: prints what comes and returns the exit code.
  static int Await(int pipe_fd);

 private:
  void Send(const std::string& message);
  void Close();

  const bool foreground_;
  int fd_;  // -1: no command listens (any more)
};

}  // namespace volfs
