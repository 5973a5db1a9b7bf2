#include <cerrno>
#include <memory>
#include <optional>

#include "blockstore/base/str_cat.h"
#include "fusefs/ops/open_image.h"
#include "fusefs/ops/operations.h"
#include "fusefs/ops/stat_of.h"
#include "fusefs/serve/reply.h"

namespace volfs::op {
namespace {

void ReplyOpen(fuse_req_t req, const Result<Handle*>& opened, const std::string& path,
               const fuse_file_info& fi) {
  if (!opened.ok()) return ReplyRefusal(req, StrCat("open ", path), opened.error());
  Filesystem& fs = FilesystemOf(req);
  std::shared_ptr<Volume> volume;  // after the reply the handle may be gone
  uint64_t cache_epoch = 0;
  if (opened.value()->kind == Handle::Kind::kVolume) {
    const auto& handle = static_cast<const VolumeHandle&>(*opened.value());
    volume = handle.volume;
    cache_epoch = handle.cache_epoch;
  }
  // Killed meanwhile: the kernel sends no release for what it does not know to be open.
  if (fuse_reply_open(req, &fi) != 0) return fs.Close(opened.value());
  if (volume != nullptr) volume->opens().CacheDropped(cache_epoch);
}

// `open` may open a file of the node, and load a map.
template <typename OpenT>
void OpenFile(fuse_req_t req, const fuse_file_info& fi, const std::string& path,
              const OpenT& open) {
  Filesystem& fs = FilesystemOf(req);
  Watchdog::Guard guard(fs.watchdog, {.request = req, .what = "open"});
  const Result<Handle*> opened = open();
  if (guard.Finish()) return ReplyOpen(req, opened, path, fi);
  if (opened.ok()) fs.Close(opened.value());
}

void OpenImage(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Filesystem& fs = FilesystemOf(req);
  if (fs.closing) return ReplyClosing(req);
  if (std::shared_ptr<Volume> volume = FindVolume(fs, ino)) {
    const std::string path = StrCat("volumes/", volume->name());
    return OpenFile(req, *fi, path, [&] { return OpenVolume(fs, std::move(volume), *fi); });
  }
  if (const std::optional<SnapshotInfo> info = FindSnapshot(fs, ino)) {
    const std::string path = StrCat("snapshots/", info->volume, "/", info->name);
    return OpenFile(req, *fi, path, [&] { return OpenSnapshotFile(fs, *info, *fi); });
  }
  fuse_reply_err(req, ENOENT);
}

}  // namespace

// O_TRUNC does not come here but as a SetAttr (session.cc, "atomic_o_trunc").
void Open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  switch (KindOf(FilesystemOf(req), ino)) {
    case InodeKind::kImage:
      return OpenImage(req, ino, fi);
    case InodeKind::kControl:
      return OpenControl(req, ino, fi);
    default:
      fuse_reply_err(req, EISDIR);
  }
}

void Release(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* fi) {
  FilesystemOf(req).Close(reinterpret_cast<Handle*>(fi->fh));
  fuse_reply_err(req, 0);
}

}  // namespace volfs::op
