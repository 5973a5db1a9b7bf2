#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>

#include "blockstore/base/str_cat.h"
#include "control/text/name.h"
#include "fusefs/ops/open_image.h"
#include "fusefs/ops/operations.h"
#include "fusefs/ops/serve.h"
#include "fusefs/ops/stat_of.h"
#include "fusefs/serve/reply.h"

namespace volfs::op {
namespace {

// The kernel has checked the right to the directory (default_permissions); nothing is left to ask.
Caller Unquestioned() { return Caller{}; }

// As a user would write it, below the mount.
std::string PathOf(Filesystem& fs, uint64_t parent, const std::string& name) {
  if (const Node* node = FindNode(fs, parent)) return StrCat("nodes/", node->name(), "/", name);
  if (KindOf(fs, parent) == InodeKind::kSnapshotDirectory) {
    const auto directory = FindSnapshotDirectory(fs, parent);
    if (directory) return StrCat("snapshots/", directory->name, "/", name);
  }
  const char* directory = parent == inode::kVolumes ? "volumes/" : "";
  return StrCat(KindOf(fs, parent) == InodeKind::kControl ? "control/" : directory, name);
}

// The store looks at the name first, and refuses a request to a hung node as the control files do.
InPool InNames(Filesystem& fs, const char* what, uint64_t parent) {
  return {fs.names, {.what = what, .node = FindNode(fs, parent), .admitted = true}};
}

// --- creating ------------------------------------------------------------------------------------

struct CreateCall {
  uint64_t parent;
  std::string name;
  mode_t mode;
  Caller caller;
};

Result<std::shared_ptr<Volume>> CreateVolume(Filesystem& fs, const CreateCall& call) {
  RETURN_IF_ERROR(CheckName(call.name, "volume"));
  CreateRequest request;
  request.name = call.name;
  request.mode = call.mode & 0777;  // the kernel has taken the umask off
  if (const Node* node = FindNode(fs, call.parent)) request.node = node->name();
  return fs.store.Create(request, call.caller);
}

// Another process was quicker: O_CREAT without O_EXCL opens the volume that is there, and the
// kernel, which saw no file, has not asked whether this user may.
Result<std::shared_ptr<Volume>> UseExisting(Filesystem& fs, const CreateCall& call,
                                            const fuse_file_info& fi, const Error& error) {
  std::shared_ptr<Volume> volume = fs.store.Find(call.name);
  const Node* node = FindNode(fs, call.parent);
  if (volume == nullptr || (node != nullptr && &volume->node() != node)) return error;
  const Right right = ForWrite(fi) ? Right::kWrite : Right::kRead;
  const bool empties = (fi.flags & O_TRUNC) != 0;
  if (!Allowed(call.caller, volume->attributes(), right) ||
      (empties && !Allowed(call.caller, volume->attributes(), Right::kWrite))) {
    return Error{Errc::kDenied, StrCat(call.name, ": you may not open it")};
  }
  if (empties) RETURN_IF_ERROR(ChangeSize(fs, *volume, 0, SizeChangeOf(fs, nullptr)));
  return volume;
}

Result<Opened> CreateAndOpen(Filesystem& fs, const CreateCall& call, const fuse_file_info& fi) {
  auto volume = CreateVolume(fs, call);
  const bool creates = volume.ok();
  if (!creates && volume.error().code == Errc::kExists && (fi.flags & O_EXCL) == 0) {
    volume = UseExisting(fs, call, fi, volume.error());
  }
  if (!volume.ok()) return volume.error();
  return OpenVolume(fs, std::move(volume.value()), fi, creates);
}

void RefuseCreate(fuse_req_t req, Filesystem& fs, const CreateCall& call, const Error& error) {
  ReplyRefusal(req, StrCat("create ", PathOf(fs, call.parent, call.name)), error);
}

void ReplyCreate(fuse_req_t req, Filesystem& fs, Opened opened) {
  Volume& volume = *VolumeOf(&opened.fi)->volume;
  const fuse_entry_param entry = EntryOf(StatVolume(fs, volume));
  if (fuse_reply_create(req, &entry, &opened.fi) == 0) (void)opened.handle.release();
}

// --- deleting ------------------------------------------------------------------------------------

Status DeleteSnapshotFile(Filesystem& fs, uint64_t parent, const std::string& name) {
  const auto directory = FindSnapshotDirectory(fs, parent);
  if (!directory) return Error{Errc::kNotFound, StrCat("no snapshot ", name)};
  return fs.store.DeleteSnapshot(directory->name, name, Unquestioned());
}

Status DeleteFile(Filesystem& fs, uint64_t parent, const std::string& name) {
  if (KindOf(fs, parent) == InodeKind::kSnapshotDirectory) {
    return DeleteSnapshotFile(fs, parent, name);
  }
  RETURN_IF_ERROR(LookUp(fs, parent, name));  // nodes/NODE shows that node's volumes only
  // Waits a moment for an open that was closed just now: close(2) returns before its release is
  // here.
  return fs.store.Delete(name, Unquestioned());
}

// --- renaming ------------------------------------------------------------------------------------

struct RenameCall {
  uint64_t parent;
  std::string name;
  uint64_t new_parent;
  std::string new_name;
  unsigned int flags;
};

// EPERM, not EXDEV, to another node's directory: `mv` would copy a live disk and delete it.
Status CheckRename(Filesystem& fs, const RenameCall& call) {
  if (!HoldsVolumes(fs, call.parent) || !HoldsVolumes(fs, call.new_parent)) {
    return Error{Errc::kProtected,
                 "only volumes can be renamed, within volumes/ and nodes/NODE/, and snapshots, "
                 "within their directory"};
  }
  RETURN_IF_ERROR(LookUp(fs, call.parent, call.name));
  const std::shared_ptr<Volume> volume = fs.store.Find(call.name);
  const Node* target = FindNode(fs, call.new_parent);
  if (volume != nullptr && target != nullptr && &volume->node() != target) {
    return Error{Errc::kProtected,
                 StrCat(call.name, " is on node ", volume->node().name(),
                        ": renaming cannot carry it to node ", target->name(),
                        "; clone it with node=", target->name(), " and delete it afterwards")};
  }
  RETURN_IF_ERROR(CheckName(call.new_name, "volume"));
  if (fs.store.Find(call.new_name) != nullptr) {
    return Error{Errc::kExists,
                 StrCat(call.new_name, " exists, and renaming never replaces a volume")};
  }
  return OkStatus();
}

Status RenameSnapshotFile(Filesystem& fs, const RenameCall& call) {
  RETURN_IF_ERROR(CheckName(call.new_name, "snapshot"));
  const auto directory = FindSnapshotDirectory(fs, call.parent);
  if (!directory) return Error{Errc::kNotFound, StrCat("no snapshot ", call.name)};
  return fs.store.RenameSnapshot(directory->name, call.name, call.new_name);
}

Status RenameFile(Filesystem& fs, const RenameCall& call) {
  if ((call.flags & ~static_cast<unsigned>(RENAME_NOREPLACE)) != 0) {
    return Error{Errc::kInvalid, "two images cannot be exchanged; rename one after the other"};
  }
  if (call.parent == call.new_parent && KindOf(fs, call.parent) == InodeKind::kSnapshotDirectory) {
    return RenameSnapshotFile(fs, call);
  }
  RETURN_IF_ERROR(CheckRename(fs, call));
  return fs.store.Rename(call.name, call.new_name);
}

std::string Describe(Filesystem& fs, const RenameCall& call) {
  return StrCat("rename ", PathOf(fs, call.parent, call.name), " to ",
                PathOf(fs, call.new_parent, call.new_name));
}

}  // namespace

// Everything below may wait for a commit, so it runs in a pool.

void Create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, fuse_file_info* fi) {
  Filesystem& fs = FilesystemOf(req);
  if (!HoldsVolumes(fs, parent)) {
    fuse_reply_err(req, EPERM);
    return;
  }
  if (fs.closing) return ReplyClosing(req);
  const CreateCall call{parent, name, mode, CallerOf(req)};
  Serve(
      req, InNames(fs, "create", parent),
      [&fs, call, open = *fi] { return CreateAndOpen(fs, call, open); },
      [req, &fs, call](Result<Opened> opened) {
        if (!opened.ok()) return RefuseCreate(req, fs, call, opened.error());
        ReplyCreate(req, fs, std::move(opened.value()));
      });
}

void Mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t /*device*/) {
  Filesystem& fs = FilesystemOf(req);
  if (!S_ISREG(mode) || !HoldsVolumes(fs, parent)) {
    fuse_reply_err(req, EPERM);
    return;
  }
  if (fs.closing) return ReplyClosing(req);
  const CreateCall call{parent, name, mode, CallerOf(req)};
  Serve(
      req, InNames(fs, "create", parent), [&fs, call] { return CreateVolume(fs, call); },
      [req, &fs, call](const Result<std::shared_ptr<Volume>>& volume) {
        if (!volume.ok()) return RefuseCreate(req, fs, call, volume.error());
        const fuse_entry_param entry = EntryOf(StatVolume(fs, *volume.value()));
        fuse_reply_entry(req, &entry);
      });
}

void Mkdir(fuse_req_t req, fuse_ino_t /*parent*/, const char* /*name*/, mode_t /*mode*/) {
  fuse_reply_err(req, EPERM);
}

void Symlink(fuse_req_t req, const char* /*target*/, fuse_ino_t /*parent*/, const char* /*name*/) {
  fuse_reply_err(req, EPERM);
}

void Link(fuse_req_t req, fuse_ino_t /*ino*/, fuse_ino_t /*new_parent*/, const char* /*new_name*/) {
  fuse_reply_err(req, EPERM);
}

void Unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  Filesystem& fs = FilesystemOf(req);
  const InodeKind kind = KindOf(fs, parent);
  if (kind != InodeKind::kSnapshotDirectory && !HoldsVolumes(fs, parent)) {
    fuse_reply_err(req, EPERM);
    return;
  }
  const std::string file = name;
  Serve(
      req, InNames(fs, "rm", parent), [&fs, parent, file] { return DeleteFile(fs, parent, file); },
      [req, &fs, parent, file](const Status& deleted) {
        if (deleted.ok()) return ReplyStatus(req, deleted);
        ReplyRefusal(req, StrCat("rm ", PathOf(fs, parent, file)), deleted.error());
      });
}

// The directory of a volume's snapshots goes with the last of them: to `rm -r` it is gone already.
void Rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  fuse_reply_err(req, LookUp(FilesystemOf(req), parent, name).ok() ? EPERM : ENOENT);
}

void Rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned int flags) {
  Filesystem& fs = FilesystemOf(req);
  const RenameCall call{parent, name, new_parent, new_name, flags};
  Serve(
      req, InNames(fs, "rename", parent), [&fs, call] { return RenameFile(fs, call); },
      [req, &fs, call](const Status& renamed) {
        if (renamed.ok()) return ReplyStatus(req, renamed);
        ReplyRefusal(req, Describe(fs, call), renamed.error());
      });
}

}  // namespace volfs::op
