#pragma once

#include <fuse3/fuse_lowlevel.h>

#include <memory>

#include "blockstore/base/error.h"
#include "fusefs/serve/filesystem.h"

namespace volfs {

// Steps that opening, creating and truncating an image share.

// Opens `volume` for what `fi` asks, fills fi->fh and how the kernel shall cache; the handle is in
// the table and owned by it. kReadOnly if it may not be written. `creates`: as OpenState::Add.
Result<Handle*> OpenVolume(Filesystem& fs, std::shared_ptr<Volume> volume, fuse_file_info& fi,
                           bool creates = false);
Result<Handle*> OpenSnapshotFile(Filesystem& fs, const SnapshotInfo& info, fuse_file_info& fi);

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
