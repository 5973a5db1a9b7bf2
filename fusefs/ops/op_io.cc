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
#include "fusefs/ops/on_node.h"
#include "fusefs/ops/operations.h"
#include "fusefs/serve/reply.h"

namespace volfs::op {
namespace {

Handle& HandleOf(const fuse_file_info* fi) { return *reinterpret_cast<Handle*>(fi->fh); }

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

void ReplyBytes(fuse_req_t req, std::span<const std::byte> bytes) {
  fuse_reply_buf(req, reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// Hot path: no lock of ours, no allocation; the bytes are copied by the node's read and by the
// kernel's reply, not in between.
void ReadVolume(fuse_req_t req, Watchdog::Guard& guard, Volume& volume, size_t size,
                uint64_t offset_bytes) {
  const std::span<std::byte> buffer = BufferOfThread(size);
  const auto read = [&]() -> Result<size_t> {
    RETURN_IF_ERROR(guard.Admit());
    if (buffer.size() < size) return NoMemory();
    return volume.ReadAt(buffer, offset_bytes);
  }();
  if (!guard.Finish()) return;
  if (!read.ok() && read.error().code == Errc::kNoMemory) return ReplyError(req, read.error());
  if (!read.ok()) {
    return ReplyRefusal(req, Operation("read", volume, offset_bytes, size), read.error());
  }
  ReplyBytes(req, buffer.first(read.value()));
}

void ReadSnapshot(fuse_req_t req, Watchdog::Guard& guard, const SnapshotHandle& handle, size_t size,
                  uint64_t offset_bytes) {
  const FrozenImage& image = handle.open->image();
  const uint64_t left = image.size_bytes() - std::min(offset_bytes, image.size_bytes());
  const size_t wanted = left < size ? size_t{left} : size;
  const std::span<std::byte> buffer = BufferOfThread(wanted);
  Status read = guard.Admit();
  if (buffer.size() < wanted) read = NoMemory();
  if (read.ok() && left != 0) read = image.ReadAt(buffer, offset_bytes);
  if (!guard.Finish()) return;
  if (!read.ok() && read.error().code == Errc::kNoMemory) return ReplyError(req, read.error());
  if (!read.ok()) {
    const std::string path = StrCat("read snapshots/", handle.info.volume, "/", handle.info.name);
    return ReplyRefusal(req, path, read.error());
  }
  ReplyBytes(req, buffer);
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
  Volume& volume = *static_cast<VolumeHandle&>(handle).volume;
  return whence == SEEK_DATA ? volume.SeekData(offset_bytes) : volume.SeekHole(offset_bytes);
}

bool NoData(const Result<uint64_t>& found) {
  return !found.ok() && found.error().code == Errc::kNoData;
}

// What `found`, an answer to lseek, says to be a hole; empty: nothing.
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

// What is said to be a hole has been written out before: by then it is none, or it is one.
void SeekMapped(fuse_req_t req, Filesystem& fs, Watchdog::Guard& guard, VolumeHandle& handle,
                uint64_t offset_bytes, int whence) {
  Result<uint64_t> found = uint64_t{0};
  for (ByteRange written_out{};;) {
    found = Seek(handle, offset_bytes, whence);
    const ByteRange hole = HoleIn(*handle.volume, offset_bytes, whence, found);
    const bool certain =
        written_out.offset_bytes <= hole.offset_bytes && hole.end() <= written_out.end();
    if (hole.length_bytes == 0 || certain) break;
    fs.mapped_pages.WriteOut(handle.ino, hole);
    written_out = hole;
  }
  if (guard.Finish()) ReplySeek(req, found);
}

// Is `target` being made out of `instant` already?
bool GoesOn(Volume& target, const OpenSnapshot* instant) {
  if (instant == nullptr) return false;
  const Epoch::Reader reader = target.node().epoch().Enter();  // its head may be folded away
  return target.head()->record().parent == instant->layer()->id();
}

// The image that `source` shows to who copies from it to `target`.
Result<std::shared_ptr<OpenSnapshot>> InstantOf(Filesystem& fs, Handle& source, Volume& target) {
  if (source.kind == Handle::Kind::kSnapshot) return static_cast<SnapshotHandle&>(source).open;
  if (source.kind != Handle::Kind::kVolume) return Error{Errc::kWrongRegion, "not an image"};
  auto& handle = static_cast<VolumeHandle&>(source);
  MutexLock lock(handle.mu);
  // Kept for as long as one copy goes on. The next one, to another target, is of another instant.
  if (!GoesOn(target, handle.instant.get())) {
    // Not for nothing: it puts a layer over the source's.
    if (!fs.store.MayShare(*handle.volume, target)) {
      return Error{Errc::kWrongRegion, "no block can be shared"};
    }
    ASSIGN_OR_RETURN(handle.instant, fs.store.PinSnapshotPoint(handle.volume));
  }
  return handle.instant;
}

// The answer to copy_file_range has 32 bits.
constexpr uint64_t kMaxToShare = uint64_t{1} << 31;

// How many bytes of `range` now are in `target`.
Result<uint64_t> ShareRange(Filesystem& fs, Handle& source, Handle& target, ByteRange range) {
  const Error apart{Errc::kWrongRegion, "no block can be shared"};
  if (target.kind != Handle::Kind::kVolume) return apart;
  const std::shared_ptr<Volume>& volume = static_cast<VolumeHandle&>(target).volume;
  if (range.offset_bytes % kDefaultBlockSize != 0) return apart;
  range.length_bytes = std::min(range.length_bytes, kMaxToShare);
  if (range.length_bytes < kDefaultBlockSize && source.kind == Handle::Kind::kVolume &&
      range.end() < static_cast<VolumeHandle&>(source).volume->size_bytes()) {
    return apart;
  }
  ASSIGN_OR_RETURN(const std::shared_ptr<OpenSnapshot> instant, InstantOf(fs, source, *volume));
  const uint64_t size = instant->image().size_bytes();
  if (range.offset_bytes >= size) return apart;
  range.length_bytes = std::min(range.length_bytes, size - range.offset_bytes);
  // Whole blocks, or what is left of the source: the kernel asks again for the rest of a block.
  if (range.end() < size) range.length_bytes -= range.length_bytes % kDefaultBlockSize;
  if (range.length_bytes == 0) return apart;
  RETURN_IF_ERROR(fs.store.Share(instant, volume, range));
  return range.length_bytes;
}

Watch WatchOfCopy(fuse_req_t req, const Handle& in, const Handle& out) {
  return {.request = req,
          .what = "copy_file_range to",
          .handle = &out,
          .second_handle = &in,
          .node = out.node,
          .source = in.node,
          .changes = inode::IdOf(out.ino)};
}

// Takes the next ShareRange an instant of `source` that may lack what lies in mappings of it?
bool TakesInstantOfMapped(Filesystem& fs, Handle& source, Handle& target) {
  if (source.kind != Handle::Kind::kVolume || target.kind != Handle::Kind::kVolume) return false;
  auto& from = static_cast<VolumeHandle&>(source);
  Volume& to = *static_cast<VolumeHandle&>(target).volume;
  if (!MappedPages::MayExist(*from.volume)) return false;
  MutexLock lock(from.mu);
  return !GoesOn(to, from.instant.get()) && fs.store.MayShare(*from.volume, to);
}

void DoCopy(fuse_req_t req, Filesystem& fs, Watchdog::Guard& guard, Handle& in, Handle& out,
            const ByteRange& range, bool written_out) {
  const Status admitted = guard.Admit();
  if (admitted.ok() && !written_out && TakesInstantOfMapped(fs, in, out)) {
    if (!guard.Finish()) return;
    const auto copy = [req, &fs, &in, &out, range](Watchdog::Guard& again) {
      DoCopy(req, fs, again, in, out, range, /*written_out=*/true);
    };
    const Watch watch = WatchOfCopy(req, in, out);
    return InPool(in.limiter->mapped(), req, watch, [=, &fs, &in](Watchdog::Guard& again) {
      fs.mapped_pages.WriteOut(in.ino, {});
      if (again.Finish()) InPool(fs.names, req, watch, copy);
    });
  }
  const auto shared = [&]() -> Result<uint64_t> {
    RETURN_IF_ERROR(admitted);
    ASSIGN_OR_RETURN(const uint64_t bytes, ShareRange(fs, in, out, range));
    const auto& target = static_cast<VolumeHandle&>(out);
    RETURN_IF_ERROR(target.volume->Conclude(fs.DurabilityOf(&target)));
    return bytes;
  }();
  if (!guard.Finish()) return;
  if (shared.ok()) {
    fuse_reply_write(req, shared.value());
  } else {
    // Whatever the reason: copying the bytes may go well, or tells the user what does not.
    fuse_reply_err(req, EXDEV);
  }
}

}  // namespace

void Read(fuse_req_t req, fuse_ino_t /*ino*/, size_t size, off_t offset, fuse_file_info* fi) {
  Handle& handle = HandleOf(fi);
  const auto offset_bytes = static_cast<uint64_t>(offset);
  switch (handle.kind) {
    case Handle::Kind::kVolume:
      return OnNode(req, "read", handle, kNoId, [=, &handle](Watchdog::Guard& guard) {
        ReadVolume(req, guard, *static_cast<VolumeHandle&>(handle).volume, size, offset_bytes);
      });
    case Handle::Kind::kSnapshot:
      return OnNode(req, "read", handle, kNoId, [=, &handle](Watchdog::Guard& guard) {
        ReadSnapshot(req, guard, static_cast<SnapshotHandle&>(handle), size, offset_bytes);
      });
    case Handle::Kind::kControl:
      return ReadControl(req, size, offset, *fi);
    case Handle::Kind::kDirectory:
      break;
  }
  fuse_reply_err(req, EISDIR);
}

namespace {

// `flags`: the descriptor's, and with them O_DSYNC if this write is synchronous, for whatever
// reason: by its descriptor, by RWF_DSYNC, or by the mount.
Volume::Durability DurabilityOfWrite(const VolumeHandle& handle, int flags) {
  const bool ours = handle.direct && (flags & O_DSYNC) != 0;
  return ours ? Volume::Durability::kAtReturn : Volume::Durability::kWithSync;
}

void WriteVolume(fuse_req_t req, Watchdog::Guard& guard, Volume& volume,
                 std::span<const std::byte> bytes, uint64_t offset_bytes,
                 Volume::Durability durability) {
  Status written = guard.Admit();
  if (written.ok()) written = volume.WriteAt(bytes, offset_bytes);
  if (written.ok()) written = volume.Conclude(durability);
  if (!guard.Finish()) return;
  if (!written.ok()) {
    return ReplyRefusal(req, Operation("write", volume, offset_bytes, bytes.size()),
                        written.error());
  }
  fuse_reply_write(req, bytes.size());
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
  OnNode(
      req, "write", *handle, volume.id(),
      [&](Watchdog::Guard& guard) {
        WriteVolume(req, guard, volume, bytes, offset_bytes, durability);
      },
      [&] {
        return [req, &volume, offset_bytes, durability,
                copy = std::vector<std::byte>(bytes.begin(), bytes.end())](Watchdog::Guard& guard) {
          WriteVolume(req, guard, volume, copy, offset_bytes, durability);
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
  OnNode(req, "fsync", *handle, kNoId, [req, handle](Watchdog::Guard& guard) {
    // Not begun on a node that hangs: a sync that fails is final for the volume.
    Status synced = guard.Admit();
    if (synced.ok()) synced = handle->volume->Sync();
    if (!guard.Finish()) return;
    if (!synced.ok()) {
      return ReplyRefusal(req, StrCat("fsync volumes/", handle->volume->name()), synced.error());
    }
    fuse_reply_err(req, 0);
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
  OnNode(req, "fallocate", *handle, handle->volume->id(), [=](Watchdog::Guard& guard) {
    Volume& volume = *handle->volume;
    Status done = guard.Admit();
    if (done.ok()) done = Allocate(volume, mode, range);
    if (done.ok()) done = volume.Conclude(durability);
    if (!guard.Finish()) return;
    if (done.ok() || done.error().code == Errc::kNotSupported) return ReplyStatus(req, done);
    ReplyRefusal(req, Operation("fallocate", volume, range.offset_bytes, range.length_bytes),
                 done.error());
  });
}

// The kernel does the other kinds itself.
void Lseek(fuse_req_t req, fuse_ino_t /*ino*/, off_t offset, int whence, fuse_file_info* fi) {
  Handle& handle = HandleOf(fi);
  const bool image = handle.kind == Handle::Kind::kVolume || handle.kind == Handle::Kind::kSnapshot;
  if (!image || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
    fuse_reply_err(req, EINVAL);
    return;
  }
  if (offset < 0) {
    fuse_reply_err(req, ENXIO);
    return;
  }
  const auto offset_bytes = static_cast<uint64_t>(offset);
  OnNode(req, "lseek", handle, kNoId, [=, &handle, open = *fi](Watchdog::Guard& guard) {
    const auto found = [&]() -> Result<uint64_t> {
      RETURN_IF_ERROR(guard.Admit());
      return Seek(handle, offset_bytes, whence);
    }();
    VolumeHandle* const volume = VolumeOf(&open);
    const bool uncertain = volume != nullptr && MappedPages::MayExist(*volume->volume) &&
                           HoleIn(*volume->volume, offset_bytes, whence, found).length_bytes > 0;
    if (!guard.Finish()) return;
    if (!uncertain) return ReplySeek(req, found);
    Filesystem& fs = FilesystemOf(req);
    InPool(volume->limiter->mapped(), req, WatchOn(req, "lseek", *volume),
           [=, &fs](Watchdog::Guard& again) {
             SeekMapped(req, fs, again, *volume, offset_bytes, whence);
           });
  });
}

// EXDEV makes the kernel copy for real (ENOSYS would, too, but for ever).
void CopyFileRange(fuse_req_t req, fuse_ino_t /*ino_in*/, off_t offset_in, fuse_file_info* fi_in,
                   fuse_ino_t /*ino_out*/, off_t offset_out, fuse_file_info* fi_out, size_t length,
                   int flags) {
  if (flags != 0 || offset_in != offset_out || length == 0) {
    fuse_reply_err(req, EXDEV);
    return;
  }
  const ByteRange range{static_cast<uint64_t>(offset_in), length};
  // It may wait for a commit.
  Filesystem& fs = FilesystemOf(req);
  Handle& in = HandleOf(fi_in);
  Handle& out = HandleOf(fi_out);
  InPool(fs.names, req, WatchOfCopy(req, in, out),
         [req, &fs, &in, &out, range](Watchdog::Guard& guard) {
           DoCopy(req, fs, guard, in, out, range, /*written_out=*/false);
         });
}

}  // namespace volfs::op
