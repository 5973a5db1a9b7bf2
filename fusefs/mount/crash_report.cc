#include "fusefs/mount/crash_report.h"

#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cassert>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string_view>

#include "blockstore/base/log.h"
#include "fusefs/mount/commit.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define VOLFS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define VOLFS_SANITIZED 1
#endif
#endif

namespace volfs {
namespace {

[[maybe_unused]] constexpr std::array kDeadly = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS};
constexpr int kMaxFrames = 64;

std::array<char, 512> reason{};  // of an abort; empty: unknown
std::atomic<bool> has_reason{false};
std::atomic_flag reported = ATOMIC_FLAG_INIT;

template <typename... Arguments>
void SetReason(const char* format, const Arguments&... arguments) {
  if (has_reason.exchange(true)) return;
  std::snprintf(reason.data(), reason.size(), format, arguments...);
}

[[noreturn]] void OnTerminate() {
  try {
    if (const std::exception_ptr current = std::current_exception()) {
      std::rethrow_exception(current);
    }
    SetReason("%s", "std::terminate");
  } catch (const std::exception& e) {
    SetReason("an exception that nothing catches: %s", e.what());
  } catch (...) {
    SetReason("%s", "an exception of an unknown type that nothing catches");
  }
  std::abort();
}

// As it is installed, the signal has its usual effect by the time that this runs.
[[maybe_unused]] void OnDeadlySignal(int number) {
  constexpr std::string_view kDies = "volfs " VOLFS_VERSION " dies of SIG";
  if (!reported.test_and_set()) {
    std::array<char, 16> thread{};
    pthread_getname_np(pthread_self(), thread.data(), thread.size());
    const char* const name = sigabbrev_np(number);
    LogRaw("critical", {kDies, name == nullptr ? "?" : name, " in thread ", thread.data(),
                        has_reason ? ": " : "", reason.data(), "; commit ",
                        Commit().empty() ? "unknown" : Commit(), "; the stack:"});
    std::array<void*, kMaxFrames> frames{};
    backtrace_symbols_fd(frames.data(), backtrace(frames.data(), kMaxFrames), RawLogFd());
  }
  ::raise(number);
}

// The first call of backtrace loads a library, which a signal handler must not.
[[maybe_unused]] void LoadUnwinder() {
  std::array<void*, 1> frame{};
  (void)backtrace(frame.data(), 1);
}

}  // namespace

void InstallCrashReport() {
  std::set_terminate(OnTerminate);
#ifndef VOLFS_SANITIZED  // a sanitizer reports better
  LoadUnwinder();
  static std::array<char, 65536> stack_of_handler;
  const stack_t other_stack{stack_of_handler.data(), 0, stack_of_handler.size()};
  sigaltstack(&other_stack, nullptr);
  struct sigaction action {};
  action.sa_handler = OnDeadlySignal;
  action.sa_flags = SA_ONSTACK | SA_RESETHAND | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  for (const int number : kDeadly) sigaction(number, &action, nullptr);
#endif
}

}  // namespace volfs

// In place of the C library's, whose message goes to a stderr that a daemon does not have.
extern "C" void __assert_fail(const char* assertion, const char* file, unsigned int line,
                              const char* function) noexcept {
  volfs::SetReason("%s:%u: %s: assertion `%s' failed", file, line, function, assertion);
  std::fprintf(stderr, "volfs: %s:%u: %s: assertion `%s' failed\n", file, line, function,
               assertion);
  std::abort();
}
