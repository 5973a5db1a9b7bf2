#pragma once

#include <boost/interprocess/sync/file_lock.hpp>
#include <memory>
#include <string>

#include "blockstore/error.h"

namespace volfs {

// Keeps every other daemon off one node directory, for as long as it lives.
//
// A record lock on the file `lock` in the node directory. Nothing else in this process may ever
// open that file: such a lock is lost when the process closes *any* descriptor of it. It is not
// inherited over fork either: take it after daemonizing. A killed daemon's lock is gone with it.
// The lock is per process: taking it twice in one process is not noticed (OpenNodes checks).
class NodeLock {
 public:
  // Makes the file if it is not there. kLocked names the process that has it.
  static Result<std::unique_ptr<NodeLock>> Take(const std::string& directory);

 private:
  explicit NodeLock(const std::string& file);
  boost::interprocess::file_lock lock_;
};

}  // namespace volfs
