#pragma once

#include <fuse3/fuse_lowlevel.h>

#include <memory>

#include "blockstore/base/error.h"
#include "fusefs/serve/filesystem.h"

namespace volfs {

// Steps that opening, creating and truncating an image share.

// A handle in the table that the kernel does not know of yet. It is closed again, unless it is
// released because the kernel has taken the answer to the open.
struct CloseHandle {
  Filesystem* fs;
  void operator()(Handle* handle) const { fs->Close(handle); }
};
using NewHandle = std::unique_ptr<Handle, CloseHandle>;

// The answer to an open.
struct Opened {
  NewHandle handle;
  fuse_file_info fi;  // says how the kernel shall cache; its fh is `handle`
};

// Adds a handle to the table.
Opened AddHandle(Filesystem& fs, std::unique_ptr<Handle> handle, fuse_file_info fi);
// Answers an open. Returns false if the caller was killed meanwhile: the handle is closed again, as
// the kernel sends no release of a file that it does not know to be open. After true the handle may
// be gone.
bool ReplyOpen(fuse_req_t req, Opened opened);

// Open an image for reading or writing, as `fi` asks. kReadOnly if it may not be written.
// `creates`: as OpenState::Add.
Result<Opened> OpenVolume(Filesystem& fs, std::shared_ptr<Volume> volume, const fuse_file_info& fi,
                          bool creates = false);
Result<Opened> OpenSnapshotFile(Filesystem& fs, const SnapshotInfo& info, const fuse_file_info& fi);
// Opens a sparse image below control/diff.
Result<Opened> OpenDiffFile(Filesystem& fs, uint64_t ino, const fuse_file_info& fi);

// Says whether an open asks for writing.
bool ForWrite(const fuse_file_info& fi);

struct SizeChange {
  bool open;  // through a descriptor
  Volume::Cut cut;
  Volume::Durability durability;
};
// Returns how the size is changed through `handle` (null: by its path, as of truncate(2)).
SizeChange SizeChangeOf(const Filesystem& fs, const VolumeHandle* handle);
// Gives an image another size. Without an open descriptor (truncate(2), O_TRUNC) it opens the image
// for as long as its size changes, which tells whether the image may be written.
Status ChangeSize(Filesystem& fs, Volume& volume, uint64_t size_bytes, const SizeChange& how);

// Refuses a new open: the mount is being closed down (SIGTERM).
void ReplyClosing(fuse_req_t req);

}  // namespace volfs
