#include <cerrno>

#include "blockstore/base/str_cat.h"
#include "fusefs/ops/open_image.h"
#include "fusefs/ops/operations.h"
#include "fusefs/ops/serve.h"
#include "fusefs/ops/stat_of.h"
#include "fusefs/serve/reply.h"

namespace volfs::op {
namespace {

constexpr int kWhoAndHow = FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
constexpr int kTimes =
    FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;

int64_t NanosecondsOf(const timespec& time) {
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

void ReplyStat(fuse_req_t req, const Result<StatResult>& result) {
  if (!result.ok()) return ReplyError(req, result.error());
  fuse_reply_attr(req, &result.value().st, result.value().lifetime.attributes_seconds);
}

// Permission bits only: setuid, setgid and sticky mean nothing on an image.
AttributeChange AttributesOf(const struct stat& wanted, int which) {
  const int64_t now = WallNow().count();
  AttributeChange change{.ctime_ns = now};
  if ((which & FUSE_SET_ATTR_MODE) != 0) change.mode = wanted.st_mode & 0777;
  if ((which & FUSE_SET_ATTR_UID) != 0) change.uid = wanted.st_uid;
  if ((which & FUSE_SET_ATTR_GID) != 0) change.gid = wanted.st_gid;
  if ((which & FUSE_SET_ATTR_ATIME) != 0) change.atime_ns = NanosecondsOf(wanted.st_atim);
  if ((which & FUSE_SET_ATTR_MTIME) != 0) change.mtime_ns = NanosecondsOf(wanted.st_mtim);
  if ((which & FUSE_SET_ATTR_ATIME_NOW) != 0) change.atime_ns = now;
  if ((which & FUSE_SET_ATTR_MTIME_NOW) != 0) change.mtime_ns = now;
  return change;
}

Result<StatResult> ChangeVolume(Filesystem& fs, Volume& volume, const struct stat& wanted,
                                int which, const SizeChange& how) {
  const bool sizes = (which & FUSE_SET_ATTR_SIZE) != 0;
  if (sizes) RETURN_IF_ERROR(ChangeSize(fs, volume, static_cast<uint64_t>(wanted.st_size), how));
  if ((which & (kWhoAndHow | kTimes)) != 0) {
    volume.state().ChangeAttributes(AttributesOf(wanted, which));
    // A crash shall not undo the rights to a disk, nor a time that a user has set. Of truncate(2)
    // the kernel sends the time, too: that is saved now and then, as those of writes.
    if (!sizes || (which & kWhoAndHow) != 0) RETURN_IF_ERROR(volume.commits().SyncAttributes());
  }
  return StatVolume(fs, volume);
}

const char* VerbOf(int which) {
  if ((which & FUSE_SET_ATTR_SIZE) != 0) return "truncate";
  return (which & kWhoAndHow) != 0 ? "chmod" : "touch";
}

// `> control/clone` and `touch` shall do no harm; a size means nothing there.
void SetControlAttr(fuse_req_t req, uint64_t ino, int which) {
  if ((which & kWhoAndHow) != 0) {
    fuse_reply_err(req, EPERM);
    return;
  }
  ReplyStat(req, StatInode(FilesystemOf(req), ino));
}

// `handle`: the open file that the request came through; null: it came by the path.
void SetImageAttr(fuse_req_t req, uint64_t ino, const struct stat& wanted, int which,
                  const VolumeHandle* handle) {
  Filesystem& fs = FilesystemOf(req);
  const std::shared_ptr<Volume> volume = FindVolume(fs, ino);
  if (volume == nullptr) {
    const Errc code = FindSnapshot(fs, ino) ? Errc::kReadOnly : Errc::kNotFound;
    return ReplyError(req, Error{code, "not a volume"});
  }
  const Watch watch{.what = "change the attributes of a volume",
                    .node = &volume->node(),
                    .changes = volume->id()};
  // It may wait for a commit.
  Serve(
      req, InPool{fs.names, watch},
      [=, &fs, how = SizeChangeOf(fs, handle)] {
        return ChangeVolume(fs, *volume, wanted, which, how);
      },
      [=](const Result<StatResult>& after) {
        if (after.ok()) return ReplyStat(req, after);
        ReplyRefusal(req, StrCat(VerbOf(which), " volumes/", volume->name()), after.error());
      });
}

// Returns a volume without a block, which programs take for nothing but zeros (T29), that may have
// some in mappings; else null. Any other volume may show a few blocks too few for a while, from
// which programs conclude nothing.
std::shared_ptr<Volume> HiddenInMappings(Filesystem& fs, const StatResult& found) {
  if (!S_ISREG(found.st.st_mode) || found.st.st_blocks != 0 || found.st.st_size == 0)
    return nullptr;
  std::shared_ptr<Volume> volume = FindVolume(fs, found.st.st_ino);
  if (volume == nullptr || !MappedPages::MayExist(*volume)) return nullptr;
  return volume->node().directory().calls()->slow() ? nullptr : volume;
}

void StatWrittenOut(fuse_req_t req, Filesystem& fs, std::shared_ptr<Volume> volume) {
  const Node* const node = &volume->node();
  Serve(
      req, InPool{fs.LimiterOf(node)->mapped(), {.what = "stat", .node = node}},
      [&fs, volume = std::move(volume)]() -> Result<StatResult> {
        fs.mapped_pages.WriteOut(volume->id() | inode::kImage, {});
        return StatVolume(fs, *volume);
      },
      [req](const Result<StatResult>& after) { ReplyStat(req, after); });
}

}  // namespace

void GetAttr(fuse_req_t req, fuse_ino_t ino, fuse_file_info* /*fi*/) {
  Filesystem& fs = FilesystemOf(req);
  Serve(
      req, AtOnce{{.what = "stat"}}, [&] { return StatInode(fs, ino); },
      [&](const Result<StatResult>& found) {
        auto hidden = found.ok() ? HiddenInMappings(fs, found.value()) : nullptr;
        if (hidden == nullptr) return ReplyStat(req, found);
        StatWrittenOut(req, fs, std::move(hidden));
      });
}

void SetAttr(fuse_req_t req, fuse_ino_t ino, struct stat* wanted, int which, fuse_file_info* fi) {
  switch (KindOf(FilesystemOf(req), ino)) {
    case InodeKind::kImage:
      return SetImageAttr(req, ino, *wanted, which, VolumeOf(fi));
    case InodeKind::kControl:
      return SetControlAttr(req, ino, which);
    default:
      fuse_reply_err(req, EPERM);
  }
}

}  // namespace volfs::op
