#pragma once

#include <string>

#include "control/cli/freezable.h"
#include "control/cli/guest_agent.h"

namespace volfs::cli {

// The filesystems of a guest, frozen by its QEMU guest agent (guest-fsfreeze-freeze).
//
// After a request that it did not answer the agent is told to thaw. An agent that
// says one thing and does another can make the copy no worse than one without freezing.
class Guest : public Freezable {
 public:
  // The limits of the requests to the agent. Its own of a frozen Windows is 10 s.
  struct Limits {
    std::chrono::milliseconds connect{2000};
    std::chrono::milliseconds freeze{6000};
    std::chrono::milliseconds thaw{8000};
  };

  explicit Guest(const std::string& socket) : Guest(socket, Limits()) {}
  Guest(const std::string& socket, Limits limits)
      : socket_(socket), limits_(limits), agent_(socket) {}

  // Returns kNodeDown if the agent does not answer, kIo if it refuses, or if nothing is frozen
  // although it says so.
  Status Freeze() override;
  // Tries until its limit, over new connections, too.
  Status Thaw() override;

 private:
  Status AskToFreeze();
  Status AskToThaw(GuestAgent::Clock::time_point deadline);
  [[nodiscard]] Error NotThawed(const Error& reason) const;

  const std::string socket_;
  const Limits limits_;
  GuestAgent agent_;
};

}  // namespace volfs::cli
