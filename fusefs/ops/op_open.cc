#include <cerrno>
#include <memory>
#include <optional>

#include "blockstore/base/str_cat.h"
#include "fusefs/ops/open_image.h"
#include "fusefs/ops/operations.h"
#include "fusefs/ops/serve.h"
#include "fusefs/ops/stat_of.h"
#include "fusefs/serve/reply.h"

namespace volfs::op {
namespace {

void ReplyOpenImage(fuse_req_t req, const std::string& path, Result<Opened> opened) {
  if (!opened.ok()) return ReplyRefusal(req, StrCat("open ", path), opened.error());
  std::shared_ptr<Volume> volume;  // after the reply the handle may be gone
  uint64_t cache_epoch = 0;
  if (const VolumeHandle* const handle = VolumeOf(&opened.value().fi)) {
    volume = handle->volume;
    cache_epoch = handle->cache_epoch;
  }
  const bool taken = ReplyOpen(req, std::move(opened.value()));
  if (taken && volume != nullptr) volume->opens().CacheDropped(cache_epoch);
}

// `open` may open a file of the node, and load a map.
template <typename OpenT>
void ServeOpen(fuse_req_t req, const std::string& path, const OpenT& open) {
  Serve(req, AtOnce{{.what = "open"}}, open,
        [&](Result<Opened> opened) { ReplyOpenImage(req, path, std::move(opened)); });
}

void OpenImage(fuse_req_t req, fuse_ino_t ino, const fuse_file_info& fi) {
  Filesystem& fs = FilesystemOf(req);
  if (fs.closing) return ReplyClosing(req);
  if (std::shared_ptr<Volume> volume = FindVolume(fs, ino)) {
    const std::string path = StrCat("volumes/", volume->name());
    return ServeOpen(req, path, [&] { return OpenVolume(fs, std::move(volume), fi); });
  }
  if (const std::optional<SnapshotInfo> info = FindSnapshot(fs, ino)) {
    const std::string path = StrCat("snapshots/", info->volume, "/", info->name);
    return ServeOpen(req, path, [&] { return OpenSnapshotFile(fs, *info, fi); });
  }
  fuse_reply_err(req, ENOENT);
}

}  // namespace

// O_TRUNC does not come here but as a SetAttr (session.cc, "atomic_o_trunc").
void Open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  switch (KindOf(FilesystemOf(req), ino)) {
    case InodeKind::kImage:
      return OpenImage(req, ino, *fi);
    case InodeKind::kControl:
      return OpenControl(req, ino, fi);
    default:
      fuse_reply_err(req, EISDIR);
  }
}

void Release(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* fi) {
  FilesystemOf(req).Close(&HandleOf(fi));
  fuse_reply_err(req, 0);
}

}  // namespace volfs::op
