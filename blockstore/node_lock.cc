#include "blockstore/node_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "blockstore/log.h"

namespace volfs {
namespace {

// Who holds it, as the kernel tells. Only called when we do not hold it ourselves: closing this
// descriptor would let our own lock go.
std::string OwnerOf(const std::string& file) {
  const int fd = ::open(file.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return "another process";
  struct flock request {};
  request.l_type = F_WRLCK;
  request.l_whence = SEEK_SET;
  const int answered = ::fcntl(fd, F_GETLK, &request);
  ::close(fd);
  if (answered != 0 || request.l_type == F_UNLCK) return "another process";
  return Text("process ", request.l_pid);
}

}  // namespace

NodeLock::NodeLock(const std::string& file) : lock_(file.c_str()) {}

Result<std::unique_ptr<NodeLock>> NodeLock::Take(const std::string& directory) {
  const std::string file = directory + "/lock";
  const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    return Error{Errc::kIo, Text("cannot make the lock file ", file, ": ", std::strerror(errno)),
                 errno};
  }
  ::close(fd);
  try {
    std::unique_ptr<NodeLock> lock(new NodeLock(file));
    if (lock->lock_.try_lock()) return lock;
  } catch (const boost::interprocess::interprocess_exception& e) {
    return Error{Errc::kIo, Text("cannot lock ", file, ": ", e.what())};
  }
  return Error{Errc::kLocked, Text("node directory ", directory, " is in use by ", OwnerOf(file),
                                   "; unmount it there first")};
}

}  // namespace volfs
