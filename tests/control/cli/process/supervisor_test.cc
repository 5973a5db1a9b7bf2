// Goal: a command that hangs is ended in time, and the message says which call did not return. A
// command that works, waits or is stopped by its user ends as it would without a watcher.
#include "control/cli/process/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <functional>
#include <string>

#include "control/cli/process/bounded.h"

namespace volfs::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Clock = std::chrono::steady_clock;

struct Outcome {
  int exit_code = -1;
  int signal = 0;
  std::string output;
  Clock::duration took{};
};

// Supervises `command` in a process of its own. Reads its output to the end, which comes when all
// processes that have it open have ended. `meanwhile` gets the watcher's pid.
Outcome Watched(const std::function<int()>& command,
                const std::function<void(pid_t)>& meanwhile = {}) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe(ends.data()), 0);
  std::fflush(nullptr);
  const auto begin = Clock::now();
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    const int code = Supervise(command);
    std::fflush(nullptr);
    ::_exit(code);
  }
  ::close(ends[1]);
  if (meanwhile) meanwhile(child);
  Outcome outcome;
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; (got = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
    outcome.output.append(buffer.data(), static_cast<size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome.signal = WTERMSIG(status);
  outcome.took = Clock::now() - begin;
  return outcome;
}

// Sleeps in one call, as a call to a dead server does.
void SleepOnce(int seconds) { ::sleep(static_cast<unsigned>(seconds)); }

TEST(SupervisorTest, ACommandEndsAsItWouldAlone) {
  const Outcome good = Watched([] {
    std::printf("out\n");
    std::fflush(stdout);
    std::fprintf(stderr, "err\n");
    return 3;
  });
  EXPECT_EQ(good.exit_code, 3);
  EXPECT_EQ(good.output, "out\nerr\n") << "both streams, in order";
  EXPECT_EQ(Watched([]() -> int {
              ::raise(SIGTERM);
              return 0;
            }).signal,
            SIGTERM);
}

TEST(SupervisorTest, OneThatHangsIsEndedAndNamesWhatDidNotAnswer) {
  const Outcome hung = Watched([] {
    SetSupervised("volfs look", 7);
    std::printf("before\n");
    std::fflush(stdout);
    const Touching outer("node directory /outer");
    const Touching inner("node directory /far", "look at its server");
    SleepOnce(60);
    return 0;
  });
  EXPECT_EQ(hung.exit_code, 7);
  EXPECT_THAT(hung.output, AllOf(HasSubstr("before"), HasSubstr("volfs look: node directory /far"),
                                 HasSubstr("does not answer"), HasSubstr("look at its server")));
  EXPECT_LT(hung.took, std::chrono::seconds(20));
}

// A daemon, for example, that is starting must not go on after its command has given up.
TEST(SupervisorTest, AProcessThatWorksForACommandIsEndedWithIt) {
  std::array<int, 2> alive{};  // the read ends when the process is gone
  ASSERT_EQ(::pipe(alive.data()), 0);
  const Outcome hung = Watched([&] {
    ::close(alive[0]);
    const pid_t daemon = ::fork();
    if (daemon == 0) {
      ::close(STDOUT_FILENO);
      ::close(STDERR_FILENO);
      const Touching touching("node directory /far");
      SleepOnce(60);
      ::_exit(0);
    }
    ::close(alive[1]);
    SetSupervisedProcess(daemon);
    ::waitpid(daemon, nullptr, 0);
    return 0;
  });
  ::close(alive[1]);
  EXPECT_EQ(hung.exit_code, 7);
  EXPECT_THAT(hung.output, HasSubstr("node directory /far does not answer"));
  const auto begin = Clock::now();
  char letter = 0;
  EXPECT_EQ(::read(alive[0], &letter, 1), 0);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(20));
  ::close(alive[0]);
}

TEST(SupervisorTest, WhatWaitsOrWorksIsLeftAlone) {
  const Outcome waited = Watched([] {
    const Waiting waiting(Waiting::For::kEver);
    SleepOnce(kPatienceSeconds + 2);
    return 4;
  });
  EXPECT_EQ(waited.exit_code, 4) << waited.output;
  const Outcome worked = Watched([] {
    for (int i = 0; i < 10 * (kPatienceSeconds + 2); ++i) ::usleep(100'000);
    return 5;
  });
  EXPECT_EQ(worked.exit_code, 5) << worked.output;
}

TEST(SupervisorTest, ASignalThatIsSentToTheCommandReachesIt) {
  const Outcome killed = Watched(
      [] {
        const Waiting waiting(Waiting::For::kEver);
        ::write(STDOUT_FILENO, "x", 1);
        SleepOnce(60);
        return 0;
      },
      [](pid_t watcher) {
        ::usleep(300'000);
        ::kill(watcher, SIGINT);
      });
  EXPECT_EQ(killed.signal, SIGINT);
  EXPECT_LT(killed.took, std::chrono::seconds(20));
}

TEST(BoundedTest, AnAnswerComesWholeOrNotAtAll) {
  const std::string large(200'000, 'x');
  EXPECT_EQ(AnswerWithin(std::chrono::seconds(20), [&] { return large; }), large);
  const auto begin = Clock::now();
  EXPECT_EQ(AnswerWithin(std::chrono::milliseconds(100),
                         [] {
                           SleepOnce(60);
                           return std::string("late");
                         }),
            std::nullopt);
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(20));
}

TEST(BoundedTest, PathsAreGoneThereOrUnknown) {
  const PathsFound found =
      LookAtPaths({"/", "/nosuch/path", "/proc/self/exe/x"}, std::chrono::seconds(20));
  EXPECT_THAT(found.gone, testing::ElementsAre("/nosuch/path", "/proc/self/exe/x"));
  EXPECT_THAT(found.silent, testing::IsEmpty());
}

}  // namespace
}  // namespace volfs::cli
