#include "control/cli/process/bounded.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <utility>

namespace volfs::cli {
namespace {

// A hung child must not keep descriptors open whose end other processes wait for, as the reader of
// our output does.
int KeepOnlyAnswer(int fd) {
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int standard : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    ::dup2(nothing, standard);
  }
  const int kept = ::fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (kept > STDERR_FILENO + 1) {
    ::dup2(kept, STDERR_FILENO + 1);
  }
  ::close_range(STDERR_FILENO + 2, ~0U, 0);
  return STDERR_FILENO + 1;
}

[[noreturn]] void RunChild(int fd, const std::function<void(const Question::Say&)>& ask) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::signal(SIGPIPE, SIG_IGN);
  const int answer = KeepOnlyAnswer(fd);
  ask([answer](std::string_view text) {
    while (!text.empty()) {
      const ssize_t wrote = ::write(answer, text.data(), text.size());
      if (wrote <= 0) std::_Exit(1);
      text.remove_prefix(static_cast<size_t>(wrote));
    }
  });
  std::_Exit(0);
}

}  // namespace

Question::Question(const std::function<void(const Say&)>& ask) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
  answer_ = Descriptor(ends[0]);
  const Descriptor say(ends[1]);
  child_ = ::fork();
  if (child_ == 0) RunChild(say.get(), ask);
}

Question::Question(Question&& other) noexcept
    : child_(std::exchange(other.child_, -1)), answer_(std::move(other.answer_)) {}

// Not waited for: it may never end.
Question::~Question() {
  if (child_ > 0) ::kill(child_, SIGKILL);
}

Question::Answer Question::Await(Clock::time_point deadline) {
  Answer answer;
  while (child_ > 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd ready{answer_.get(), POLLIN, 0};
    const int polled = ::poll(&ready, 1, static_cast<int>(std::max<long>(left, 0)));
    if (polled < 0 && errno == EINTR) continue;
    if (polled <= 0) return answer;
    std::array<char, 4096> buffer;
    const ssize_t got = ::read(answer_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got > 0) {
      answer.said.append(buffer.data(), static_cast<size_t>(got));
      continue;
    }
    int status = 0;
    ::waitpid(std::exchange(child_, -1), &status, 0);
    answer.whole = got == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }
  return answer;
}

std::optional<std::string> AnswerWithin(std::chrono::milliseconds limit,
                                        const std::function<std::string()>& ask) {
  Question question([&ask](const Question::Say& say) { say(ask()); });
  Question::Answer answer = question.Await(Question::Clock::now() + limit);
  if (!answer.whole) return std::nullopt;
  return std::move(answer.said);
}

// One child for each path: a path that hangs takes no time from the others, however many hang.
PathsFound LookAtPaths(const std::vector<std::string>& paths, std::chrono::milliseconds limit) {
  constexpr std::string_view kGone = "gone";
  const auto deadline = Question::Clock::now() + limit;
  std::vector<Question> questions;
  questions.reserve(paths.size());
  for (const std::string& path : paths) {
    questions.emplace_back([&path, kGone](const Question::Say& say) {
      std::error_code error;
      if (!std::filesystem::exists(path, error) && !error) say(kGone);
    });
  }
  PathsFound found;
  for (size_t i = 0; i < paths.size(); ++i) {
    const Question::Answer answer = questions[i].Await(deadline);
    if (!answer.whole) found.silent.push_back(paths[i]);
    if (answer.whole && answer.said == kGone) found.gone.push_back(paths[i]);
  }
  return found;
}

}  // namespace volfs::cli
