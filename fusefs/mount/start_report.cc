#include "fusefs/mount/start_report.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"

namespace volfs {
namespace {

void PrintWarning(const std::string& text) { cli::PrintNote(StrCat("volfs: warning: ", text)); }

// The name of an errno is not printed for people: the sentence says enough.
void PrintFailure(Errc code, const std::string& text) {
  cli::PrintError("volfs mount", Error{code, text});
}

void PrintReady(const std::string& line) {
  cli::Print(line + "\n");
  (void)cli::FlushOutput();
}

// A message is a line: 'W', 'R' or 'F', and its text; of 'F': the Errc as a number, a blank, the
// text. Returns false if others follow; `failed` is for an 'F'.
bool PrintLast(const std::string& line, std::optional<Errc>& failed) {
  const std::string text = line.substr(1);
  if (line[0] == 'W') {
    PrintWarning(text);
    return false;
  }
  if (line[0] == 'R') {
    PrintReady(text);
    return true;
  }
  const size_t blank = text.find(' ');
  const auto code = static_cast<Errc>(std::atoi(text.c_str()));
  PrintFailure(code, text.substr(blank + 1));
  failed = code;
  return true;
}

}  // namespace

StartReport::~StartReport() { Close(); }

void StartReport::Warn(const std::string& text) {
  LogWarning(text);
  Send(StrCat("W", text));
}

void StartReport::Ready(const std::string& text, const std::string& printed) {
  LogInfo(text);
  if (foreground_) PrintReady(printed);
  Send(StrCat("R", printed));
  Close();
}

void StartReport::Fail(const Error& error) {
  if (foreground_) return PrintFailure(error.code, error.message);
  LogError(error.message);
  Send(StrCat("F", static_cast<int>(error.code), " ", error.message));
  Close();
}

std::optional<Errc> StartReport::Await(int pipe_fd) {
  std::optional<Errc> failed;
  std::string pending;
  char buffer[1024];
  while (true) {
    const ssize_t got = ::read(pipe_fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    pending.append(buffer, static_cast<size_t>(got));
    for (size_t end = pending.find('\n'); end != std::string::npos; end = pending.find('\n')) {
      const std::string line = pending.substr(0, end);
      pending.erase(0, end + 1);
      if (!line.empty() && PrintLast(line, failed)) return failed;
    }
  }
  PrintFailure(Errc::kIo, "the daemon died while it started; its log may say why");
  return Errc::kIo;
}

void StartReport::Send(const std::string& message) {
  if (fd_ < 0) return;
  std::string line = message;
  std::replace(line.begin(), line.end(), '\n', ';');
  line += '\n';
  // If the command was killed, the write fails and the daemon goes on.
  [[maybe_unused]] const ssize_t sent = ::write(fd_, line.data(), line.size());
}

void StartReport::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

}  // namespace volfs
