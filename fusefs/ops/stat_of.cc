#include "fusefs/ops/stat_of.h"

#include <algorithm>
#include <utility>

namespace volfs {
namespace {

constexpr blksize_t kBlockBytes = 4096;  // the store's: a write should be a multiple of it
constexpr uint64_t kStatBlockBytes = 512;
constexpr int64_t kSecond = 1'000'000'000;

timespec TimeOf(int64_t since_1970_ns) {
  return timespec{.tv_sec = static_cast<time_t>(since_1970_ns / kSecond),
                  .tv_nsec = static_cast<long>(since_1970_ns % kSecond)};
}

void SetTimes(struct stat& st, const Attributes& attributes) {
  st.st_atim = TimeOf(attributes.atime_ns);
  st.st_mtim = TimeOf(attributes.mtime_ns);
  st.st_ctim = TimeOf(attributes.ctime_ns);
}

void SetSize(struct stat& st, uint64_t size_bytes, uint64_t allocated_bytes) {
  st.st_size = static_cast<off_t>(size_bytes);
  st.st_blksize = kBlockBytes;
  st.st_blocks = static_cast<blkcnt_t>((allocated_bytes + kStatBlockBytes - 1) / kStatBlockBytes);
}

Error NotFound() { return Error{Errc::kNotFound, "no such file"}; }

// The root's names are the same everywhere. Below it, others than the owner cannot list a private
// mount, but a user who knows the name of a readable image can open it.
StatResult StatDirectory(const Filesystem& fs, uint64_t ino, Lifetime lifetime) {
  StatResult result;
  result.lifetime = lifetime;
  struct stat& st = result.st;
  const bool hidden = fs.options.is_private && ino != inode::kRoot;
  const bool group_may = fs.options.control_gid.has_value() && HoldsVolumes(fs, ino);
  const bool group_sees = group_may || (hidden && fs.options.control_gid.has_value());
  const mode_t mode = group_may ? 01775 : 0755;
  const mode_t hides = group_sees ? 0004 : 0044;
  st.st_ino = ino;
  st.st_mode = S_IFDIR | (hidden ? mode & ~hides : mode);
  st.st_nlink = 2;
  st.st_uid = fs.options.uid;
  st.st_gid = group_sees ? *fs.options.control_gid : fs.options.gid;
  st.st_blksize = kBlockBytes;
  st.st_atim = st.st_mtim = st.st_ctim = TimeOf(fs.names_changed_ns.load());
  return result;
}

Result<StatResult> StatImage(Filesystem& fs, uint64_t ino) {
  if (const std::shared_ptr<Volume> volume = FindVolume(fs, ino)) return StatVolume(fs, *volume);
  if (const auto snapshot = FindSnapshot(fs, ino)) return StatSnapshot(*snapshot);
  return NotFound();
}

// A user who may write the volume may delete and rename its snapshots; all users may look. In a
// private mount they are listed for the users who may read the volume and, in the place of its
// group, for the control group.
StatResult StatSnapshotDirectory(const Filesystem& fs, const SnapshotDirectory& directory) {
  StatResult result = StatDirectory(fs, directory.volume | inode::kSnapshotDirectory, kNoLifetime);
  const mode_t mode = directory.attributes.mode;
  result.st.st_mode = S_IFDIR | 0555 | (mode & 0222);
  result.st.st_uid = directory.attributes.uid;
  result.st.st_gid = directory.attributes.gid;
  if (!fs.options.is_private) return result;
  result.st.st_mode = S_IFDIR | 0111 | (mode & 0666);
  if (fs.options.control_gid) {
    result.st.st_mode = S_IFDIR | 0151 | (mode & 0606);
    result.st.st_gid = *fs.options.control_gid;
  }
  return result;
}

Result<StatResult> LookUpFixed(Filesystem& fs, const std::string& name) {
  if (name == "volumes") return StatInode(fs, inode::kVolumes);
  if (name == "snapshots") return StatInode(fs, inode::kSnapshots);
  if (name == "nodes") return StatInode(fs, inode::kNodes);
  if (name == "control") return StatInode(fs, inode::kControl);
  return NotFound();
}

Result<StatResult> LookUpVolume(Filesystem& fs, uint64_t parent, const std::string& name) {
  const std::shared_ptr<Volume> volume = fs.store.Find(name);
  if (!volume) return NotFound();
  if (parent != inode::kVolumes && volume->node().id() != inode::IdOf(parent)) return NotFound();
  return StatVolume(fs, *volume);
}

Result<StatResult> LookUpSnapshot(Filesystem& fs, uint64_t parent, const std::string& name) {
  for (const SnapshotInfo& snapshot : fs.store.Snapshots(inode::IdOf(parent))) {
    if (snapshot.name == name) return StatSnapshot(snapshot);
  }
  return NotFound();
}

Result<StatResult> LookUpSnapshotDirectory(Filesystem& fs, const std::string& name) {
  const auto directory = fs.store.FindSnapshotDirectory(name);
  if (!directory) return NotFound();
  return StatSnapshotDirectory(fs, *directory);
}

Result<StatResult> LookUpNode(Filesystem& fs, const std::string& name) {
  const Node* node = FindNodeByName(fs, name);
  if (node == nullptr) return NotFound();
  return StatDirectory(fs, node->id() | inode::kNodeDirectory, kFixedLifetime);
}

}  // namespace

InodeKind KindOf(const Filesystem& fs, uint64_t ino) {
  if (ino >= inode::kRoot && ino <= inode::kNodes) return InodeKind::kFixed;
  if (fs.control.Owns(ino)) return InodeKind::kControl;
  if (inode::IdOf(ino) == kNoId) return InodeKind::kNone;
  switch (inode::FacetOf(ino)) {
    case inode::kImage:
      return InodeKind::kImage;
    case inode::kSnapshotDirectory:
      return InodeKind::kSnapshotDirectory;
    case inode::kNodeDirectory:
      return InodeKind::kNodeDirectory;
    default:
      return InodeKind::kNone;
  }
}

bool HoldsVolumes(const Filesystem& fs, uint64_t ino) {
  return ino == inode::kVolumes || KindOf(fs, ino) == InodeKind::kNodeDirectory;
}

Result<StatResult> StatInode(Filesystem& fs, uint64_t ino) {
  switch (KindOf(fs, ino)) {
    case InodeKind::kFixed:
      return StatDirectory(fs, ino, kFixedLifetime);
    case InodeKind::kControl: {
      const Result<ControlEntry> entry = fs.control.Stat(ino);
      if (entry.ok()) return StatControl(entry.value());
      // A snapshot that an open file compares may be deleted.
      if (const auto open = fs.handles.FindDiff(ino)) return StatControl(*open);
      return entry.error();
    }
    case InodeKind::kImage:
      return StatImage(fs, ino);
    case InodeKind::kSnapshotDirectory: {
      const auto directory = FindSnapshotDirectory(fs, ino);
      if (!directory) return NotFound();
      return StatSnapshotDirectory(fs, *directory);
    }
    case InodeKind::kNodeDirectory:
      if (FindNode(fs, ino) == nullptr) return NotFound();
      return StatDirectory(fs, ino, kFixedLifetime);
    case InodeKind::kNone:
      break;
  }
  return NotFound();
}

fuse_entry_param EntryOf(const StatResult& found) {
  fuse_entry_param entry{};
  entry.ino = found.st.st_ino;
  entry.attr = found.st;
  entry.attr_timeout = found.lifetime.attributes_seconds;
  entry.entry_timeout = found.lifetime.entry_seconds;
  return entry;
}

StatResult StatVolume(Filesystem& fs, Volume& volume) {
  StatResult result;
  result.lifetime = kNoLifetime;
  struct stat& st = result.st;
  // Of a slow node the last known size is told, as by AllocatedBytes.
  if (!volume.node().directory().calls()->slow()) volume.native().RefreshFromFile();
  const Attributes attributes = volume.attributes();
  const uint64_t size_bytes = volume.size_bytes();
  const Result<uint64_t> allocated = volume.AllocatedBytes();
  st.st_ino = volume.id() | inode::kImage;
  st.st_mode = S_IFREG | (attributes.mode & 0777);
  st.st_nlink = fs.store.Find(volume.id()) ? 2 : 0;  // volumes/ and nodes/NODE (T66)
  st.st_uid = attributes.uid;
  st.st_gid = attributes.gid;
  // Blocks that cannot be counted are no hole: `cp` and `tar` take 0 blocks for "nothing but
  // zeros".
  SetSize(st, size_bytes, allocated.ok() ? allocated.value() : size_bytes);
  SetTimes(st, attributes);
  return result;
}

// As readable as its volume was, so that a snapshot does not show a secret of its volume.
StatResult StatSnapshot(const SnapshotInfo& snapshot) {
  StatResult result;
  result.lifetime = kNoLifetime;
  struct stat& st = result.st;
  st.st_ino = snapshot.id | inode::kImage;
  st.st_mode = S_IFREG | (snapshot.attributes.mode & 0444);
  st.st_nlink = 1;
  st.st_uid = snapshot.attributes.uid;
  st.st_gid = snapshot.attributes.gid;
  SetSize(st, snapshot.size_bytes, snapshot.allocated_bytes);
  SetTimes(st, snapshot.attributes);
  return result;
}

StatResult StatControl(const ControlEntry& entry) {
  StatResult result;
  // Directories below control/ that are always there, as far as default_permissions cares.
  const bool fixed = entry.directory && inode::IdOf(entry.ino) == kNoId;
  result.lifetime = fixed ? kFixedLifetime : kNoLifetime;
  struct stat& st = result.st;
  st.st_ino = entry.ino;
  st.st_mode = (entry.directory ? S_IFDIR : S_IFREG) | (entry.mode & 07777);
  st.st_nlink = entry.directory ? 2 : 1;
  st.st_uid = entry.uid;
  st.st_gid = entry.gid;
  SetSize(st, entry.size_bytes, entry.allocated_bytes);
  st.st_atim = st.st_mtim = st.st_ctim = TimeOf(entry.mtime_ns);
  return result;
}

std::shared_ptr<Volume> FindVolume(Filesystem& fs, uint64_t ino) {
  if (auto volume = fs.store.Find(inode::IdOf(ino))) return volume;
  return fs.handles.FindVolume(inode::IdOf(ino));
}

std::optional<SnapshotInfo> FindSnapshot(Filesystem& fs, uint64_t ino) {
  if (auto snapshot = fs.store.FindSnapshot(inode::IdOf(ino))) return snapshot;
  return fs.handles.FindSnapshot(inode::IdOf(ino));
}

std::optional<SnapshotDirectory> FindSnapshotDirectory(Filesystem& fs, uint64_t ino) {
  return fs.store.FindSnapshotDirectory(inode::IdOf(ino));
}

Node* FindNode(Filesystem& fs, uint64_t ino) {
  if (inode::FacetOf(ino) != inode::kNodeDirectory) return nullptr;
  for (const auto& node : fs.store.nodes()) {
    if (node->id() == inode::IdOf(ino)) return node.get();
  }
  return nullptr;
}

Node* FindNodeByName(Filesystem& fs, std::string_view name) {
  for (const auto& node : fs.store.nodes()) {
    if (node->name() == name) return node.get();
  }
  return nullptr;
}

Result<StatResult> LookUp(Filesystem& fs, uint64_t parent, const std::string& name) {
  switch (KindOf(fs, parent)) {
    case InodeKind::kControl: {
      ASSIGN_OR_RETURN(const ControlEntry entry, fs.control.Lookup(parent, name));
      return StatControl(entry);
    }
    case InodeKind::kSnapshotDirectory:
      return LookUpSnapshot(fs, parent, name);
    case InodeKind::kNodeDirectory:
      return LookUpVolume(fs, parent, name);
    case InodeKind::kFixed:
      break;
    default:
      return NotFound();
  }
  if (parent == inode::kRoot) return LookUpFixed(fs, name);
  if (parent == inode::kVolumes) return LookUpVolume(fs, parent, name);
  if (parent == inode::kSnapshots) return LookUpSnapshotDirectory(fs, name);
  return LookUpNode(fs, name);
}

}  // namespace volfs
