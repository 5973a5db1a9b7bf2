#pragma once

#include <string>
#include <string_view>

#include "blockstore/base/runtime.h"
#include "blockstore/io/posix_descriptor.h"

namespace volfs {

// The service manager that started this daemon and waits for its words, if there is one: systemd,
// with Type=notify (sd_notify(3)). Without one all methods do nothing.
//
//   starting --Ready--> serving --Stopping--> stopping --the destructor--> the end
//
// A start that reads large catalogs and an end that writes out much data may take longer than the
// manager waits. So a thread asks for more time every kPulse, in both states, for kMaxExtension at
// most. A daemon that hangs is then ended by the manager.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf, held over a send(2) of the
// thread. Cost: a thread, if there is a manager; a send(2) a method, which blocks for
// kSendLimitSeconds at most.
class ServiceManager {
 public:
  // Reads $NOTIFY_SOCKET. Requires: blocked signals, as the thread inherits them.
  ServiceManager();
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // Returns whether a service manager started this process, and wants to be told.
  static bool Asked();

  // Forgets it. Requires: no other thread runs.
  static void Disregard();

  [[nodiscard]] bool present() const { return socket_.ok(); }

  // Each shows `text`, one line, as the state of the service.
  void Status(std::string_view text) const;
  void Ready(std::string_view text) VOLFS_EXCLUDES(mu_);     // the mount is usable
  void Stopping(std::string_view text) VOLFS_EXCLUDES(mu_);  // and will be usable no more

 private:
  enum class State { kStarting, kServing, kStopping, kEnded };
  static constexpr Nanoseconds kPulse = std::chrono::seconds(5);
  static constexpr Nanoseconds kExtension = std::chrono::seconds(30);
  static constexpr Nanoseconds kMaxExtension = std::chrono::minutes(10);
  static constexpr int kSendLimitSeconds = 2;

  void Enter(State state) VOLFS_EXCLUDES(mu_);
  void Pulse() VOLFS_EXCLUDES(mu_);
  void Send(std::string_view message) const;

  Descriptor socket_;
  Mutex mu_;
  Condition changed_;
  State state_ VOLFS_GUARDED_BY(mu_) = State::kStarting;
  Nanoseconds since_ VOLFS_GUARDED_BY(mu_);  // the state is that
  Thread thread_;
};

}  // namespace volfs
