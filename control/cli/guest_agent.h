#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "blockstore/base/error.h"
#include "blockstore/io/posix_descriptor.h"

namespace volfs::cli {

// One connection to a QEMU guest agent, by the unix socket of its channel (as QEMU's chardev has
// it, or `qemu-ga -m unix-listen`). The agent is a program of the guest, which is not trusted: it
// may hang, lie and send anything. Each method returns at its deadline at the latest.
//
// Thread-safety: one thread.
class GuestAgent {
 public:
  using Clock = std::chrono::steady_clock;

  explicit GuestAgent(std::string socket) : socket_(std::move(socket)) {}

  // Connects, and has the agent forget earlier requests (guest-sync-delimited). An earlier
  // connection is closed. Returns kNodeDown if the agent does not answer.
  Status Connect(Clock::time_point deadline);

  // Sends a command without arguments and returns its answer: "3", "frozen". Returns kIo, with the
  // agent's words, if it refuses, and kNodeDown if it does not answer or the connection ends. After
  // an error only Connect may follow.
  Result<std::string> Ask(std::string_view command, Clock::time_point deadline);

 private:
  Status Open(Clock::time_point deadline);
  Status Send(std::string_view bytes, Clock::time_point deadline) const;
  // Returns the next line without its LF.
  Result<std::string> ReadLine(Clock::time_point deadline);
  Status ReadMore(Clock::time_point deadline);
  [[nodiscard]] Status AwaitReady(short events, Clock::time_point deadline) const;
  [[nodiscard]] Error Silent() const;

  const std::string socket_;
  Descriptor connection_;
  std::string read_;  // behind the last line
};

}  // namespace volfs::cli
