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
// The bytes that are locked tell other processes the daemon's state, without a byte written. Byte 0
// is locked always. Of the bytes from 1 on are locked: all while the node is being opened or a
// command works on it; byte 1 + N while it is served at the FUSE mount of device 0:N; none once the
// mount has ended and the daemon commits what is left.
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

// Keeps every other copy of a node off this machine while one is mounted: copies have one UUID, and
// their layers and clones would be taken for each other's.
//
// A lock (flock) on the file UUID in a directory of the machine, which tells who has it and where;
// the file goes with the lock. Copies on other machines are told by their lineage (lineage.h),
// later.
class TwinLock {
 public:
  // kLocked names the directory and the process that have it. None, and no error, if `directory` is
  // empty or no such file can be made: the lock is one protection more, not the only one.
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
