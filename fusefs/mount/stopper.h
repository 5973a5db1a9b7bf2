#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/io/posix_descriptor.h"
#include "fusefs/mount/service_manager.h"
#include "fusefs/mount/session.h"
#include "fusefs/serve/filesystem.h"

namespace volfs {

// Ends the mount at SIGTERM and SIGINT, on a thread of its own (contract.md, promise 8):
//
//   serving --first signal--> closing --the mount is unused--> unmounted, Serve ends
//                                |
//                                +--second signal, or kPatience--> broken off, Serve ends
//
// A service manager kills a daemon that does not end in time, and written data might be lost. So
// under one the daemon waits for users of the mount for kPatience only; all is committed then.
// While the mount is closing, opening an image is refused with ESHUTDOWN, and so are blocked
// readers of control/watch/. A process that has a file open goes on. A shell whose working
// directory is on the mount counts as a user, too. SIGHUP and SIGPIPE mean nothing.
class Stopper {
 public:
  // To be called once, before any thread is started: all threads inherit the blocked signals.
  static void BlockSignals();

  // An error where the host gives no descriptor: a mount that cannot be told to end must not begin.
  [[nodiscard]] static Result<std::unique_ptr<Stopper>> Start(Filesystem& fs, Session& session,
                                                              ServiceManager& service,
                                                              std::string mountpoint);
  ~Stopper();  // when Serve has ended
  Stopper(const Stopper&) = delete;
  Stopper& operator=(const Stopper&) = delete;

 private:
  static constexpr Nanoseconds kPatience = std::chrono::seconds(30);  // less than TimeoutStopSec=

  Stopper(Filesystem& fs, Session& session, ServiceManager& service, std::string mountpoint,
          Descriptor signals, Descriptor end);
  void Work();
  void OnSignal();
  void TryUnmount();
  void BreakOff(std::string_view why);

  Filesystem& fs_;
  Session& session_;
  ServiceManager& service_;
  const std::string mountpoint_;
  const Descriptor signal_fd_;
  const Descriptor end_fd_;  // an eventfd: the destructor was called
  // Of the thread.
  int signals_ = 0;
  Nanoseconds first_signal_{};
  bool told_busy_ = false;
  bool unmounted_ = false;
  bool broken_off_ = false;
  Thread thread_;
};

}  // namespace volfs
