#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "blockstore/store/store.h"
#include "control/tree/control_tree.h"
#include "fusefs/serve/backing_table.h"
#include "fusefs/serve/handle.h"
#include "fusefs/serve/invalidator.h"
#include "fusefs/serve/mapped_pages.h"
#include "fusefs/serve/parked_reads.h"
#include "fusefs/serve/request_pool.h"
#include "fusefs/serve/unmount_check.h"
#include "fusefs/serve/watchdog.h"

namespace volfs {

// As long as a slow disk may take, or a server that is started again. A sync has
// NodeCalls::kLongFactor times that: the two minutes after which the kernel speaks of a hung task.
inline constexpr Nanoseconds kNodeTimeout = std::chrono::seconds(30);

struct FilesystemOptions {
  uint32_t uid = 0;  // the user who mounted: owner of the fixed directories
  uint32_t gid = 0;
  std::optional<uint32_t> control_gid;  // volumes/ and nodes/N/ open to a group: 1775
  // Directories are listed for root, `uid` and `control_gid` only; others may pass through.
  bool is_private = false;
  Nanoseconds node_timeout = kNodeTimeout;  // a node that has not answered for so long hangs
  bool synchronous = false;  // mount -o sync: every change is durable when its call returns
  bool no_poll = false;      // from the first poll(2) of any file on: Filesystem::image_polls
};

// The parts that the handlers of all requests (operations.h) share. There is no table of inodes:
// numbers are stable (control_tree.h, namespace inode), so the kernel may forget and ask as it
// likes.
//
// Threads: the session's threads serve data and look-ups, which wait for no other thing than their
// node. `names` serves changes of names and questions for a node's space. `requests` serves writes
// to control files. So a clone that waits for its source's writes holds up neither data nor the
// listing of a directory. Each node has a limiter, so that a node that hangs does not keep all of
// the session's threads.
//
// Thread-safety: as its parts.
class Filesystem {
 public:
  Filesystem(Store& a_store, ControlTree& a_control, const FilesystemOptions& some_options);
  ~Filesystem();
  Filesystem(const Filesystem&) = delete;
  Filesystem& operator=(const Filesystem&) = delete;

  // Ends parked reads, queued requests and the invalidator's thread, and closes all open files.
  // Requires: the session's loop has ended, and the session, the store and the tree still exist.
  // This object outlives these three, as the store's notifier calls it until then.
  void Stop();

  // Closes a handle. The last close of a volume makes its attributes durable, in the background.
  void Close(Handle* handle);

  Store& store;
  ControlTree& control;
  const FilesystemOptions options;

  HandleTable handles;
  BackingTable backings;
  Invalidator invalidator;
  MappedPages mapped_pages;
  ParkedReads parked;
  Watchdog watchdog;
  RequestPool names;
  RequestPool requests;
  UnmountCheck unmount_check;

  // Returns null for a null node, or one that is not of this mount.
  [[nodiscard]] NodeLimiter* LimiterOf(const Node* node);

  // Returns when a change of size or bytes through `handle` (null: by its path), other than a
  // write, must be durable. ARCHITECTURE.md, section 3, "Synchronous changes".
  [[nodiscard]] Volume::Durability DurabilityOf(const VolumeHandle* handle) const;

  // SIGTERM came: open images are served, new opens are refused with ESHUTDOWN.
  std::atomic<bool> closing{false};
  // io_uring polls an image up to 128 times for each request (io_uring/poll.c of Linux,
  // APOLL_MAX_RETRY), as FUSE files cannot say "would block"; few other programs poll images. With
  // a round trip each, buffered writes come to 200 per second. So when images have been polled
  // often the daemon tells the kernel that there is no poll(2), once and for all files of the
  // mount, and the kernel asks no more. It does not if a program has polled a file of
  // control/watch, which would always be ready from then on.
  std::atomic<uint32_t> image_polls{0};
  std::atomic<bool> control_polled{false};
  // When volumes/ or snapshots/ last gained or lost a name.
  std::atomic<int64_t> names_changed_ns;
  // Called once, when the kernel has greeted and the mount is usable.
  std::function<void()> on_ready;

 private:
  void OnEvent(const StoreEvent& event);
  void CloseImage(std::unique_ptr<Handle> handle);
  void CloseVolume(const VolumeHandle& handle);

  std::map<const Node*, NodeLimiter> limiters_;  // constant after construction
};

}  // namespace volfs
