#pragma once

#include <optional>
#include <string>

#include "blockstore/base/error.h"

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
  // Each ends the command. Later reports go to the log only. `printed` is the line, without its LF,
  // that the command prints for `text`.
  void Ready(const std::string& text, const std::string& printed);
  void Fail(const Error& error);

  // The command's side: prints what comes. Returns nothing if the mount is ready, else why not.
  static std::optional<Errc> Await(int pipe_fd);

 private:
  void Send(const std::string& message);
  void Close();

  const bool foreground_;
  int fd_;  // -1: no command listens (any more)
};

}  // namespace volfs
