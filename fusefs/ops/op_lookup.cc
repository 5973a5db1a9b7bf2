#include <sys/statvfs.h>

#include <cerrno>
#include <optional>

#include "fusefs/ops/operations.h"
#include "fusefs/ops/serve.h"
#include "fusefs/ops/stat_of.h"
#include "fusefs/serve/reply.h"

namespace volfs::op {
namespace {

constexpr uint64_t kStatfsBlockBytes = 4096;
constexpr unsigned long kMaxNameBytes = 128;

// The node that `ino` is about; null: all of them.
Node* NodeAbout(Filesystem& fs, uint64_t ino) {
  if (KindOf(fs, ino) == InodeKind::kImage) {
    if (const auto volume = FindVolume(fs, ino)) return &volume->node();
  }
  return FindNode(fs, ino);
}

Result<SpaceInfo> SpaceAbout(Filesystem& fs, uint64_t ino) {
  if (Node* node = NodeAbout(fs, ino)) return node->Space();
  return SpaceOfAll(fs.store.Nodes());
}

// Whose image, or whose snapshots, a name is of.
std::optional<Attributes> AttributesAbout(Filesystem& fs, const struct stat& st) {
  switch (KindOf(fs, st.st_ino)) {
    case InodeKind::kImage:
      return Attributes{.uid = st.st_uid, .gid = st.st_gid, .mode = st.st_mode & 0777};
    case InodeKind::kSnapshotDirectory:
      if (const auto directory = FindSnapshotDirectory(fs, st.st_ino)) return directory->attributes;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

// In a private mount a name is not there for a user without a right to it: any other user sees it
// by `stat`. The kernel asks each time that a process walks a path, in the name of that process, as
// nothing has a lifetime (reply.h). A refusal makes it forget the name for all, until the next
// process asks: the path of an open file, as in /proc or losetup(8), says "(deleted)" from then on,
// which the command looks past.
bool IsHidden(Filesystem& fs, fuse_req_t req, const struct stat& st) {
  if (!fs.options.is_private || fuse_req_ctx(req)->uid == 0) return false;
  const std::optional<Attributes> attributes = AttributesAbout(fs, st);
  if (!attributes) return false;
  const Caller caller = CallerOf(req);
  return caller.uid != attributes->uid && !Allowed(caller, *attributes, Right::kRead) &&
         !Allowed(caller, *attributes, Right::kWrite) &&
         !Administers(caller, fs.options.uid, fs.options.control_gid);
}

void ReplyFound(fuse_req_t req, Filesystem& fs, const Result<StatResult>& found) {
  if (!found.ok()) return ReplyError(req, found.error());
  if (IsHidden(fs, req, found.value().st)) {
    fuse_reply_err(req, ENOENT);
    return;
  }
  const fuse_entry_param entry = EntryOf(found.value());
  fuse_reply_entry(req, &entry);
}

void ReplySpace(fuse_req_t req, const Result<SpaceInfo>& result) {
  if (!result.ok()) return ReplyError(req, result.error());
  const SpaceInfo& space = result.value();
  struct statvfs answer {};
  answer.f_bsize = kStatfsBlockBytes;
  answer.f_frsize = kStatfsBlockBytes;
  answer.f_blocks = space.size_bytes / kStatfsBlockBytes;
  answer.f_bfree = space.free_bytes / kStatfsBlockBytes;
  answer.f_bavail = answer.f_bfree;
  answer.f_namemax = kMaxNameBytes;
  fuse_reply_statfs(req, &answer);
}

}  // namespace

void Lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Filesystem& fs = FilesystemOf(req);
  Serve(
      req, AtOnce{{.what = "look up"}}, [&] { return LookUp(fs, parent, name); },
      [&](const Result<StatResult>& found) { ReplyFound(req, fs, found); });
}

// Numbers are stable and nothing is counted: there is nothing to forget.
void Forget(fuse_req_t req, fuse_ino_t /*ino*/, uint64_t /*lookups*/) { fuse_reply_none(req); }

void ForgetMulti(fuse_req_t req, size_t /*count*/, fuse_forget_data* /*forgets*/) {
  fuse_reply_none(req);
}

// In a pool: a node that hangs must hold up only the callers that ask for its space.
void StatFs(fuse_req_t req, fuse_ino_t ino) {
  Filesystem& fs = FilesystemOf(req);
  Serve(
      req, InPool{fs.names, {.what = "statfs"}}, [&fs, ino] { return SpaceAbout(fs, ino); },
      [req](const Result<SpaceInfo>& space) { ReplySpace(req, space); });
}

}  // namespace volfs::op
