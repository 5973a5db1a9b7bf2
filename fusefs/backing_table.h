#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <set>

#include "blockstore/error.h"
#include "blockstore/node.h"
#include "blockstore/posix_descriptor.h"
#include "blockstore/runtime.h"

namespace volfs {

// Open images that the kernel serves by itself, out of the file of a layer (FUSE passthrough: Linux
// 6.9, libfuse 3.17, root). Their reads and writes do not come to us.
//
// The kernel wants all who have an inode open at a time to be served in one way, by one
// registration of the file. So the first open decides, and the others follow until the last of them
// has closed. It lets go of an inode before it sends the last release: what is said here lasts
// longer than what it holds to, never shorter.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; `begin` and `end` are called
// without it. Cost: one lock for each open and close, nothing for reads and writes.
class BackingTable {
 public:
  static constexpr int kNone = 0;  // no registration: we serve it

  struct Image {
    uint64_t ino;
    const Node* node;
    // Asked if nobody has it open: the file, or none if we are to serve it. What was begun is ended
    // once, after the last close.
    std::function<Result<Descriptor>()> begin;
    std::function<void()> end;
  };

  // The session's descriptor, before it serves; and that the kernel can, when it has greeted.
  void SetDevice(int fd) { device_ = fd; }
  void Enable() { enabled_ = true; }

  // One more open of the image: what to answer as its backing_id. Each is paired with a Remove.
  Result<int> Add(const Image& image) VOLFS_EXCLUDES(mu_);
  void Remove(uint64_t ino) VOLFS_EXCLUDES(mu_);

 private:
  struct Entry {
    int id = kNone;
    int opens = 0;
    std::function<void()> end;  // empty: nothing was begun
  };
  [[nodiscard]] bool MayServe(const Node* node) VOLFS_EXCLUDES(mu_);
  Result<int> Register(const Image& image) VOLFS_EXCLUDES(mu_);
  void Release(const Entry& entry) const;

  Mutex mu_;
  std::map<uint64_t, Entry> entries_ VOLFS_GUARDED_BY(mu_);
  std::set<const Node*> refused_ VOLFS_GUARDED_BY(mu_);  // the kernel does not serve its files
  std::atomic<bool> enabled_{false};
  int device_ = -1;
};

}  // namespace volfs
