#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "blockstore/error.h"
#include "blockstore/node_directory.h"
#include "blockstore/posix_descriptor.h"
#include "blockstore/runtime.h"

namespace volfs {

// How long a caller waits for a daemon that is on its way out.
struct LockWait {
  Nanoseconds most = std::chrono::seconds(30);
  // Called once, when it has taken a second.
  std::function<void(const std::string&)> tell = {};
};

// Keeps every other daemon off one node directory, for as long as it lives.
//
// A record lock on the file `lock` in the node directory. Nothing else in this process may ever
// open that file: such a lock is lost when the process closes *any* descriptor of it. It is not
// inherited over fork either: take it after daemonizing. A killed daemon's lock is gone with it.
// The lock is per process: taking it twice in one process is not noticed (OpenNodes checks).
//
// What is locked tells others how things stand, without a byte written: byte 0, always; of the
// bytes from 1 on all (it is being opened, or a command works on it); or byte 1 + N (it is served
// at the FUSE mount of device 0:N); or none (the mount has ended, what is left is being committed).
// Readers share a lock of all of it, and keep out those who write.
//
// Thread-safety: one thread at a time.
class NodeLock {
 public:
  // kReadWrite makes the file if it is not there; kReadOnly goes on without one, as nobody has ever
  // had it open for writing then. A daemon whose mount has ended is waited for, for `wait.most`;
  // one that was killed, for 4 s at most. kLocked names any other at once, and the former when that
  // is over; kNodeDown the latter.
  static Result<std::unique_ptr<NodeLock>> Take(const std::string& directory,
                                                NodeAccess access = NodeAccess::kReadWrite,
                                                const LockWait& wait = {});

  // The mount of device 0:`minor` serves it; the mount has ended.
  void Serve(uint32_t minor);
  void StopServing();

 private:
  explicit NodeLock(Descriptor file) : file_(std::move(file)) {}
  const Descriptor file_;
};

}  // namespace volfs
