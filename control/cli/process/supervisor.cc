#include "control/cli/process/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_descriptor.h"
#include "control/cli/process/bounded.h"
#include "control/cli/process/failure.h"
#include "control/cli/process/files.h"
#include "control/cli/process/output.h"
#include "control/cli/process/standstill.h"

namespace volfs::cli {
namespace {

constexpr int kTickMs = 100;
constexpr int kPatienceTicks = kPatienceSeconds * 1000 / kTickMs;
constexpr int kSyncFactor = 4;
constexpr int kForever = 0;
constexpr std::string_view kDaemonOf = "the daemon of ";
constexpr int kAskTicks = 30;  // then the daemon is asked how it is, for two seconds at most

// The memory that worker and watcher share. The watcher reads the texts only while the worker
// sleeps, so they need no lock. If the worker has just woken up, a torn text goes into a message at
// worst.
struct Page {
  volatile pid_t worker;  // 0: it has not begun
  volatile int limit_ticks;
  volatile int hung_code;
  std::array<char, 64> name;
  std::array<char, 1024> what;
  std::array<char, 512> remedy;
  std::array<char, 4096> mountpoint;  // not empty: its daemon may take its time
  volatile bool events;               // news from that daemon, which may stay out for ever
};

Page* page = nullptr;  // null: there is no watcher

template <size_t kSize>
void Store(std::array<char, kSize>& to, std::string_view text) {
  const size_t length = std::min(text.size(), kSize - 1);
  std::memcpy(to.data(), text.data(), length);
  to[length] = '\0';
}

// ---- the watcher

// Copies the worker's output into a pipe or a socket.
class Relay {
 public:
  // A terminal or a file needs no relay: no reader waits for its end.
  static bool IsNeeded(int to) {
    struct stat info {};
    return ::fstat(to, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode));
  }

  explicit Relay(int to) : to_(to) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return;
    from_ = Descriptor(ends[0]);
    worker_ = Descriptor(ends[1]);
  }

  void BecomeOutput(int fd) const {
    if (worker_.ok()) ::dup2(worker_.get(), fd);
  }
  void CloseWorkersEnd() { worker_ = Descriptor(); }
  [[nodiscard]] int fd() const { return from_.get(); }

  // False: there is nothing (more).
  bool CopyOnce() {
    std::array<char, 65536> buffer;
    const ssize_t got = ::read(from_.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) return true;
    if (got <= 0 || !Write({buffer.data(), static_cast<size_t>(got)})) {
      from_ = Descriptor();  // the worker then learns that the reader is gone
      return false;
    }
    return true;
  }

  // Copies only the bytes that are there already: another process that the worker started may go on
  // for ever.
  void CopyRest() {
    pollfd ready{from_.get(), POLLIN, 0};
    while (from_.ok() && ::poll(&ready, 1, 0) > 0 && CopyOnce()) {
    }
  }

 private:
  bool Write(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t wrote = ::write(to_, text.data(), text.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) return false;
      text.remove_prefix(static_cast<size_t>(wrote));
    }
    return true;
  }

  const int to_;
  Descriptor from_;
  Descriptor worker_;
};

bool IsSameFile(int a, int b) {
  struct stat first {};
  struct stat second {};
  return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

volatile pid_t forward_to = 0;

// A terminal signals the whole group, the worker too; a signal of another process reaches only us.
void Forward(int number, siginfo_t* info, void*) {
  if (info->si_code <= 0 && forward_to > 0) ::kill(forward_to, number);
}

void ForwardSignals(pid_t worker) {
  forward_to = worker;
  struct sigaction action {};
  action.sa_sigaction = Forward;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) {
    ::sigaction(number, &action, nullptr);
  }
  ::signal(SIGPIPE, SIG_IGN);
}

// Of a line of control/metrics: the node that has kept a call waiting for some seconds.
std::string SlowNode(std::string_view line) {
  constexpr std::string_view kGauge = "volfs_node_waiting_seconds{node=\"";
  constexpr uint64_t kSlowSeconds = 2;
  if (!line.starts_with(kGauge)) return "";
  line.remove_prefix(kGauge.size());
  const size_t quote = line.find("\"} ");
  if (quote == line.npos) return "";
  const uint64_t seconds = ParseNumber(line.substr(quote + 3)).value_or(0);
  if (seconds < kSlowSeconds) return "";
  return StrCat("node ", line.substr(0, quote), " does not answer: a call has not returned for ",
                seconds, " s");
}

// Returns the trouble of a mount, of its daemon or, unless `events` are waited for, of a node;
// empty if there is none. The metrics of many volumes may take their time.
std::string TroubleOf(const std::string& mountpoint, bool events) {
  Question question([&mountpoint, events](const Question::Say& say) {
    const std::string nodes = mountpoint + "/control/nodes";
    const auto names = ListDirectory(nodes);
    if (events) return say("\n");  // it answers, or the next read tells what is wrong with it
    if (!names.ok()) return;
    for (const std::string& name : names.value()) {
      const auto state = ReadValue(StrCat(nodes, "/", name, "/state"));
      if (!state) return;
      if (state->starts_with("does not answer")) return say(StrCat("node ", name, " ", *state));
    }
    say("\n");  // the daemon answers
    const auto metrics = ReadFile(mountpoint + "/control/metrics");
    if (!metrics.ok()) return;
    for (const std::string_view line : SplitLines(metrics.value())) {
      if (const std::string slow = SlowNode(line); !slow.empty()) return say(slow);
    }
  });
  constexpr auto kLimit = std::chrono::milliseconds(1500);
  const auto answer = question.Await(Question::Clock::now() + kLimit);
  if (answer.said.empty()) return StrCat(kDaemonOf, mountpoint, " does not answer");
  return answer.said.substr(answer.said.starts_with('\n') ? 1 : 0);
}

class Watcher {
 public:
  explicit Watcher(pid_t worker) : worker_(worker) {
    pidfd_ = Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, worker, 0)));
  }

  void Copy(Relay& relay) { relays_.push_back(&relay); }

  int Run() {
    auto next_tick = Clock::now() + std::chrono::milliseconds(kTickMs);
    while (!Ended(next_tick)) {
      if (Clock::now() < next_tick) continue;
      next_tick = Clock::now() + std::chrono::milliseconds(kTickMs);
      if (const std::string trouble = Tick(); !trouble.empty()) return GiveUp(trouble);
    }
    for (Relay* const relay : relays_) relay->CopyRest();
    return ExitCode();
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Copies output until the time has come, or the worker has ended.
  bool Ended(Clock::time_point until) {
    std::array<pollfd, 3> ready{};
    ready[0] = {pidfd_.get(), POLLIN, 0};
    for (size_t i = 0; i < relays_.size(); ++i) ready[i + 1] = {relays_[i]->fd(), POLLIN, 0};
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (::poll(ready.data(), relays_.size() + 1,
               static_cast<int>(std::clamp<long>(left, 0, kTickMs))) <= 0) {
      return false;
    }
    for (size_t i = 0; i < relays_.size(); ++i) {
      if (ready[i + 1].revents != 0 && relays_[i]->fd() >= 0) (void)relays_[i]->CopyOnce();
    }
    return ready[0].revents != 0;
  }

  // Returns the thing that does not answer; empty while the worker goes on.
  std::string Tick() {
    const int stalled = standstill_.Look(page->worker);
    if (stalled == 0) return "";
    if (page->mountpoint[0] != '\0') {
      return stalled % kAskTicks == 0 ? TroubleOf(page->mountpoint.data(), page->events) : "";
    }
    const int limit = page->limit_ticks;
    if (limit == kForever || stalled < limit) return "";
    return StrCat(page->what[0] == '\0' ? "a call of the kernel" : page->what.data(),
                  " does not answer");
  }

  int GiveUp(const std::string& trouble) {
    for (Relay* const relay : relays_) relay->CopyRest();
    std::string text = StrCat(trouble, " (", standstill_.looks() * kTickMs / 1000, " s)");
    if (page->mountpoint[0] != '\0') {
      if (trouble.starts_with(kDaemonOf)) text += StrCat("; ", kSilentDaemonRemedy);
      if (!page->events) {
        text += "; the request may still be carried out when it does: see `volfs status`";
      }
    } else if (page->remedy[0] != '\0') {
      text += StrCat("; ", page->remedy.data());
    }
    PrintError(page->name.data(), Error{Errc::kNodeDown, text});
    ::kill(page->worker, SIGKILL);
    ::kill(worker_, SIGKILL);
    return page->hung_code;
  }

  int ExitCode() const {
    int status = 0;
    while (::waitpid(worker_, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status)) return WEXITSTATUS(status);
    const int number = WTERMSIG(status);
    ::signal(number, SIG_DFL);
    ::raise(number);
    return 128 + number;  // as a shell says it of one that does not kill us
  }

  const pid_t worker_;
  Descriptor pidfd_;
  std::vector<Relay*> relays_;
  Standstill standstill_;  // a look a tick
};

// Of a stop or a kill of the watcher the worker must not be left over.
[[noreturn]] void Work(pid_t watcher, const std::function<int()>& command) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != watcher) std::_Exit(1);
  std::exit(command());
}

Page* MakePage() {
  void* const memory =
      ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  Page* const made = new (memory) Page{};
  made->limit_ticks = kPatienceTicks;
  made->hung_code = kExitNodeNotThere;
  Store(made->name, "volfs");
  return made;
}

}  // namespace

int Supervise(const std::function<int()>& command) {
  page = MakePage();
  if (page == nullptr) return command();
  const bool one = IsSameFile(STDOUT_FILENO, STDERR_FILENO);
  std::optional<Relay> out;
  std::optional<Relay> errors;
  if (Relay::IsNeeded(STDOUT_FILENO)) out.emplace(STDOUT_FILENO);
  if (Relay::IsNeeded(STDERR_FILENO) && !(one && out)) errors.emplace(STDERR_FILENO);
  ::signal(SIGCHLD, SIG_DFL);  // if our parent ignored it, there would be no exit code
  const pid_t watcher = ::getpid();
  const pid_t worker = ::fork();
  if (worker < 0) {
    page = nullptr;
    return command();
  }
  if (worker == 0) {
    if (out) out->BecomeOutput(STDOUT_FILENO);
    if (one && out) out->BecomeOutput(STDERR_FILENO);
    if (errors) errors->BecomeOutput(STDERR_FILENO);
    out.reset();
    errors.reset();
    page->worker = ::getpid();
    Work(watcher, command);
  }
  // Not set here: by now the worker may have said that a daemon works for it.
  ForwardSignals(worker);
  Watcher watching(worker);
  for (std::optional<Relay>* const relay : {&out, &errors}) {
    if (!relay->has_value()) continue;
    (*relay)->CloseWorkersEnd();
    watching.Copy(**relay);
  }
  return watching.Run();
}

void SetSupervised(std::string_view name, int exit_code_if_hung) {
  if (page == nullptr) return;
  Store(page->name, name);
  page->hung_code = exit_code_if_hung;
}

void SetSupervisedProcess(pid_t pid) {
  if (page != nullptr) page->worker = pid;
}

Touching::Touching(std::string_view what, std::string_view remedy)
    : what_before_(page == nullptr ? "" : page->what.data()),
      remedy_before_(page == nullptr ? "" : page->remedy.data()) {
  Note(what, remedy);
}

Touching::~Touching() { Note(what_before_, remedy_before_); }

void Touching::Note(std::string_view what, std::string_view remedy) {
  if (page == nullptr) return;
  Store(page->what, what);
  Store(page->remedy, remedy);
}

Waiting::Waiting(For what)
    : limit_before_(page == nullptr ? kForever : page->limit_ticks),
      mountpoint_before_(page == nullptr ? "" : page->mountpoint.data()),
      events_before_(page != nullptr && page->events) {
  if (page == nullptr) return;
  page->limit_ticks = what == For::kEver ? kForever : kSyncFactor * kPatienceTicks;
}

Waiting::Waiting(const std::string& mountpoint, On what)
    : limit_before_(page == nullptr ? kForever : page->limit_ticks),
      mountpoint_before_(page == nullptr ? "" : page->mountpoint.data()),
      events_before_(page != nullptr && page->events) {
  if (page == nullptr) return;
  Store(page->mountpoint, mountpoint);
  page->events = what == On::kEvents;
}

Waiting::~Waiting() {
  if (page == nullptr) return;
  page->limit_ticks = limit_before_;
  Store(page->mountpoint, mountpoint_before_);
  page->events = events_before_;
}

}  // namespace volfs::cli
