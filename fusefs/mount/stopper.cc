#include "fusefs/mount/stopper.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "blockstore/base/log.h"
#include "blockstore/base/str_cat.h"
#include "fusefs/mount/mountpoint.h"

namespace volfs {
namespace {

constexpr int kTryAgainMs = 200;

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

Error NoDescriptor(const char* what) {
  const int os_errno = errno;
  return Error{Errc::kIo,
               StrCat("no file descriptor for ", what, ": ", std::strerror(os_errno),
                      "; raise the limit of open files or end something"),
               os_errno};
}

}  // namespace

void Stopper::BlockSignals() {
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGIO, SIG_IGN);  // a process opens a layer's file while the backing table has its lease
}

Result<std::unique_ptr<Stopper>> Stopper::Start(Filesystem& fs, Session& session,
                                                ServiceManager& service, std::string mountpoint) {
  const sigset_t set = StopSignals();
  Descriptor signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.ok()) return NoDescriptor("signals that end the mount");
  Descriptor end(::eventfd(0, EFD_CLOEXEC));
  if (!end.ok()) return NoDescriptor("the end of the mount");
  return std::unique_ptr<Stopper>(
      new Stopper(fs, session, service, std::move(mountpoint), std::move(signals), std::move(end)));
}

Stopper::Stopper(Filesystem& fs, Session& session, ServiceManager& service, std::string mountpoint,
                 Descriptor signals, Descriptor end)
    : fs_(fs),
      session_(session),
      service_(service),
      mountpoint_(std::move(mountpoint)),
      signal_fd_(std::move(signals)),
      end_fd_(std::move(end)) {
  thread_ = Thread("volfs-stopper", [this] { Work(); });
}

Stopper::~Stopper() {
  eventfd_write(end_fd_.get(), 1);
  thread_.Join();
}

void Stopper::Work() {
  while (true) {
    const bool trying = signals_ == 1 && !unmounted_ && !broken_off_;
    pollfd ready[] = {{signal_fd_.get(), POLLIN, 0}, {end_fd_.get(), POLLIN, 0}};
    ::poll(ready, 2, trying ? kTryAgainMs : -1);
    if ((ready[1].revents & POLLIN) != 0) return;
    signalfd_siginfo info{};
    const ssize_t got = ::read(signal_fd_.get(), &info, sizeof info);
    if (got == static_cast<ssize_t>(sizeof info)) OnSignal();
    if (signals_ == 1 && !unmounted_ && !broken_off_) TryUnmount();
  }
}

void Stopper::OnSignal() {
  if (++signals_ == 1) {
    LogInfo("asked to stop: no image is opened any more");
    first_signal_ = MonotonicNow();
    service_.Stopping("stopping");
    fs_.closing = true;
    fs_.parked.InterruptAll();
  } else if (signals_ == 2) {
    BreakOff("asked to stop twice");
  }
}

void Stopper::BreakOff(std::string_view why) {
  if (std::exchange(broken_off_, true)) return;
  LogWarning(StrCat(why, ": the mount ends although it is in use"));
  fs_.mapped_pages.Stop();  // it waits for writes, which the session will not answer any more
  session_.BreakOff();
}

void Stopper::TryUnmount() {
  const Status status = UnmountUnused(mountpoint_);
  unmounted_ = status.ok();
  if (status.ok()) return;
  if (service_.present() && MonotonicNow() - first_signal_ > kPatience) {
    return BreakOff("the service has to stop");
  }
  if (std::exchange(told_busy_, true)) return;
  service_.Status(StrCat("stopping: ", status.error().message));
  LogInfo(StrCat(status.error().message, "; going on until it is left, or until the next SIGTERM",
                 service_.present() ? ", for 30 seconds at most" : ""));
}

}  // namespace volfs
