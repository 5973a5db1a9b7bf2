#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/io/node_directory.h"
#include "blockstore/io/posix_descriptor.h"

namespace volfs {

// How long a caller waits for a daemon that is about to exit.
struct LockWait {
  Nanoseconds most = std::chrono::seconds(30);
  // Called once, after a second of waiting.
  std::function<void(const std::string&)> tell = {};
};

// Keeps every other daemon off one node directory for as long as it lives.
//
// A record lock (fcntl) on the file `lock` in the node directory. Nothing else in this process may
// ever open that file, because the process loses such a lock when it closes *any* descriptor of the
// file. A fork does not inherit the lock, so the daemon takes it after daemonizing. The lock of a
// killed daemon is gone with it. The lock is per process: the kernel does not notice a second one
// in the same process (OpenNodes checks).
//
// The locked bytes tell other processes the daemon's state, without a byte written. Byte 0 is
// always locked. The bytes from 1 on are locked as follows: all while the node is being opened or a
// command works on it; byte 1 + N while it is served at the FUSE mount of device 0:N; none once the
// mount has ended and the daemon commits the rest. Readers share a lock of all bytes, which keeps
// out writers.
//
// Thread-safety: one thread at a time.
class NodeLock {
 public:
  // Takes the lock. kReadWrite makes the file if it is missing; kReadOnly goes on without one, as
  // the node was then never opened for writing. Waits up to `wait.most` for a daemon whose mount
  // has ended, and up to 4 s for one that was killed. Fails with kLocked naming the holder: at once
  // if its mount lives, else after the wait. Fails with kNodeDown if a killed daemon does not go.
  static Result<std::unique_ptr<NodeLock>> Take(const std::string& directory,
                                                NodeAccess access = NodeAccess::kReadWrite,
                                                const LockWait& wait = {});

  // Serve: the mount of device 0:`minor` serves the node. StopServing: that mount has ended.
  void Serve(uint32_t minor);
  void StopServing();

 private:
  explicit NodeLock(Descriptor file) : file_(std::move(file)) {}
  const Descriptor file_;
};

// Keeps every other copy of a node off this machine while one is mounted. Copies have one UUID, and
// their layers and clones would be taken for each other's.
//
// A lock (flock) on the file UUID in a directory of the machine. The file tells the process and the
// directory that hold it, and is removed with the lock. Copies on other machines are recognised
// later, by their lineage (lineage.h).
class TwinLock {
 public:
  // Takes the lock. kLocked names the directory and the process that have it. Returns none, and no
  // error, if `directory` is empty or no such file can be made: the lock is not the only
  // protection.
  static Result<std::unique_ptr<TwinLock>> Take(const std::string& directory,
                                                const std::string& uuid, const std::string& name,
                                                const std::string& path);
  ~TwinLock();
  TwinLock(const TwinLock&) = delete;
  TwinLock& operator=(const TwinLock&) = delete;

 private:
  TwinLock(std::string file, int fd) : file_(std::move(file)), fd_(fd) {}
  const std::string file_;
  const int fd_;
};

}  // namespace volfs
