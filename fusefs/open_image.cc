#include "fusefs/open_image.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "blockstore/log.h"

namespace volfs {
namespace {

// Images stay in the page cache between opens: whatever changes their contents goes through the
// kernel, or tells it (invalidator.h).
//
// An open with O_DIRECT bypasses that cache by itself. Telling the kernel so lets it send several
// writes of one file at a time, where it otherwise holds the inode's lock around each.
void SetCaching(fuse_file_info& fi) {
  const bool direct = (fi.flags & O_DIRECT) != 0;
  fi.keep_cache = 1;
  fi.direct_io = direct ? 1 : 0;
#if FUSE_VERSION >= FUSE_MAKE_VERSION(3, 15)
  fi.parallel_direct_writes = direct ? 1 : 0;
#endif
}

Handle* Add(Filesystem& fs, std::unique_ptr<Handle> handle, fuse_file_info& fi) {
  SetCaching(fi);
  Handle* const added = fs.handles.Add(std::move(handle));
  fi.fh = reinterpret_cast<uint64_t>(added);
  return added;
}

}  // namespace

bool ForWrite(const fuse_file_info& fi) {
  const int mode = fi.flags & O_ACCMODE;
  return mode == O_WRONLY || mode == O_RDWR;
}

Result<Handle*> OpenVolume(Filesystem& fs, std::shared_ptr<Volume> volume, fuse_file_info& fi) {
  const auto access = ForWrite(fi) ? Volume::Access::kWrite : Volume::Access::kRead;
  VOLFS_TRY(volume->AddOpen(access));
  return Add(fs, std::make_unique<VolumeHandle>(std::move(volume), access), fi);
}

Result<Handle*> OpenSnapshotFile(Filesystem& fs, const SnapshotInfo& info, fuse_file_info& fi) {
  if (ForWrite(fi)) {
    return Error{Errc::kReadOnly, Text("snapshot ", info.volume, "@", info.name,
                                       " cannot be written; make a volume of it with `volfs "
                                       "restore`")};
  }
  VOLFS_ASSIGN(std::shared_ptr<OpenSnapshot> open, fs.store.OpenSnapshotImage(info.id));
  return Add(fs, std::make_unique<SnapshotHandle>(info, std::move(open)), fi);
}

Error WouldShrink(const Filesystem& fs, const Volume& volume) {
  const char* why =
      fs.options.allow_shrink
          ? "making volumes smaller is not supported yet"
          : "making it smaller would destroy what is in it; to write into it as it is use `dd "
            "conv=notrunc`, `qemu-img convert -n` or `rsync --inplace`";
  return Error{Errc::kProtected,
               Text(volume.name(), " has ", volume.size_bytes(), " bytes: ", why)};
}

void ReplyClosing(fuse_req_t req) { fuse_reply_err(req, ESHUTDOWN); }

}  // namespace volfs
