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

// Open images that the kernel serves by itself, out of the file of a layer (FUSE passthrough: Linux
// 6.9, libfuse 3.17, root). Their reads and writes do not come to us.
//
// The kernel wants all who have an inode open at a time to be served in one way, by one
// registration of the file. So the first open decides, and the others follow until the last of them
// has closed. It lets go of an inode before it sends the last release: what is said here lasts
// longer than what it holds to, never shorter.
//
// A mapping (mmap) is of the layer's file itself, and goes on after the last close; nobody tells us
// when it ends. So the host is asked whether anybody else still has the file: it gives a lease for
// writing only to who alone has it open. As long as somebody does, the image counts as open. Where
// no lease can be had, the kernel serves nothing.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf; no function of an Image, and no
// `closed`, is called under it. Cost: one lock for each open and close, for the first and the last
// the lease, too (two fcntl); nothing for reads and writes.
class BackingTable {
 public:
  static constexpr int kNone = 0;  // no registration: we serve it

  struct Image {
    uint64_t ino;
    const Node* node;
    // Asked if nobody has it open: the file, or none if we are to serve it. What was begun is ended
    // once, when nobody has it any more.
    std::function<Result<Descriptor>()> begin;
    std::function<void()> end;
  };

  BackingTable();
  ~BackingTable();  // Stop()
  BackingTable(const BackingTable&) = delete;
  BackingTable& operator=(const BackingTable&) = delete;

  // The session's descriptor, before it serves; and that the kernel can, when it has greeted.
  void SetDevice(int fd) { device_ = fd; }
  void Enable() { enabled_ = true; }

  // One more open of the image: what to answer as its backing_id. Each is paired with a Remove.
  Result<int> Add(const Image& image) VOLFS_EXCLUDES(mu_);
  // `closed` is called once, after `end` if this was the last: now, or when nobody maps it any
  // more.
  void Remove(uint64_t ino, std::function<void()> closed) VOLFS_EXCLUDES(mu_);

  // Returns when the thread has asked for all that are only mapped now, but no later than in 20 ms
  // (`end` waits for a node): what a process closed before it asks us counts as closed. Cost: one
  // lock if there are none.
  void Look() VOLFS_EXCLUDES(mu_);

  // The mount is gone: ends what is still mapped, too, joins the thread. The next mount finds out
  // who writes it (NativeServing::AdoptAfterCrash).
  void Stop() VOLFS_EXCLUDES(mu_);

 private:
  struct Entry {
    int id = kNone;
    int opens = 0;                              // 0: it is only mapped
    Descriptor file;                            // none: nothing was begun
    std::function<void()> end;                  // empty: likewise
    std::vector<std::function<void()>> closed;  // of who had it open last
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
  uint64_t looks_done_ VOLFS_GUARDED_BY(mu_) = 0;  // answers all that were asked for before it
  bool stopping_ VOLFS_GUARDED_BY(mu_) = false;
  std::atomic<bool> enabled_{false};
  int device_ = -1;
  Thread thread_;  // asks for those that are only mapped
};

}  // namespace volfs
