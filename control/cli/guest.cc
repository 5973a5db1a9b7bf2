#include "control/cli/guest.h"

#include <poll.h>

#include <algorithm>

#include "blockstore/base/str_cat.h"
#include "control/cli/process/files.h"
#include "control/text/name.h"

namespace volfs::cli {
namespace {

using Clock = GuestAgent::Clock;

constexpr std::string_view kFreeze = "guest-fsfreeze-freeze";
constexpr std::string_view kStatus = "guest-fsfreeze-status";
constexpr std::string_view kThaw = "guest-fsfreeze-thaw";
constexpr auto kAnswer = std::chrono::milliseconds(1500);  // of a question that needs no disk

}  // namespace

// A count of 0, or another status than "frozen", is no frozen guest.
Status Guest::AskToFreeze() {
  ASSIGN_OR_RETURN(const std::string count, agent_.Ask(kFreeze, Clock::now() + limits_.freeze));
  ASSIGN_OR_RETURN(const std::string status, agent_.Ask(kStatus, Clock::now() + kAnswer));
  if (ParseNumber(count).value_or(0) > 0 && status == "frozen") return OkStatus();
  return Error{Errc::kIo, StrCat(socket_, ": the guest agent has frozen ", Printable(count),
                                 " filesystems and says that the guest is ", Printable(status),
                                 "; look at its configuration")};
}

Status Guest::Freeze() {
  RETURN_IF_ERROR(agent_.Connect(Clock::now() + limits_.connect));
  const Status frozen = AskToFreeze();
  if (frozen.ok()) return frozen;
  const Status thawed = AskToThaw(Clock::now() + limits_.thaw);  // it may freeze late
  if (!thawed.ok()) return NotThawed(frozen.error());
  Error error = frozen.error();
  error.message += "; the guest is thawed, and nothing was asked";
  return error;
}

// An agent that has died and come back answers over a new connection.
Status Guest::AskToThaw(Clock::time_point deadline) {
  constexpr int kStepMs = 50;
  Status status = OkStatus();
  do {
    status = agent_.Connect(std::min(deadline, Clock::now() + limits_.connect));
    if (status.ok()) {
      const Result<std::string> thawed =
          agent_.Ask(kThaw, std::min(deadline, Clock::now() + kAnswer));
      const Result<std::string> now =
          thawed.ok() ? agent_.Ask(kStatus, std::min(deadline, Clock::now() + kAnswer)) : thawed;
      if (now.ok() && now.value() == "thawed") return OkStatus();
      status = now.ok()
                   ? Error{Errc::kIo, StrCat(socket_, ": the guest agent says that the guest is ",
                                             Printable(now.value()))}
                   : now.error();
    }
    ::poll(nullptr, 0, kStepMs);
  } while (Clock::now() < deadline);
  return status;
}

Status Guest::Thaw() {
  const Result<std::string> before = agent_.Ask(kStatus, Clock::now() + kAnswer);
  const Status thawed = AskToThaw(Clock::now() + limits_.thaw);
  if (!thawed.ok()) return NotThawed(thawed.error());
  if (before.ok() && before.value() == "frozen") return OkStatus();
  return Error{Errc::kIo,
               StrCat(socket_, ": the guest was thawed before the instant was known to be fixed (",
                      before.ok() ? StrCat("its agent says that it was ", Printable(before.value()))
                                  : std::string("its agent did not answer"),
                      ")")};
}

Error Guest::NotThawed(const Error& reason) const {
  return Error{reason.code, StrCat(reason.message,
                                   "; the guest may still be frozen: virsh domfsthaw DOMAIN, or "
                                   "guest-fsfreeze-thaw over ",
                                   socket_, ", thaws it")};
}

}  // namespace volfs::cli
