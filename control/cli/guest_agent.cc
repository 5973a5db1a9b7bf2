#include "control/cli/guest_agent.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "blockstore/base/str_cat.h"
#include "control/cli/process/failure.h"
#include "control/text/json.h"
#include "control/text/name.h"

namespace volfs::cli {
namespace {

// Stands before the answer of guest-sync-delimited, and before its request makes the agent drop the
// beginning of another client's request.
constexpr char kDelimiter = '\xff';
constexpr size_t kMaxLine = 65'536;
constexpr size_t kMaxShown = 200;

std::string Returned(std::string_view line) {
  for (const auto& [name, value] : ParseFlatJson(line)) {
    if (name == "return") return value;
  }
  return "";
}

}  // namespace

Error GuestAgent::Silent() const {
  return Error{Errc::kNodeDown,
               StrCat(socket_,
                      ": the guest agent does not answer; see that it runs in the guest, "
                      "and that no other program is connected to this socket")};
}

Status GuestAgent::AwaitReady(short events, Clock::time_point deadline) const {
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd ready{connection_.get(), events, 0};
    const int polled = ::poll(&ready, 1, static_cast<int>(std::max<long>(left, 0)));
    if (polled > 0) return OkStatus();
    if (polled == 0 || errno != EINTR) return Silent();
  }
}

Status GuestAgent::Open(Clock::time_point deadline) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof address.sun_path) {
    return UsageFailure(StrCat(socket_, ": is too long for the path of a socket"));
  }
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  connection_ = Descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  read_.clear();
  constexpr int kStepMs = 20;
  while (::connect(connection_.get(), reinterpret_cast<const sockaddr*>(&address),
                   sizeof address) != 0) {
    if (errno == ECONNREFUSED) {
      return Failure(errno, StrCat(socket_, ": no guest agent listens there; start it"));
    }
    if (errno != EAGAIN && errno != EINTR) return SystemFailure(socket_);  // EAGAIN: many wait
    if (Clock::now() >= deadline) return Silent();
    ::poll(nullptr, 0, kStepMs);
  }
  return OkStatus();
}

Status GuestAgent::Send(std::string_view bytes, Clock::time_point deadline) const {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(connection_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno == EAGAIN) {
      RETURN_IF_ERROR(AwaitReady(POLLOUT, deadline));
    } else if (errno != EINTR) {
      return Silent();
    }
  }
  return OkStatus();
}

Status GuestAgent::ReadMore(Clock::time_point deadline) {
  RETURN_IF_ERROR(AwaitReady(POLLIN, deadline));
  std::array<char, 4096> buffer;
  const ssize_t got = ::recv(connection_.get(), buffer.data(), buffer.size(), 0);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return OkStatus();
  if (got <= 0) return Silent();
  read_.append(buffer.data(), static_cast<size_t>(got));
  if (read_.size() <= kMaxLine) return OkStatus();
  return Error{Errc::kIo, StrCat(socket_, ": this is no guest agent; its answers have no end")};
}

Result<std::string> GuestAgent::ReadLine(Clock::time_point deadline) {
  for (;;) {
    if (Clock::now() >= deadline) return Silent();  // one that sends for ever
    const size_t end = read_.find('\n');
    if (end != std::string::npos) {
      std::string line = read_.substr(0, end);
      read_.erase(0, end + 1);
      return line;
    }
    RETURN_IF_ERROR(ReadMore(deadline));
  }
}

Status GuestAgent::Connect(Clock::time_point deadline) {
  RETURN_IF_ERROR(Open(deadline));
  const std::string id =
      std::to_string(static_cast<uint64_t>(Clock::now().time_since_epoch().count() & 0x7fffffff));
  RETURN_IF_ERROR(
      Send(StrCat(std::string(1, kDelimiter),
                  "{\"execute\":\"guest-sync-delimited\",\"arguments\":{\"id\":", id, "}}\n"),
           deadline));
  for (;;) {
    ASSIGN_OR_RETURN(const std::string line, ReadLine(deadline));
    const size_t at = line.rfind(kDelimiter);
    if (Returned(std::string_view(line).substr(at == line.npos ? 0 : at + 1)) == id) {
      return OkStatus();
    }
  }
}

Result<std::string> GuestAgent::Ask(std::string_view command, Clock::time_point deadline) {
  RETURN_IF_ERROR(Send(StrCat("{\"execute\":\"", command, "\"}\n"), deadline));
  ASSIGN_OR_RETURN(const std::string line, ReadLine(deadline));
  std::string answer = Returned(line);
  if (!answer.empty()) return answer;
  return Error{Errc::kIo, StrCat(socket_, ": the guest agent refuses ", command, ": ",
                                 Printable(line, kMaxShown))};
}

}  // namespace volfs::cli
