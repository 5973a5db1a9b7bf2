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

// What an inode number is, from the number alone.
enum class InodeKind : uint8_t {
  kFixed,              // root, volumes, snapshots, nodes
  kControl,            // control and everything below it
  kImage,              // a volume or a snapshot
  kSnapshotDirectory,  // snapshots/VOLUME
  kNodeDirectory,      // nodes/NODE
  kNone,
};
InodeKind KindOf(const Filesystem& fs, uint64_t ino);

// A directory in which volumes are made, renamed and deleted: volumes/ or nodes/NODE.
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

// By inode number, open or not; deleted ones as long as they are open. Null if there is none.
std::shared_ptr<Volume> FindVolume(Filesystem& fs, uint64_t ino);
std::optional<SnapshotInfo> FindSnapshot(Filesystem& fs, uint64_t ino);
// The directory of a volume's snapshots; nothing if it has none.
std::optional<Store::SnapshotDirectory> FindSnapshotDirectory(Filesystem& fs, uint64_t ino);
Node* FindNode(Filesystem& fs, uint64_t ino);  // of nodes/NODE; null for others
Node* FindNodeByName(Filesystem& fs, std::string_view name);

// The number of name `name` in directory `parent`, whatever kind that is, with its attributes.
Result<StatResult> LookUp(Filesystem& fs, uint64_t parent, const std::string& name);

}  // namespace volfs
