#include "fusefs/mount/daemon.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>

#include "blockstore/base/log.h"
#include "blockstore/base/memory.h"
#include "blockstore/base/str_cat.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/supervisor.h"
#include "fusefs/mount/crash_report.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#endif

namespace volfs {
namespace {

constexpr rlim_t kFiles = 1U << 20;
constexpr const char* kOomScore = "-900";

void LogRefused(const char* what) {
  LogInfo(StrCat("not granted: ", what, ": ", std::strerror(errno)));
}

void ReplaceStdio(bool keep_stderr) {
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return;
  ::dup2(null, STDIN_FILENO);
  ::dup2(null, STDOUT_FILENO);
  if (!keep_stderr) ::dup2(null, STDERR_FILENO);
  if (null > STDERR_FILENO) ::close(null);
}

// Closes the caller's files, which a daemon does not need: a pipe among them would never end.
int KeepOnly(int fd) {
  const int kept = STDERR_FILENO + 1;
  if (fd != kept) {
    ::dup2(fd, kept);
    ::fcntl(kept, F_SETFD, FD_CLOEXEC);
  }
  ::close_range(static_cast<unsigned>(kept) + 1, ~0U, 0);
  return kept;
}

int RunChild(int pipe_fd, const std::string& log_file,
             const std::function<int(StartReport&)>& body) {
  ::setsid();
  if (::chdir("/") != 0) LogRefused("chdir to /");
  const int fd = KeepOnly(pipe_fd);
  const bool logging = !log_file.empty() && LogToFile(log_file);
  ReplaceStdio(/*keep_stderr=*/!logging);
  StartReport report(fd);
  return body(report);
}

}  // namespace

int RunAsDaemon(const std::string& log_file, int (*exit_code)(Errc),
                const std::function<int(StartReport&)>& body) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    cli::PrintError("volfs mount", cli::SystemFailure("pipe"));
    return exit_code(Errc::kNoFiles);
  }
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child < 0) {
    cli::PrintError("volfs mount", cli::SystemFailure("fork"));
    return exit_code(Errc::kNoMemory);
  }
  if (child == 0) {
    ::close(ends[0]);
    std::exit(RunChild(ends[1], log_file, body));
  }
  ::close(ends[1]);
  cli::SetSupervisedProcess(child);  // it alone touches the nodes
  const std::optional<Errc> failed = StartReport::Await(ends[0]);
  ::close(ends[0]);
  return failed ? exit_code(*failed) : kExitOk;
}

namespace {

// The kernel may need a write to an image to get memory back, so the daemon that serves it must not
// have to be swapped in first. Locks all of the daemon, as it comes into use: maps, buffers,
// stacks. Only where the limit lets all of it be locked: past it, allocations would fail.
void LockMemory() {
  const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
  rlimit now{};
  const bool unlimited = ::setrlimit(RLIMIT_MEMLOCK, &all) == 0 ||
                         (::getrlimit(RLIMIT_MEMLOCK, &now) == 0 && now.rlim_cur == RLIM_INFINITY);
  if (!unlimited || ::mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0) {
    LogRefused("locked memory");
  }
}

}  // namespace

// The others are the session's, one a thread (32, and 32 more a node), catalogs, directories, logs.
// More than some ten thousand gain nothing, and each keeps an inode in the kernel's memory.
size_t MaxLayerFiles(size_t nodes) {
  constexpr size_t kMin = 16;
  constexpr size_t kMax = 32768;
  const size_t others = 64 + 48 * nodes;
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < others + kMin) return kMin;
  return std::min<size_t>(files.rlim_cur - others, kMax);
}

namespace {

struct Inherited {
  __rlimit_resource resource;
  const char* what;
  rlim_t wanted;
  rlim_t enough;  // for most; not worth a warning
};

// Limits that a shell, a service manager or PAM may have set for other programs, and that end a
// daemon or starve it without a word. A request that meets one fails with its errno, but it is
// better known before.
constexpr std::array<Inherited, 3> kRaised = {{
    {RLIMIT_NOFILE, "open files (ulimit -n)", kFiles, 4096},
    {RLIMIT_FSIZE, "the bytes of a file (ulimit -f)", RLIM_INFINITY, RLIM_INFINITY},
    {RLIMIT_CPU, "the seconds of CPU time (ulimit -t)", RLIM_INFINITY, RLIM_INFINITY},
}};

// What an administrator sets to protect the machine from a program. A request that needs more is
// refused, with ENOMEM, or waits for a thread.
constexpr std::array<Inherited, 3> kKept = {{
    {RLIMIT_AS, "the bytes of address space (ulimit -v)", RLIM_INFINITY, RLIM_INFINITY},
    {RLIMIT_DATA, "the bytes of data (ulimit -d)", RLIM_INFINITY, RLIM_INFINITY},
    {RLIMIT_NPROC, "processes and threads (ulimit -u)", RLIM_INFINITY, 1024},
}};

void Raise(const Inherited& inherited) {
  rlimit now{};
  if (::getrlimit(inherited.resource, &now) != 0 || now.rlim_cur >= inherited.wanted) return;
  const rlimit wanted{inherited.wanted, std::max(now.rlim_max, inherited.wanted)};
  if (::setrlimit(inherited.resource, &wanted) == 0) return;
  const rlimit allowed{now.rlim_max, now.rlim_max};
  (void)::setrlimit(inherited.resource, &allowed);
  if (now.rlim_max >= inherited.enough) return;
  LogWarning(StrCat("there is a limit on ", inherited.what, " that could not be raised: ",
                    now.rlim_max, "; requests that need more will be refused"));
}

void TellOfKept(const Inherited& inherited) {
  rlimit now{};
  if (::getrlimit(inherited.resource, &now) != 0 || now.rlim_cur >= inherited.enough) return;
  LogInfo(StrCat("there is a limit on ", inherited.what, ", which is kept: ", now.rlim_cur,
                 "; requests that need more are refused or wait"));
}

// A limit that is met is the errno of the call that met it.
void IgnoreSignalsOfLimits() {
  for (const int number : {SIGXFSZ, SIGXCPU, SIGPIPE}) ::signal(number, SIG_IGN);
}

}  // namespace

void PrepareProcess() {
  IgnoreSignalsOfLimits();
  for (const Inherited& inherited : kRaised) Raise(inherited);
  for (const Inherited& inherited : kKept) TellOfKept(inherited);
  PrepareForLackOfMemory();
  InstallCrashReport();
  if (::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0) LogRefused("PR_SET_IO_FLUSHER");
  LockMemory();
  std::ofstream score("/proc/self/oom_score_adj");
  score << kOomScore << std::flush;
  if (!score) LogRefused("a low oom_score_adj");
}

}  // namespace volfs
