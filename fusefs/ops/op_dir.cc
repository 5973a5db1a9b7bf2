#include <algorithm>
#include <memory>
#include <vector>

#include "blockstore/base/memory.h"
#include "fusefs/ops/listing.h"
#include "fusefs/ops/open_image.h"
#include "fusefs/ops/operations.h"
#include "fusefs/ops/stat_of.h"
#include "fusefs/serve/reply.h"

namespace volfs::op {
namespace {

using Entries = std::vector<DirectoryEntry>;

uint64_t ParentOf(const Filesystem& fs, uint64_t ino) {
  switch (KindOf(fs, ino)) {
    case InodeKind::kSnapshotDirectory:
      return inode::kSnapshots;
    case InodeKind::kNodeDirectory:
      return inode::kNodes;
    case InodeKind::kControl:
      return ino == inode::kControl ? inode::kRoot : inode::kControl;
    default:
      return inode::kRoot;
  }
}

void ListRoot(Entries& entries) {
  entries.push_back({inode::kVolumes, "volumes", S_IFDIR});
  entries.push_back({inode::kSnapshots, "snapshots", S_IFDIR});
  entries.push_back({inode::kNodes, "nodes", S_IFDIR});
  entries.push_back({inode::kControl, "control", S_IFDIR});
}

void ListVolumes(Filesystem& fs, Id node, Entries& entries) {  // kNoId: of all nodes
  for (const std::shared_ptr<Volume>& volume : fs.store.Volumes()) {
    if (node != kNoId && volume->node().id() != node) continue;
    entries.push_back({volume->id() | inode::kImage, volume->name(), S_IFREG});
  }
}

void ListFixed(Filesystem& fs, uint64_t ino, Entries& entries) {
  if (ino == inode::kRoot) return ListRoot(entries);
  if (ino == inode::kVolumes) return ListVolumes(fs, kNoId, entries);
  if (ino == inode::kNodes) {
    for (const auto& node : fs.store.nodes()) {
      entries.push_back({node->id() | inode::kNodeDirectory, node->name(), S_IFDIR});
    }
    return;
  }
  for (const auto& directory : fs.store.SnapshotDirectories()) {
    entries.push_back({directory.volume | inode::kSnapshotDirectory, directory.name, S_IFDIR});
  }
}

Status ListControl(Filesystem& fs, uint64_t ino, Entries& entries) {
  ASSIGN_OR_RETURN(const std::vector<ControlEntry> found, fs.control.List(ino));
  for (const ControlEntry& entry : found) {
    entries.push_back({entry.ino, entry.name, entry.directory ? uint32_t{S_IFDIR} : S_IFREG});
  }
  return OkStatus();
}

Result<Entries> List(Filesystem& fs, uint64_t ino) {
  Entries entries{{ino, ".", S_IFDIR}, {ParentOf(fs, ino), "..", S_IFDIR}};
  switch (KindOf(fs, ino)) {
    case InodeKind::kControl:
      RETURN_IF_ERROR(ListControl(fs, ino, entries));
      break;
    case InodeKind::kSnapshotDirectory:
      for (const SnapshotInfo& snapshot : fs.store.Snapshots(inode::IdOf(ino))) {
        entries.push_back({snapshot.id | inode::kImage, snapshot.name, S_IFREG});
      }
      break;
    case InodeKind::kNodeDirectory:
      ListVolumes(fs, inode::IdOf(ino), entries);
      break;
    default:
      ListFixed(fs, ino, entries);
  }
  return entries;
}

DirectoryHandle& DirectoryOf(const fuse_file_info* fi) {
  return static_cast<DirectoryHandle&>(HandleOf(fi));
}

// As many entries from number `first` on as `size` bytes hold.
std::vector<char> Fill(fuse_req_t req, const Listing& listing, size_t first, size_t size) {
  std::vector<char> out(size);
  size_t used = 0;
  for (size_t i = first; i < listing.size(); ++i) {
    const DirectoryEntry entry = listing.At(i);
    struct stat st {};
    st.st_ino = entry.ino;
    st.st_mode = entry.type;
    const size_t need = fuse_add_direntry(req, out.data() + used, size - used, entry.name.c_str(),
                                          &st, static_cast<off_t>(i + 1));
    if (need > size - used) break;
    used += need;
  }
  out.resize(used);
  return out;
}

Result<HeldTexts::Text> TakeListing(Filesystem& fs, uint32_t user, uint64_t ino) {
  return OrNoMemory([&]() -> Result<HeldTexts::Text> {
    ASSIGN_OR_RETURN(const Entries entries, List(fs, ino));
    return fs.control.texts().Hold(user, ino, Listing::Pack(entries));
  });
}

// Returns the listing in which a reader at entry `offset` goes on; a new one for a reader at the
// beginning.
Result<HeldTexts::Text> ListingFor(fuse_req_t req, DirectoryHandle& handle, off_t offset) {
  if (offset != 0) {
    MutexLock lock(handle.mu);
    if (handle.listing != nullptr) return handle.listing;
  }
  ASSIGN_OR_RETURN(HeldTexts::Text listing,
                   TakeListing(FilesystemOf(req), fuse_req_ctx(req)->uid, handle.ino));
  const HeldTexts::Text taken = listing;
  MutexLock lock(handle.mu);
  handle.listing.swap(listing);  // the old one goes when the lock is free
  return taken;
}

}  // namespace

void OpenDir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  ReplyOpen(req, AddHandle(FilesystemOf(req), std::make_unique<DirectoryHandle>(ino), *fi));
}

void ReadDir(fuse_req_t req, fuse_ino_t /*ino*/, size_t size, off_t offset, fuse_file_info* fi) {
  const Result<HeldTexts::Text> listing = ListingFor(req, DirectoryOf(fi), offset);
  if (!listing.ok()) return ReplyError(req, listing.error());
  const auto first = static_cast<size_t>(offset);
  const std::vector<char> filled = Fill(req, Listing(*listing.value()), first, size);
  fuse_reply_buf(req, filled.data(), filled.size());
}

void ReleaseDir(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* fi) {
  FilesystemOf(req).Close(&DirectoryOf(fi));
  fuse_reply_err(req, 0);
}

// Creating, renaming and deleting are durable when they return.
void FsyncDir(fuse_req_t req, fuse_ino_t /*ino*/, int /*data_only*/, fuse_file_info* /*fi*/) {
  fuse_reply_err(req, 0);
}

}  // namespace volfs::op
