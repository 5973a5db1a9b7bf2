#include <fcntl.h>
#include <linux/falloc.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <utility>

#include "blockstore/base/memory.h"
#include "blockstore/base/str_cat.h"
#include "fusefs/ops/operations.h"
#include "fusefs/ops/serve.h"
#include "fusefs/serve/reply.h"

namespace volfs::op {
namespace {

const FrozenImage& ImageOf(Handle& handle) {
  return static_cast<SnapshotHandle&>(handle).open->image();
}

std::string Operation(const char* what, const Volume& volume, uint64_t offset_bytes,
                      uint64_t length_bytes) {
  return StrCat(what, " volumes/", volume.name(), " bytes ", offset_bytes, " to ",
                offset_bytes + length_bytes);
}

// One a thread, as large as the largest request so far; page-aligned, so that the node's filesystem
// may take it for direct I/O.
class ReadBuffer {
 public:
  ReadBuffer() = default;
  ~ReadBuffer() { Free(); }
  ReadBuffer(const ReadBuffer&) = delete;
  ReadBuffer& operator=(const ReadBuffer&) = delete;

  // Empty if there is no memory for it.
  std::span<std::byte> Get(size_t size) {
    if (size > size_) {
      Free();
      const AllocationScope scope(Allocations::kFail);
      size_ = size < kMinBytes ? kMinBytes : size;
      bytes_ = static_cast<std::byte*>(::operator new(size_, kAlignment, std::nothrow));
      if (bytes_ == nullptr) size_ = 0;
    }
    return {bytes_, std::min(size, size_)};
  }

 private:
  static constexpr size_t kMinBytes = size_t{1} << 20;
  static constexpr std::align_val_t kAlignment{4096};

  void Free() { ::operator delete(std::exchange(bytes_, nullptr), kAlignment); }

  std::byte* bytes_ = nullptr;
  size_t size_ = 0;
};

std::span<std::byte> BufferOfThread(size_t size) {
  thread_local ReadBuffer buffer;
  return buffer.Get(size);
}

using Bytes = std::span<const std::byte>;

void ReplyBytes(fuse_req_t req, Bytes bytes) {
  fuse_reply_buf(req, reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// Hot path: no lock of ours, no allocation; the bytes are copied by the node's read and by the
// kernel's reply, not in between.
Result<Bytes> ReadVolume(Volume& volume, size_t size, uint64_t offset_bytes) {
  const std::span<std::byte> buffer = BufferOfThread(size);
  if (buffer.size() < size) return NoMemory();
  ASSIGN_OR_RETURN(const size_t read, volume.ReadAt(buffer, offset_bytes));
  return Bytes(buffer.first(read));
}

// `image`: a FrozenImage or an OpenDiff.
template <typename Image>
Result<Bytes> ReadImage(const Image& image, size_t size, uint64_t offset_bytes) {
  const uint64_t left = image.size_bytes() - std::min(offset_bytes, image.size_bytes());
  const size_t wanted = left < size ? size_t{left} : size;
  const std::span<std::byte> buffer = BufferOfThread(wanted);
  if (buffer.size() < wanted) return NoMemory();
  if (wanted != 0) RETURN_IF_ERROR(image.ReadAt(buffer, offset_bytes));
  return Bytes(buffer);
}

// `operation()` puts the read in words.
template <typename Operation>
void ReplyRead(fuse_req_t req, const Result<Bytes>& read, const Operation& operation) {
  if (read.ok()) return ReplyBytes(req, read.value());
  if (read.error().code == Errc::kNoMemory) return ReplyError(req, read.error());
  ReplyRefusal(req, operation(), read.error());
}

// KEEP_SIZE alone: the blocks are there when they are written.
Status ZeroRange(Volume& volume, const ByteRange& range, bool keep_size) {
  if (!keep_size) RETURN_IF_ERROR(volume.Grow(range.end()));
  return volume.Discard(range);
}

Status Allocate(Volume& volume, int mode, const ByteRange& range) {
  switch (mode) {
    case 0:
      return volume.Grow(range.end());
    case FALLOC_FL_KEEP_SIZE:
      return OkStatus();
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
      return volume.Discard(range);
    case FALLOC_FL_ZERO_RANGE:
      return ZeroRange(volume, range, /*keep_size=*/false);
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
      return ZeroRange(volume, range, /*keep_size=*/true);
    default:
      return Error{Errc::kNotSupported, StrCat("fallocate mode ", mode, " is not supported")};
  }
}

Result<uint64_t> SeekInSnapshot(const FrozenImage& image, uint64_t offset_bytes, int whence) {
  const Error none{Errc::kNoData, "there is nothing after this offset"};
  if (offset_bytes >= image.size_bytes()) return none;
  DataCursor cursor(whence == SEEK_DATA ? DataCursor::Wanted::kStart : DataCursor::Wanted::kRange);
  uint64_t at = offset_bytes;
  while (at < image.size_bytes()) {
    ASSIGN_OR_RETURN(const std::optional<ByteRange> data, image.NextData(at, cursor));
    if (whence == SEEK_DATA) {
      if (!data || data->offset_bytes >= image.size_bytes()) return none;
      return std::max(data->offset_bytes, offset_bytes);
    }
    if (!data || data->offset_bytes > at) return at;
    at = data->end();  // data up to here: look whether more follows at once
  }
  return image.size_bytes();
}

Result<uint64_t> Seek(Handle& handle, uint64_t offset_bytes, int whence) {
  if (handle.kind == Handle::Kind::kSnapshot) {
    return SeekInSnapshot(ImageOf(handle), offset_bytes, whence);
  }
  if (handle.kind == Handle::Kind::kDiff) {
    const OpenDiff& diff = *static_cast<DiffHandle&>(handle).open;
    return whence == SEEK_DATA ? diff.SeekData(offset_bytes) : diff.SeekHole(offset_bytes);
  }
  Volume& volume = *static_cast<VolumeHandle&>(handle).volume;
  return whence == SEEK_DATA ? volume.SeekData(offset_bytes) : volume.SeekHole(offset_bytes);
}

bool NoData(const Result<uint64_t>& found) {
  return !found.ok() && found.error().code == Errc::kNoData;
}

// Returns the hole of which `found`, an answer to lseek, tells; empty if it tells of none.
ByteRange HoleIn(Volume& volume, uint64_t offset_bytes, int whence, const Result<uint64_t>& found) {
  const uint64_t size = volume.size_bytes();
  if ((!found.ok() && !NoData(found)) || offset_bytes >= size) return {};
  const uint64_t from = whence == SEEK_DATA ? offset_bytes : found.ok() ? found.value() : size;
  const Result<uint64_t> data = whence == SEEK_DATA ? found : volume.SeekData(from);
  const uint64_t end = data.ok() ? data.value() : size;
  return {from, end > from ? end - from : 0};
}

void ReplySeek(fuse_req_t req, const Result<uint64_t>& found) {
  if (!found.ok()) return ReplyError(req, found.error());
  fuse_reply_lseek(req, static_cast<off_t>(found.value()));
}

// Tells of a hole only after the kernel has written out its pages there: it is one then, or none.
Result<uint64_t> SeekWrittenOut(Filesystem& fs, VolumeHandle& handle, uint64_t offset_bytes,
                                int whence) {
  for (ByteRange written_out{};;) {
    const Result<uint64_t> found = Seek(handle, offset_bytes, whence);
    const ByteRange hole = HoleIn(*handle.volume, offset_bytes, whence, found);
    const bool certain =
        written_out.offset_bytes <= hole.offset_bytes && hole.end() <= written_out.end();
    if (hole.length_bytes == 0 || certain) return found;
    fs.mapped_pages.WriteOut(handle.ino, hole);
    written_out = hole;
  }
}

// Returns nothing if there may be data in mappings of the volume where a hole was found.
Result<std::optional<uint64_t>> SeekBelowMappings(Handle& handle, uint64_t offset_bytes,
                                                  int whence) {
  const Result<uint64_t> found = Seek(handle, offset_bytes, whence);
  if (handle.kind == Handle::Kind::kVolume) {
    Volume& volume = *static_cast<VolumeHandle&>(handle).volume;
    const bool mapped = MappedPages::MayExist(volume);
    if (mapped && HoleIn(volume, offset_bytes, whence, found).length_bytes > 0) {
      return std::optional<uint64_t>();
    }
  }
  if (!found.ok()) return found.error();
  return std::optional(found.value());
}

void LseekWrittenOut(fuse_req_t req, VolumeHandle& handle, uint64_t offset_bytes, int whence) {
  Filesystem& fs = FilesystemOf(req);
  Serve(
      req, InPool{handle.limiter->mapped(), WatchOn(handle, "lseek")},
      [=, &fs, &handle] { return SeekWrittenOut(fs, handle, offset_bytes, whence); },
      [req](const Result<uint64_t>& found) { ReplySeek(req, found); });
}

}  // namespace

void Read(fuse_req_t req, fuse_ino_t /*ino*/, size_t size, off_t offset, fuse_file_info* fi) {
  Handle& handle = HandleOf(fi);
  const auto offset_bytes = static_cast<uint64_t>(offset);
  switch (handle.kind) {
    case Handle::Kind::kVolume: {
      Volume& volume = *static_cast<VolumeHandle&>(handle).volume;
      return Serve(
          req, OnNode{handle, "read"},
          [=, &volume] { return ReadVolume(volume, size, offset_bytes); },
          [=, &volume](const auto& read) {
            ReplyRead(req, read, [&] { return Operation("read", volume, offset_bytes, size); });
          });
    }
    case Handle::Kind::kSnapshot: {
      const auto& snapshot = static_cast<const SnapshotHandle&>(handle);
      return Serve(
          req, OnNode{handle, "read"},
          [=, &snapshot] { return ReadImage(snapshot.open->image(), size, offset_bytes); },
          [req, &snapshot](const auto& read) {
            ReplyRead(req, read, [&] {
              return StrCat("read snapshots/", snapshot.info.volume, "/", snapshot.info.name);
            });
          });
    }
    case Handle::Kind::kDiff: {
      const OpenDiff& diff = *static_cast<const DiffHandle&>(handle).open;
      return Serve(
          req, OnNode{handle, "read"}, [=, &diff] { return ReadImage(diff, size, offset_bytes); },
          [req](const auto& read) {
            ReplyRead(req, read, [] { return std::string("read control/diff"); });
          });
    }
    case Handle::Kind::kControl:
      return ReadControl(req, size, offset, *fi);
    case Handle::Kind::kDirectory:
      break;
  }
  fuse_reply_err(req, EISDIR);
}

namespace {

// `flags`: the descriptor's, and with them O_DSYNC if this write is synchronous: by its descriptor,
// by RWF_DSYNC, or by the mount.
Volume::Durability DurabilityOfWrite(const VolumeHandle& handle, int flags) {
  const bool ours = handle.direct && (flags & O_DSYNC) != 0;
  return ours ? Volume::Durability::kAtReturn : Volume::Durability::kWithSync;
}

Status WriteVolume(Volume& volume, std::span<const std::byte> bytes, uint64_t offset_bytes,
                   Volume::Durability durability) {
  RETURN_IF_ERROR(volume.WriteAt(bytes, offset_bytes));
  return volume.Conclude(durability);
}

}  // namespace

// Hot path: `data` lies in the thread's buffer and goes to the node from there.
void Write(fuse_req_t req, fuse_ino_t /*ino*/, const char* data, size_t size, off_t offset,
           fuse_file_info* fi) {
  if (HandleOf(fi).kind == Handle::Kind::kControl) return WriteControl(req, data, size, *fi);
  VolumeHandle* const handle = VolumeOf(fi);
  if (handle == nullptr) {
    fuse_reply_err(req, EROFS);
    return;
  }
  Volume& volume = *handle->volume;
  const auto offset_bytes = static_cast<uint64_t>(offset);
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const Volume::Durability durability = DurabilityOfWrite(*handle, fi->flags);
  Serve(
      req, OnNode{*handle, "write", volume.id()},
      [&] { return WriteVolume(volume, bytes, offset_bytes, durability); },
      [=, &volume](const Status& written) {
        if (written.ok()) {
          fuse_reply_write(req, size);
        } else {
          ReplyRefusal(req, Operation("write", volume, offset_bytes, size), written.error());
        }
      },
      [&] {
        return [&volume, offset_bytes, durability,
                copy = std::vector<std::byte>(bytes.begin(), bytes.end())] {
          return WriteVolume(volume, copy, offset_bytes, durability);
        };
      });
}

// Nothing is kept back here that a close could write out. Never ENOSYS, as in Fsync.
void Flush(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* /*fi*/) { fuse_reply_err(req, 0); }

void Fsync(fuse_req_t req, fuse_ino_t /*ino*/, int /*data_only*/, fuse_file_info* fi) {
  VolumeHandle* const handle = VolumeOf(fi);
  if (handle == nullptr) {
    fuse_reply_err(req, 0);
    return;
  }
  // Not begun on a node that hangs: a sync that fails is final for the volume.
  Serve(
      req, OnNode{*handle, "fsync"}, [handle] { return handle->volume->Sync(); },
      [req, handle](const Status& synced) {
        if (synced.ok()) return ReplyStatus(req, synced);
        ReplyRefusal(req, StrCat("fsync volumes/", handle->volume->name()), synced.error());
      });
}

void Fallocate(fuse_req_t req, fuse_ino_t /*ino*/, int mode, off_t offset, off_t length,
               fuse_file_info* fi) {
  VolumeHandle* const handle = VolumeOf(fi);
  if (handle == nullptr) {
    fuse_reply_err(req, EOPNOTSUPP);
    return;
  }
  const ByteRange range{static_cast<uint64_t>(offset), static_cast<uint64_t>(length)};
  const Volume::Durability durability = FilesystemOf(req).DurabilityOf(handle);
  Volume& volume = *handle->volume;
  Serve(
      req, OnNode{*handle, "fallocate", volume.id()},
      [=, &volume]() -> Status {
        RETURN_IF_ERROR(Allocate(volume, mode, range));
        return volume.Conclude(durability);
      },
      [=, &volume](const Status& done) {
        if (done.ok() || done.error().code == Errc::kNotSupported) return ReplyStatus(req, done);
        ReplyRefusal(req, Operation("fallocate", volume, range.offset_bytes, range.length_bytes),
                     done.error());
      });
}

// The kernel does the other kinds itself.
void Lseek(fuse_req_t req, fuse_ino_t /*ino*/, off_t offset, int whence, fuse_file_info* fi) {
  Handle& handle = HandleOf(fi);
  const bool image =
      handle.kind != Handle::Kind::kControl && handle.kind != Handle::Kind::kDirectory;
  if (!image || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
    fuse_reply_err(req, EINVAL);
    return;
  }
  if (offset < 0) {
    fuse_reply_err(req, ENXIO);
    return;
  }
  const auto offset_bytes = static_cast<uint64_t>(offset);
  Serve(
      req, OnNode{handle, "lseek"},
      [=, &handle] { return SeekBelowMappings(handle, offset_bytes, whence); },
      [=, &handle](const Result<std::optional<uint64_t>>& found) {
        if (!found.ok()) return ReplyError(req, found.error());
        if (found.value()) return ReplySeek(req, *found.value());
        LseekWrittenOut(req, static_cast<VolumeHandle&>(handle), offset_bytes, whence);
      });
}

}  // namespace volfs::op
