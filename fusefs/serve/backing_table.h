#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "blockstore/base/error.h"
#include "blockstore/base/runtime.h"
#include "blockstore/io/posix_descriptor.h"
#include "blockstore/node/node.h"

namespace volfs {

// The open images that the kernel serves by itself, out of the file of a layer (FUSE passthrough:
// Linux 6.9, libfuse 3.17, root). Their reads and writes do not come to the daemon.
//
// The kernel serves all opens of one inode in one way, by one registration of the file. So the
// first open decides, and the others follow until the last of them has closed. The kernel drops its
// reference to an inode before it sends the last release, so an entry here outlives that reference.
//
// A mapping (mmap) is of the layer's file itself. It goes on after the last close, and the kernel
// sends no message when it ends. So this class asks the host for a lease for writing, which the
// host gives only if no other process has the file open or mapped. Until it gives one, the image
// counts as open. Where leases cannot be had, the kernel serves no image.
//
// Invariants:
//   B1  Each Add that returned a value is paired with one Remove.
//   B2  An entry is released once, when its image is neither open nor mapped.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; no function of an Image, and no
// `closed`, is called under it.
// Cost: one lock for each open and close; for the first and the last of an image the lease, too
// (two fcntl). Reads and writes pay nothing.
class BackingTable {
 public:
  static constexpr int kNone = 0;  // no registration: the daemon serves the image

  struct Image {
    uint64_t ino;
    const Node* node;
    // Called at the first open: returns the layer's file, or none if the daemon is to serve the
    // image.
    std::function<Result<Descriptor>()> begin;
    // Called once for each `begin` that returned a file, when the image is neither open nor mapped.
    std::function<void()> end;
  };

  BackingTable();
  ~BackingTable();  // Stop()
  BackingTable(const BackingTable&) = delete;
  BackingTable& operator=(const BackingTable&) = delete;

  // Takes the session's descriptor, before the session serves.
  void SetDevice(int fd) { device_ = fd; }
  // Lets the kernel serve images: its greeting said that it can.
  void Enable() { enabled_ = true; }

  // Counts one more open of the image and returns the backing_id for the answer to it.
  Result<int> Add(const Image& image) VOLFS_EXCLUDES(mu_);
  // Counts one open less. Calls `closed` once, after `end` if the image is neither open nor mapped
  // any more: before it returns, or later on the thread.
  void Remove(uint64_t ino, std::function<void()> closed) VOLFS_EXCLUDES(mu_);

  // Waits until the thread has asked for each image that is only mapped, but 20 ms at most (`end`
  // waits for a node). So a file that a process closed before its request counts as closed. Cost:
  // one lock if no image is only mapped.
  void Look() VOLFS_EXCLUDES(mu_);

  // Ends mapped images, too, and joins the thread. For a mount that is gone. The next mount finds
  // out which process writes an image (NativeServing::AdoptAfterCrash).
  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  struct Entry {
    int id = kNone;
    int opens = 0;                              // 0: it is only mapped
    Descriptor file;                            // none: the daemon serves the image
    std::function<void()> end;                  // empty: likewise
    std::vector<std::function<void()>> closed;  // of the last open
  };
  using Entries = std::map<uint64_t, Entry>;
  [[nodiscard]] bool MayServe(const Node* node) VOLFS_EXCLUDES(mu_);
  Result<Entry> Register(const Image& image) VOLFS_EXCLUDES(mu_);
  void Release(Entry& entry) const;
  [[nodiscard]] bool AnyMappedLocked() const VOLFS_REQUIRES(mu_);
  bool IsUnmapped(const Entry& entry) const;
  void ReleaseUnmapped(bool all) VOLFS_EXCLUDES(mu_);
  void Work() VOLFS_EXCLUDES(mu_);

  Mutex mu_;
  Condition changed_;
  Entries entries_ VOLFS_GUARDED_BY(mu_);
  std::set<const Node*> refused_ VOLFS_GUARDED_BY(mu_);  // the kernel does not serve its files
  bool mapped_ VOLFS_GUARDED_BY(mu_) = false;            // one more was closed and is mapped
  bool looking_ VOLFS_GUARDED_BY(mu_) = false;           // the thread is at it
  uint64_t looks_asked_ VOLFS_GUARDED_BY(mu_) = 0;
  uint64_t looks_done_ VOLFS_GUARDED_BY(mu_) = 0;  // answers the looks up to this one
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
  std::atomic<bool> enabled_{false};
  int device_ = -1;
  Thread thread_;  // asks the host about images that are only mapped
};

}  // namespace volfs
