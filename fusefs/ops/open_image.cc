#include "fusefs/ops/open_image.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "blockstore/base/str_cat.h"

namespace volfs {
namespace {

// Images stay in the page cache between opens: each change of their contents goes through the
// kernel, or the daemon tells it (invalidator.h).
//
// An open with O_DIRECT bypasses that cache by itself. Telling the kernel so lets it send several
// writes of one file at a time, where it otherwise holds the inode's lock around each.
void SetCaching(fuse_file_info& fi, bool keep) {
  const bool direct = (fi.flags & O_DIRECT) != 0;
  fi.keep_cache = keep ? 1 : 0;
  fi.direct_io = direct ? 1 : 0;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 15)
  fi.parallel_direct_writes = direct ? 1 : 0;
#endif
}

// The kernel goes to the layer's file, with the flags of the open.
void SetBacking(fuse_file_info& fi, [[maybe_unused]] int backing) {
  fi.keep_cache = 0;  // its pages of the image are not used meanwhile
  fi.direct_io = 0;   // or the requests would come to the daemon
  fi.noflush = 1;     // the daemon has nothing to write out at a close
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 17)
  fi.backing_id = backing;
#endif
}

Opened AddImage(Filesystem& fs, std::unique_ptr<Handle> handle, fuse_file_info fi, bool keep_cache,
                int backing) {
  if (backing == BackingTable::kNone) {
    SetCaching(fi, keep_cache);
  } else {
    SetBacking(fi, backing);
  }
  handle->limiter = fs.LimiterOf(handle->node);
  handle->source_limiter = fs.LimiterOf(handle->source);
  return AddHandle(fs, std::move(handle), fi);
}

}  // namespace

Opened AddHandle(Filesystem& fs, std::unique_ptr<Handle> handle, fuse_file_info fi) {
  NewHandle added(fs.handles.Add(std::move(handle)), CloseHandle{&fs});
  fi.fh = reinterpret_cast<uint64_t>(added.get());
  return {std::move(added), fi};
}

bool ReplyOpen(fuse_req_t req, Opened opened) {
  const bool taken = fuse_reply_open(req, &opened.fi) == 0;
  if (taken) (void)opened.handle.release();
  return taken;
}

bool ForWrite(const fuse_file_info& fi) {
  const int mode = fi.flags & O_ACCMODE;
  return mode == O_WRONLY || mode == O_RDWR;
}

Result<Opened> OpenVolume(Filesystem& fs, std::shared_ptr<Volume> volume, const fuse_file_info& fi,
                          bool creates) {
  const auto access = ForWrite(fi) ? Volume::Access::kWrite : Volume::Access::kRead;
  RETURN_IF_ERROR(volume->opens().Add(access, creates));
  // Read before the table is asked: an EndNative after this makes it old. The invalidator tells the
  // kernel of a revert too, but perhaps after this open.
  const uint64_t epoch = volume->opens().cache_epoch();
  const bool keep_cache = volume->opens().dropped_cache_epoch() == epoch;
  auto handle = std::make_unique<VolumeHandle>(std::move(volume), access);
  handle->cache_epoch = epoch;
  handle->created_it = creates;
  handle->synchronous = (fi.flags & O_DSYNC) != 0;  // O_SYNC has that bit, too
  handle->node = &handle->volume->node();
  handle->source = fs.store.SourceNodeOf(handle->volume->id());
  if (handle->source == handle->node) handle->source = nullptr;
  const BackingTable::Image image{handle->ino, handle->node,
                                  [file = handle->volume]() -> Result<Descriptor> {
                                    if (!file->native().wanted()) return Descriptor();
                                    return file->native().Begin();
                                  },
                                  [file = handle->volume] { file->native().End(); }};
  const Result<int> backing = fs.backings.Add(image);
  if (!backing.ok()) {
    handle->volume->opens().Remove(access);
    return backing.error();
  }
  handle->direct = backing.value() == BackingTable::kNone && (fi.flags & O_DIRECT) != 0;
  return AddImage(fs, std::move(handle), fi, keep_cache, backing.value());
}

Result<Opened> OpenSnapshotFile(Filesystem& fs, const SnapshotInfo& info,
                                const fuse_file_info& fi) {
  if (ForWrite(fi)) {
    return Error{Errc::kReadOnly, StrCat("snapshot ", info.volume, "@", info.name,
                                         " cannot be written; make a volume of it with `volfs "
                                         "restore`")};
  }
  ASSIGN_OR_RETURN(std::shared_ptr<OpenSnapshot> open, fs.store.OpenSnapshotImage(info.id));
  auto handle = std::make_unique<SnapshotHandle>(info, std::move(open));
  handle->node = handle->open->layer()->node();
  // `open` keeps the layer, and merging and freeing off its file, for as long as the handle lives.
  const BackingTable::Image image{handle->ino, handle->node,
                                  [raw = handle->open->image().RawLayer()]() -> Result<Descriptor> {
                                    if (raw == nullptr) return Descriptor();
                                    ASSIGN_OR_RETURN(Layer::Exported exported,
                                                     raw->ExportDescriptor(OpenFiles::For::kRead));
                                    return std::move(exported.file);
                                  },
                                  [] {}};
  ASSIGN_OR_RETURN(const int backing, fs.backings.Add(image));
  return AddImage(fs, std::move(handle), fi, true, backing);
}

// Each open of "A.." may show another moment, so the kernel keeps no pages.
Result<Opened> OpenDiffFile(Filesystem& fs, uint64_t ino, const fuse_file_info& fi) {
  if (ForWrite(fi)) return Error{Errc::kReadOnly, "what has changed cannot be written"};
  ASSIGN_OR_RETURN(ControlEntry entry, fs.control.Stat(ino));
  ASSIGN_OR_RETURN(std::shared_ptr<OpenDiff> open, fs.control.OpenDiffImage(ino));
  entry.size_bytes = open->size_bytes();
  auto handle = std::make_unique<DiffHandle>(std::move(entry), std::move(open));
  handle->node = handle->open->node();
  Opened opened = AddImage(fs, std::move(handle), fi, false, BackingTable::kNone);
  opened.fi.direct_io = 1;
  return opened;
}

Status ChangeSize(Filesystem& fs, Volume& volume, uint64_t size_bytes, const SizeChange& how) {
  volume.native().RefreshFromFile();
  // The size may be there already and not be durable: Conclude is for that, too.
  if (size_bytes == volume.size_bytes()) return volume.Conclude(how.durability);
  if (!how.open) RETURN_IF_ERROR(volume.opens().Add(Volume::Access::kWrite));
  const bool shrinks = size_bytes < volume.size_bytes();
  Status changed = shrinks ? fs.store.Shrink(volume, size_bytes, how.cut) : volume.Grow(size_bytes);
  if (changed.ok()) changed = volume.Conclude(how.durability);
  if (!how.open) volume.opens().Remove(Volume::Access::kWrite);
  return changed;
}

SizeChange SizeChangeOf(const Filesystem& fs, const VolumeHandle* handle) {
  const bool created_it = handle != nullptr && handle->created_it;
  return {.open = handle != nullptr,
          .cut = created_it ? Volume::Cut::kUnwritten : Volume::Cut::kAnything,
          .durability = fs.DurabilityOf(handle)};
}

void ReplyClosing(fuse_req_t req) { fuse_reply_err(req, ESHUTDOWN); }

}  // namespace volfs
