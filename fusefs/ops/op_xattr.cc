#include <cerrno>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>

#include "fusefs/ops/operations.h"
#include "fusefs/ops/serve.h"
#include "fusefs/ops/stat_of.h"
#include "fusefs/serve/reply.h"

namespace volfs::op {
namespace {

constexpr std::string_view kOurs = "user.volfs.";
constexpr std::string_view kUnsaved = "user.volfs.unsaved";

std::string PercentText(const CloneProgress& progress) {
  char text[16];
  std::snprintf(text, sizeof text, "%.2f", progress.percent());
  return text;
}

std::optional<std::string> ValueOf(const VolumeInfo& info, std::string_view what) {
  if (what == "status") return info.status;
  if (what == "node") return info.node;
  if (what == "type") return info.type;
  if (what == "source") return info.source;
  if (what == "hydrated") return PercentText(info.progress);
  return std::nullopt;
}

using Found = Result<std::optional<std::string>>;

Found FindValue(Filesystem& fs, uint64_t ino, std::string_view name) {
  if (!name.starts_with(kOurs) || KindOf(fs, ino) != InodeKind::kImage) return Found(std::nullopt);
  const std::shared_ptr<Volume> volume = fs.store.Find(inode::IdOf(ino));
  if (volume == nullptr) return Found(std::nullopt);
  fs.backings.Look();
  return ValueOf(fs.store.Info(*volume), name.substr(kOurs.size()));
}

void ReplyValue(fuse_req_t req, size_t size, const std::string& value) {
  if (size == 0) {
    fuse_reply_xattr(req, value.size());
  } else if (size < value.size()) {
    fuse_reply_err(req, ERANGE);
  } else {
    fuse_reply_buf(req, value.data(), value.size());
  }
}

// Of the mount's root: see unmount_check.h. Only of those who may unmount.
void AskUnsaved(Filesystem& fs, fuse_req_t req, size_t size) {
  const uint32_t uid = fuse_req_ctx(req)->uid;
  if (uid != 0 && uid != fs.options.uid) {
    fuse_reply_err(req, EPERM);
    return;
  }
  Serve(
      req, InPool{fs.requests, {.what = "umount"}},
      [&fs]() -> Result<std::string> { return fs.unmount_check.Ask(); },
      [req, size](const Result<std::string>& answer) {
        if (!answer.ok()) return ReplyError(req, answer.error());
        ReplyValue(req, size, answer.value());
      });
}

// The source may be a volume of another user, of which a private mount says nothing.
bool MayKnow(const Filesystem& fs, fuse_req_t req, std::string_view name) {
  if (!fs.options.is_private || name.substr(kOurs.size()) != "source") return true;
  return Administers(CallerOf(req), fs.options.uid, fs.options.control_gid);
}

}  // namespace

void SetXattr(fuse_req_t req, fuse_ino_t /*ino*/, const char* /*name*/, const char* /*value*/,
              size_t /*size*/, int /*flags*/) {
  fuse_reply_err(req, EOPNOTSUPP);
}

void GetXattr(fuse_req_t req, fuse_ino_t ino, const char* name, size_t size) {
  Filesystem& fs = FilesystemOf(req);
  if (ino == inode::kRoot && name == kUnsaved && size != 0) return AskUnsaved(fs, req, size);
  Serve(
      req, AtOnce{{.what = "getxattr"}}, [&] { return FindValue(fs, ino, name); },
      [&](const Found& found) {
        if (found.ok() && found.value() && MayKnow(fs, req, name)) {
          ReplyValue(req, size, *found.value());
        } else {
          fuse_reply_err(req, ENODATA);
        }
      });
}

// None: `cp -a` and `rsync -X` would try to copy them.
void ListXattr(fuse_req_t req, fuse_ino_t /*ino*/, size_t size) {
  if (size == 0) {
    fuse_reply_xattr(req, 0);
  } else {
    fuse_reply_buf(req, nullptr, 0);
  }
}

void RemoveXattr(fuse_req_t req, fuse_ino_t /*ino*/, const char* /*name*/) {
  fuse_reply_err(req, EOPNOTSUPP);
}

}  // namespace volfs::op
