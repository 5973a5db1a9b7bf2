#include "fusefs/mount/service_manager.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "blockstore/base/log.h"
#include "blockstore/base/safe_text.h"
#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

constexpr const char* kVariable = "NOTIFY_SOCKET";

// "/run/x" is a file, "@x" the abstract name x.
Descriptor ConnectTo(std::string_view name, int send_limit_seconds) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (name.size() < 2 || name.size() >= sizeof address.sun_path) return Descriptor();
  std::memcpy(&address.sun_path[0], name.data(), name.size());
  if (name[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  Descriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const timeval limit{send_limit_seconds, 0};
  if (!socket.ok() ||
      ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
      ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    return Descriptor();
  }
  return socket;
}

}  // namespace

bool ServiceManager::Asked() {
  const char* name = std::getenv(kVariable);
  return name != nullptr && *name != '\0';
}

void ServiceManager::Disregard() { ::unsetenv(kVariable); }

ServiceManager::ServiceManager() : since_(MonotonicNow()) {
  if (!Asked()) return;
  socket_ = ConnectTo(std::getenv(kVariable), kSendLimitSeconds);
  if (!socket_.ok()) {
    LogWarning(StrCat("the service manager cannot be told anything: ", kVariable, ": ",
                      std::strerror(errno)));
    return;
  }
  thread_ = Thread("volfs-service", [this] { Pulse(); });
}

ServiceManager::~ServiceManager() {
  if (!present()) return;
  Enter(State::kEnded);
  thread_.Join();
}

void ServiceManager::Status(std::string_view text) const {
  Send(StrCat("STATUS=", SafeText(text)));
}

void ServiceManager::Ready(std::string_view text) {
  Enter(State::kServing);
  Send(StrCat("READY=1\nSTATUS=", SafeText(text)));
}

void ServiceManager::Stopping(std::string_view text) {
  Enter(State::kStopping);
  Send(StrCat("STOPPING=1\nSTATUS=", SafeText(text)));
}

// Stopping may be said twice: by a signal and then by the end of the mount.
void ServiceManager::Enter(State state) {
  MutexLock lock(mu_);
  if (state_ == state) return;
  state_ = state;
  since_ = MonotonicNow();
  changed_.NotifyAll();
}

void ServiceManager::Pulse() {
  const auto microseconds = std::chrono::duration_cast<std::chrono::microseconds>(kExtension);
  const std::string more = StrCat("EXTEND_TIMEOUT_USEC=", microseconds.count());
  MutexLock lock(mu_);
  while (state_ != State::kEnded) {
    const Nanoseconds now = MonotonicNow();
    const bool asks = state_ != State::kServing && now - since_ < kMaxExtension;
    if (asks) Send(more);
    (void)changed_.WaitUntil(mu_, asks ? now + kPulse : kForever);
  }
}

void ServiceManager::Send(std::string_view message) const {
  if (!present()) return;
  (void)::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL);
}

}  // namespace volfs
