#pragma once

#include <fuse3/fuse_lowlevel.h>

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "blockstore/base/runtime.h"
#include "blockstore/store/store.h"
#include "blockstore/volume/volume.h"
#include "control/tree/control_tree.h"
#include "fusefs/serve/node_limiter.h"

namespace volfs {

// One open file or directory; fuse_file_info::fh is its address. The kernel sends no request for a
// handle after its release, and none before the open was answered.
struct Handle {
  enum class Kind : uint8_t { kVolume, kSnapshot, kDiff, kControl, kDirectory };
  Handle(Kind kind_of, uint64_t inode_number) : kind(kind_of), ino(inode_number) {}
  virtual ~Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  const Kind kind;
  const uint64_t ino;

  // Of an image: its node, and the node that a clone still copies from (null: none); their
  // limiters. Of a control file: the node that its reads may wait for.
  const Node* node = nullptr;
  const Node* source = nullptr;
  NodeLimiter* limiter = nullptr;
  NodeLimiter* source_limiter = nullptr;
};

struct VolumeHandle : Handle {
  // Takes over one AddOpen(access) of `open_volume`; the owner of the handle makes the RemoveOpen.
  VolumeHandle(std::shared_ptr<Volume> open_volume, Volume::Access access_mode)
      : Handle(Kind::kVolume, open_volume->id() | inode::kImage),
        volume(std::move(open_volume)),
        access(access_mode) {}

  const std::shared_ptr<Volume> volume;  // shared: it may be deleted while it is open
  const Volume::Access access;
  uint64_t cache_epoch = 0;  // the volume's when this was opened
  bool created_it = false;   // this open has made the volume: Volume::Cut::kUnwritten
  bool synchronous = false;  // O_DSYNC; fcntl(2) cannot change it later
  // Opened with O_DIRECT and served by the daemon: the kernel sends each write at once, and a
  // synchronous one is the daemon's to make durable. Else the kernel sends an FSYNC after it.
  bool direct = false;

  // The snapshot point that copy_file_range from this descriptor shows. A copy's first call that
  // can share blocks freezes it, so that a copy of a volume in use is of one point, however many
  // calls it takes.
  Mutex mu;
  std::shared_ptr<OpenSnapshot> snapshot_point VOLFS_GUARDED_BY(mu);
};

// Requires: a request on an open file or directory.
inline Handle& HandleOf(const fuse_file_info* fi) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): libfuse keeps the pointer as a number
  return *reinterpret_cast<Handle*>(fi->fh);
}

// Returns the handle of a request on an open volume; null for any other file, and without a file.
inline VolumeHandle* VolumeOf(const fuse_file_info* fi) {
  if (fi == nullptr || HandleOf(fi).kind != Handle::Kind::kVolume) return nullptr;
  return &static_cast<VolumeHandle&>(HandleOf(fi));
}

struct SnapshotHandle : Handle {
  SnapshotHandle(SnapshotInfo snapshot, std::shared_ptr<OpenSnapshot> open_snapshot)
      : Handle(Kind::kSnapshot, snapshot.id | inode::kImage),
        info(std::move(snapshot)),
        open(std::move(open_snapshot)) {}

  const SnapshotInfo info;
  const std::shared_ptr<OpenSnapshot> open;  // keeps the snapshot's layers
};

// A sparse image below control/diff.
struct DiffHandle : Handle {
  DiffHandle(ControlEntry described, std::shared_ptr<OpenDiff> open_diff)
      : Handle(Kind::kDiff, described.ino),
        entry(std::move(described)),
        open(std::move(open_diff)) {}

  const ControlEntry entry;              // as it was when this was opened
  const std::shared_ptr<OpenDiff> open;  // keeps the layers of both images
};

struct ControlHandle : Handle {
  ControlHandle(uint64_t inode_number, std::unique_ptr<ControlFile> control_file)
      : Handle(Kind::kControl, inode_number), file(std::move(control_file)) {}

  // Shared with reads and polls that are parked, which may outlive the handle by a moment.
  const std::shared_ptr<ControlFile> file;
};

// One listing, taken when it is read from its beginning, so that later changes of the directory
// neither repeat nor hide an entry.
struct DirectoryHandle : Handle {
  explicit DirectoryHandle(uint64_t inode_number) : Handle(Kind::kDirectory, inode_number) {}

  Mutex mu;
  HeldTexts::Text listing VOLFS_GUARDED_BY(mu);  // Listing (listing.h); null: none was taken yet
};

// Owns all open handles, and finds images that are open but deleted.
//
// Invariant: a handle is added once and removed once.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf. Not on the path of reads and
// writes, which have the handle's address.
class HandleTable {
 public:
  HandleTable() = default;
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;

  Handle* Add(std::unique_ptr<Handle> handle) VOLFS_EXCLUDES(mu_);
  // Requires: `handle` is in the table.
  std::unique_ptr<Handle> Remove(Handle* handle) VOLFS_EXCLUDES(mu_);
  // Removes the handles that are left when the mount is gone: the kernel need not have sent all
  // releases.
  std::vector<std::unique_ptr<Handle>> RemoveAll() VOLFS_EXCLUDES(mu_);

  // Return null if no such image is open.
  [[nodiscard]] std::shared_ptr<Volume> FindVolume(Id id) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] std::optional<SnapshotInfo> FindSnapshot(Id id) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] std::optional<ControlEntry> FindDiff(uint64_t ino) VOLFS_EXCLUDES(mu_);

 private:
  Mutex mu_;
  std::unordered_map<Handle*, std::unique_ptr<Handle>> handles_ VOLFS_GUARDED_BY(mu_);
  std::unordered_multimap<Id, Handle*> images_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
