#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>

#include "blockstore/base/error.h"
#include "control/tree/control_tree.h"
#include "fusefs/serve/filesystem.h"
#include "fusefs/serve/reply.h"

namespace volfs {

// The kinds of inodes. The number alone tells the kind.
enum class InodeKind : uint8_t {
  kFixed,              // root, volumes, snapshots, nodes
  kControl,            // control and everything below it
  kImage,              // a volume or a snapshot
  kSnapshotDirectory,  // snapshots/VOLUME
  kNodeDirectory,      // nodes/NODE
  kNone,
};
InodeKind KindOf(const Filesystem& fs, uint64_t ino);

// Says whether volumes are made, renamed and deleted in directory `ino`: volumes/ or nodes/NODE.
bool HoldsVolumes(const Filesystem& fs, uint64_t ino);

// A file's or directory's attributes, and how long the kernel may believe them.
struct StatResult {
  struct stat st {};
  Lifetime lifetime;
};
Result<StatResult> StatInode(Filesystem& fs, uint64_t ino);  // kNotFound
fuse_entry_param EntryOf(const StatResult& found);

StatResult StatVolume(Filesystem& fs, Volume& volume);
StatResult StatSnapshot(const SnapshotInfo& snapshot);
StatResult StatControl(const ControlEntry& entry);

// Find an image by its inode number; a deleted one as long as it is open. Return null if there is
// none.
std::shared_ptr<Volume> FindVolume(Filesystem& fs, uint64_t ino);
std::optional<SnapshotInfo> FindSnapshot(Filesystem& fs, uint64_t ino);
// Finds the directory of a volume's snapshots; nothing if it has none.
std::optional<SnapshotDirectory> FindSnapshotDirectory(Filesystem& fs, uint64_t ino);
Node* FindNode(Filesystem& fs, uint64_t ino);  // of nodes/NODE; null for others
Node* FindNodeByName(Filesystem& fs, std::string_view name);

// Finds `name` in directory `parent`, of any kind: its number and attributes.
Result<StatResult> LookUp(Filesystem& fs, uint64_t parent, const std::string& name);

}  // namespace volfs
