#pragma once

#include <fuse3/fuse_lowlevel.h>

#include <memory>

#include "blockstore/base/error.h"
#include "fusefs/serve/filesystem.h"

namespace volfs {

// Steps that opening, creating and truncating an image share.

// A handle in the table that the kernel does not know of yet: closed again, unless it is released
// because the kernel has taken the answer to the open.
struct CloseHandle {
  Filesystem* fs;
  void operator()(Handle* handle) const { fs->Close(handle); }
};
using NewHandle = std::unique_ptr<Handle, CloseHandle>;

// What an open is answered with.
struct Opened {
  NewHandle handle;
  fuse_file_info fi;  // its fh is `handle`; how the kernel shall cache
};

// Adds a handle to the table.
Opened AddHandle(Filesystem& fs, std::unique_ptr<Handle> handle, fuse_file_info fi);
// Answers an open. False: its caller was killed meanwhile, and the handle is closed again, as the
// kernel sends no release for what it does not know to be open. After true the handle may be gone.
bool ReplyOpen(fuse_req_t req, Opened opened);

// Opens `volume` for what `fi` asks. kReadOnly if it may not be written. `creates`: as
// OpenState::Add.
Result<Opened> OpenVolume(Filesystem& fs, std::shared_ptr<Volume> volume, const fuse_file_info& fi,
                          bool creates = false);
Result<Opened> OpenSnapshotFile(Filesystem& fs, const SnapshotInfo& info, const fuse_file_info& fi);

// An open that was asked for writing?
bool ForWrite(const fuse_file_info& fi);

struct SizeChange {
  bool open;  // through a descriptor
  Volume::Cut cut;
  Volume::Durability durability;
};
// Of a change through `handle`; null: by its path, as of truncate(2).
SizeChange SizeChangeOf(const Filesystem& fs, const VolumeHandle* handle);
// Gives an image another size. If nobody has it open for that (truncate(2), O_TRUNC) it is opened
// for as long as its size changes, which tells whether it may be written.
Status ChangeSize(Filesystem& fs, Volume& volume, uint64_t size_bytes, const SizeChange& how);

// The mount is being closed down (SIGTERM) and takes no newcomers.
void ReplyClosing(fuse_req_t req);

}  // namespace volfs
