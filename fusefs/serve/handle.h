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

// What one open file or directory needs; fuse_file_info::fh is its address. The kernel sends no
// request for a handle after its release, and none before the open was answered.
struct Handle {
  enum class Kind : uint8_t { kVolume, kSnapshot, kControl, kDirectory };
  Handle(Kind kind_of, uint64_t inode_number) : kind(kind_of), ino(inode_number) {}
  virtual ~Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  const Kind kind;
  const uint64_t ino;

  // Of an image: the node that it is on, and the one that a clone is not whole without (on_node.h).
  const Node* node = nullptr;
  const Node* source = nullptr;
  NodeLimiter* limiter = nullptr;
  NodeLimiter* source_limiter = nullptr;
};

struct VolumeHandle : Handle {
  // Takes over one AddOpen(access) of `open_volume`; whoever destroys this makes the RemoveOpen.
  VolumeHandle(std::shared_ptr<Volume> open_volume, Volume::Access access_mode)
      : Handle(Kind::kVolume, open_volume->id() | inode::kImage),
        volume(std::move(open_volume)),
        access(access_mode) {}

  const std::shared_ptr<Volume> volume;  // shared: it may be deleted while it is open
  const Volume::Access access;
  uint64_t cache_epoch = 0;  // the volume's when this was opened
  bool created_it = false;   // this open has made the volume: Volume::Cut::kUnwritten
  bool synchronous = false;  // O_DSYNC; fcntl(2) cannot change it later
  // The kernel sends each write at once and leaves to us what is synchronous in it. Else it sends
  // an FSYNC after a synchronous write by itself.
  bool direct = false;

  // The instant that copy_file_range from this descriptor shows; taken by a copy's first call that
  // can share blocks, so that a copy of a volume in use is one instant, however many calls it
  // takes.
  Mutex mu;
  std::shared_ptr<OpenSnapshot> instant VOLFS_GUARDED_BY(mu);
};

inline Handle& HandleOf(const fuse_file_info* fi) { return *reinterpret_cast<Handle*>(fi->fh); }

// The volume that a request came through; null: it came through something else, or by a path.
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

struct ControlHandle : Handle {
  ControlHandle(uint64_t inode_number, std::unique_ptr<ControlFile> control_file)
      : Handle(Kind::kControl, inode_number), file(std::move(control_file)) {}

  // Shared with reads and polls that are parked, which may outlive the handle by a moment.
  const std::shared_ptr<ControlFile> file;
};

// One listing, taken when it is read from its beginning, so that what happens meanwhile neither
// repeats nor hides an entry.
struct DirectoryHandle : Handle {
  explicit DirectoryHandle(uint64_t inode_number) : Handle(Kind::kDirectory, inode_number) {}

  Mutex mu;
  HeldTexts::Text listing VOLFS_GUARDED_BY(mu);  // Listing (listing.h); null: none was taken yet
};

// All open handles: owns them, and finds images that are open but deleted.
//
// Thread-safety: all methods from any thread. Locks: mu_, a leaf. Not on the path of reads and
// writes, which have the handle's address.
class HandleTable {
 public:
  HandleTable() = default;
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;

  Handle* Add(std::unique_ptr<Handle> handle) VOLFS_EXCLUDES(mu_);
  std::unique_ptr<Handle> Remove(Handle* handle) VOLFS_EXCLUDES(mu_);
  // What is left when the mount is gone: the kernel need not have sent all releases.
  std::vector<std::unique_ptr<Handle>> RemoveAll() VOLFS_EXCLUDES(mu_);

  // Null if that image is not open.
  [[nodiscard]] std::shared_ptr<Volume> FindVolume(Id id) VOLFS_EXCLUDES(mu_);
  [[nodiscard]] std::optional<SnapshotInfo> FindSnapshot(Id id) VOLFS_EXCLUDES(mu_);

 private:
  Mutex mu_;
  std::unordered_map<Handle*, std::unique_ptr<Handle>> handles_ VOLFS_GUARDED_BY(mu_);
  std::unordered_multimap<Id, Handle*> images_ VOLFS_GUARDED_BY(mu_);
};

}  // namespace volfs
