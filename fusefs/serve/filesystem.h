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

// As long as a disk may take that is only slow, or a server that is started again; a sync has
// NodeCalls::kLongFactor times that, the two minutes after which the kernel speaks of a hung task.
inline constexpr Nanoseconds kNodeTimeout = std::chrono::seconds(30);

struct FilesystemOptions {
  uint32_t uid = 0;  // who mounted: owner of the fixed directories
  uint32_t gid = 0;
  std::optional<uint32_t> control_gid;  // volumes/ and nodes/N/ open to a group: 1775
  // Directories are listed for root, `uid` and `control_gid` only; others may pass through.
  bool is_private = false;
  Nanoseconds node_timeout = kNodeTimeout;  // a node that has not answered for so long hangs
  bool synchronous = false;  // mount -o sync: every change is durable when its call returns
  bool no_poll = false;      // from the first poll(2) of whatever file on: Filesystem::image_polls
};

// What the handlers of all requests (operations.h) work with. There is no table of inodes: numbers
// are stable (control_tree.h, namespace inode), so the kernel may forget and ask as it likes.
//
// Threads: the session's threads serve data and look-ups, which wait for nothing but the node they
// are about; `names` serves what changes names or asks a node for its space; `requests` serves
// writes to control files. A clone that waits for its source's writes thus holds up neither data
// nor the listing of a directory. Each node has a limiter, so that one that hangs does not keep all
// of the session's threads.
//
// Thread-safety: as its parts.
class Filesystem {
 public:
  Filesystem(Store& a_store, ControlTree& a_control, const FilesystemOptions& some_options);
  ~Filesystem();
  Filesystem(const Filesystem&) = delete;
  Filesystem& operator=(const Filesystem&) = delete;

  // Ends parked reads, queued requests and the invalidator's thread, and closes what is still open.
  // After the session's loop has ended, before the session, the store and the tree are destroyed;
  // this object outlives these three, as the store's notifier calls it until then.
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

  [[nodiscard]] NodeLimiter* LimiterOf(const Node* node);  // null: of none

  // What a change of size or bytes other than a write owes to whoever asks for it through `handle`
  // (null: by its path). ARCHITECTURE.md, section 3, "Synchronous changes".
  [[nodiscard]] Volume::Durability DurabilityOf(const VolumeHandle* handle) const;

  // SIGTERM came: images that are open are served, new opens are refused with ESHUTDOWN.
  std::atomic<bool> closing{false};
  // io_uring polls an image up to 128 times for each request (io_uring/poll.c of Linux,
  // APOLL_MAX_RETRY), as FUSE files cannot say "would block", and hardly anybody else polls images.
  // With a round trip each, buffered writes come to 200 a second. So when images have been polled
  // often the kernel is told that there is no poll(2), once and for all files of the mount: it asks
  // no more. Not if somebody has polled a file of control/watch: that would be always ready from
  // then on.
  std::atomic<uint32_t> image_polls{0};
  std::atomic<bool> control_polled{false};
  // When volumes/ or snapshots/ last gained or lost a name.
  std::atomic<int64_t> names_changed_ns;
  // Called once, when the kernel has greeted: the mount is usable.
  std::function<void()> on_ready;

 private:
  void OnEvent(const StoreEvent& event);
  void CloseImage(std::unique_ptr<Handle> handle);
  void CloseVolume(const VolumeHandle& handle);

  std::map<const Node*, NodeLimiter> limiters_;  // constant after construction
};

}  // namespace volfs
