#include "control/cli/freeze.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <string_view>

#include "blockstore/base/str_cat.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"

namespace volfs::cli {
namespace {

// The messages of the child. A failure is "failed ERRC ERRNO SENTENCE".
constexpr std::string_view kFrozen = "frozen";
constexpr std::string_view kThawed = "thawed";
constexpr std::string_view kLate = "late";  // thawed, as the time was over
constexpr std::string_view kFailed = "failed ";

std::string FailedWord(const Error& error) {
  std::string sentence = error.message;
  std::replace(sentence.begin(), sentence.end(), '\n', ' ');
  return StrCat(kFailed, static_cast<int>(error.code), " ", error.os_errno, " ", sentence);
}

Error ReadFailed(std::string_view word) {
  word.remove_prefix(kFailed.size());
  const auto number = [&word] {
    const size_t end = std::min(word.find(' '), word.size());
    const uint64_t value = ParseNumber(word.substr(0, end)).value_or(0);
    word.remove_prefix(std::min(end + 1, word.size()));
    return static_cast<int>(value);
  };
  const auto code = static_cast<Errc>(number());
  const int os_errno = number();
  return Error{code, std::string(word), os_errno};
}

// The child. It may touch the frozen filesystem only through the Freezable.
class Keeper {
 public:
  Keeper(Freezable& what, const Descriptor& words, const Descriptor& lifeline)
      : what_(what), words_(words), lifeline_(lifeline) {}

  void Run() {
    LeaveTheTerminal();
    what_.Prepare();
    const auto deadline =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(Freeze::kMaxMs);
    const Status frozen = what_.Freeze();
    if (!frozen.ok()) return Say(FailedWord(frozen.error()));
    Say(std::string(kFrozen));
    const bool in_time = AwaitEnd(deadline);
    const Status thawed = what_.Thaw();
    Say(thawed.ok() ? std::string(in_time ? kThawed : kLate) : FailedWord(thawed.error()));
  }

 private:
  // A signal that interrupts the command, or kills its process group, shall not kill the child.
  static void LeaveTheTerminal() {
    ::setsid();
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE}) ::signal(number, SIG_IGN);
    if (::chdir("/") != 0) return;
    const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(nothing, fd);
  }

  // False: the time is over.
  [[nodiscard]] bool AwaitEnd(std::chrono::steady_clock::time_point deadline) const {
    for (;;) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      pollfd ended{lifeline_.get(), POLLIN, 0};
      if (left.count() <= 0) return false;
      if (::poll(&ended, 1, static_cast<int>(left.count())) > 0) return true;
    }
  }

  void Say(std::string word) const {
    word += '\n';
    (void)!::write(words_.get(), word.data(), word.size());
  }

  Freezable& what_;
  const Descriptor& words_;
  const Descriptor& lifeline_;
};

}  // namespace

Result<Freeze> Freeze::Begin(std::unique_ptr<Freezable> what) {
  std::array<int, 2> words{};
  std::array<int, 2> lifeline{};
  if (::pipe2(words.data(), O_CLOEXEC) != 0) return SystemFailure("a pipe to freeze");
  Descriptor words_out(words[0]);
  Descriptor words_in(words[1]);
  if (::pipe2(lifeline.data(), O_CLOEXEC) != 0) return SystemFailure("a pipe to freeze");
  Descriptor lifeline_out(lifeline[0]);
  Descriptor lifeline_in(lifeline[1]);
  const pid_t child = ::fork();
  if (child < 0) return SystemFailure("a process to freeze");
  if (child == 0) {
    lifeline_in = Descriptor();  // or it would never end
    Keeper(*what, words_in, lifeline_out).Run();
    ::_exit(0);
  }
  words_in = Descriptor();
  Freeze freeze(child, std::move(words_out), std::move(lifeline_in));
  const std::string word = freeze.NextWord();
  if (word == kFrozen) return freeze;
  if (word.starts_with(kFailed)) return ReadFailed(word);
  return Error{Errc::kIo, "the process that freezes has ended; nothing was asked"};
}

Freeze::~Freeze() {
  if (lifeline_.ok()) (void)End();
}

// "" at its end.
std::string Freeze::NextWord() const {
  std::string word;
  for (char c = 0;;) {
    const ssize_t got = ::read(words_.get(), &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0 || c == '\n') return word;
    word += c;
  }
}

Status Freeze::End() {
  lifeline_ = Descriptor();
  const std::string word = NextWord();
  while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (word == kThawed) return OkStatus();
  if (word == kLate) {
    return Error{Errc::kIo,
                 StrCat("it took more than ", kMaxMs / 1000,
                        " s, so the filesystem was thawed before the instant was known to "
                        "be fixed")};
  }
  if (word.starts_with(kFailed)) return ReadFailed(word);
  return Error{Errc::kIo,
               "the process that freezes was killed, and may have left the filesystem "
               "frozen; if so, run fsfreeze -u on its mountpoint"};
}

}  // namespace volfs::cli
