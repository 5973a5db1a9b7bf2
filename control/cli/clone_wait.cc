#include "control/cli/clone_wait.h"

#include <fcntl.h>
#include <poll.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <optional>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/output.h"
#include "control/cli/progress.h"

namespace volfs::cli {
namespace {

constexpr int kRedrawMs = 200;

volatile std::sig_atomic_t interrupted = 0;

// While it lives, SIGINT only sets the flag and interrupts the waiting call.
class InterruptGuard {
 public:
  InterruptGuard() {
    interrupted = 0;
    struct sigaction action {};
    action.sa_handler = [](int) { interrupted = 1; };
    ::sigaction(SIGINT, &action, &before_);  // no SA_RESTART: poll and read shall return
  }
  ~InterruptGuard() { ::sigaction(SIGINT, &before_, nullptr); }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  struct sigaction before_ {};
};

// One line of a terminal that is drawn again and again.
class ProgressLine {
 public:
  ProgressLine() : shown_(IsTerminal(STDERR_FILENO)) {}
  ~ProgressLine() {
    if (drawn_) EndRedrawn();
  }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void Draw(const Client& client, const std::string& volume) {
    if (!shown_) return;
    const Result<Progress> progress = ReadProgress(client, volume);
    if (!progress.ok())
      return;  // renamed meanwhile, say; the watch file tells the end all the same
    const size_t width = TerminalWidth(STDERR_FILENO) - 1;  // the last column would wrap
    Redraw(RenderProgress(volume, progress.value(), width));
    drawn_ = true;
  }

 private:
  const bool shown_;
  bool drawn_ = false;
};

// Waits for `fd` to become readable, a while at most. Where the daemon's file says that it is
// readable and then is not (`after_nothing`), only time passes: no busy loop.
void Wait(int fd, bool after_nothing) {
  pollfd waiting{fd, POLLIN, 0};
  if (::poll(&waiting, 1, kRedrawMs) > 0 && after_nothing) {
    ::poll(nullptr, 0, kRedrawMs);
  }
}

// The status that the watch file gives once the clone is not `creating`.
Result<std::string> AwaitStatus(const Client& client, const std::string& volume) {
  const std::string path = client.PathOf(StrCat("control/watch/volumes/", volume));
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!fd.ok()) return SystemFailure(path);
  ProgressLine progress;
  bool nothing = false;
  while (interrupted == 0) {
    std::array<char, 128> buffer;
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got >= 0) {
      progress.Draw(client, volume);
      const std::string_view text(buffer.data(), static_cast<size_t>(got));
      return std::string(text.substr(0, text.find('\n')));
    }
    if (errno != EAGAIN && errno != EINTR) return SystemFailure(volume);
    progress.Draw(client, volume);
    Wait(fd.get(), nothing);
    nothing = true;
  }
  return Failure(EINTR, "");
}

Error StillRunning(const Client& client, const std::string& volume) {
  return Error{Errc::kInterrupted,
               StrCat(volume, ": goes on being copied in the background", kNoteBreak,
                      "see: volfs status ", volume, " --watch --mount ", client.mountpoint(),
                      kNoteBreak, "stop: volfs cancel ", volume, " --mount ", client.mountpoint())};
}

}  // namespace

Status WaitForClone(const Client& client, const std::string& volume) {
  const InterruptGuard guard;
  const Result<std::string> status = AwaitStatus(client, volume);
  if (interrupted != 0) return StillRunning(client, volume);
  if (!status.ok() && status.error().os_errno != ENOENT) return status.error();
  const std::string word = status.ok() ? status.value() : "deleted";
  if (word == "available" || word == "in-use") return OkStatus();
  if (word != "error")
    return Error{Errc::kIo, StrCat(volume, ": was cancelled or deleted meanwhile")};
  const Result<std::string> reason = client.Field(volume, "error");
  return Error{Errc::kIo, StrCat(volume, ": ", reason.ok() ? reason.value() : "is in error",
                                 kNoteBreak, "try again: echo \"", volume, " resume=1\" > ",
                                 client.PathOf("control/clone"))};
}

}  // namespace volfs::cli
