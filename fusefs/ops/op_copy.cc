#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>

#include "fusefs/ops/operations.h"
#include "fusefs/ops/serve.h"
#include "fusefs/serve/reply.h"

namespace volfs::op {
namespace {

// Says whether `target` is being made out of `point` already.
bool GoesOn(Volume& target, const OpenSnapshot* point) {
  if (point == nullptr) return false;
  const Epoch::Reader reader = target.node().epoch().Enter();  // its head may be merged away
  return target.head()->record().parent == point->layer()->id();
}

// Returns the image of `source` from which blocks go to `target`.
Result<std::shared_ptr<OpenSnapshot>> SnapshotPointOf(Filesystem& fs, Handle& source,
                                                      Volume& target) {
  if (source.kind == Handle::Kind::kSnapshot) return static_cast<SnapshotHandle&>(source).open;
  if (source.kind != Handle::Kind::kVolume) return Error{Errc::kWrongRegion, "not an image"};
  auto& handle = static_cast<VolumeHandle&>(source);
  MutexLock lock(handle.mu);
  // Kept for as long as one copy goes on. The next one, to another target, is of another point.
  if (!GoesOn(target, handle.snapshot_point.get())) {
    // Not for nothing: it puts a layer over the source's.
    if (!fs.store.MayShare(*handle.volume, target)) {
      return Error{Errc::kWrongRegion, "no block can be shared"};
    }
    ASSIGN_OR_RETURN(handle.snapshot_point, fs.store.PinSnapshotPoint(handle.volume));
  }
  return handle.snapshot_point;
}

// The answer to copy_file_range has 32 bits.
constexpr uint64_t kMaxToShare = uint64_t{1} << 31;

// Returns how many bytes of `range` now are in `target`.
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
  ASSIGN_OR_RETURN(const std::shared_ptr<OpenSnapshot> point, SnapshotPointOf(fs, source, *volume));
  const uint64_t size = point->image().size_bytes();
  if (range.offset_bytes >= size) return apart;
  range.length_bytes = std::min(range.length_bytes, size - range.offset_bytes);
  // Whole blocks, or the rest of the source: the kernel asks again for the rest of a block.
  if (range.end() < size) range.length_bytes -= range.length_bytes % kDefaultBlockSize;
  if (range.length_bytes == 0) return apart;
  RETURN_IF_ERROR(fs.store.Share(point, volume, range));
  return range.length_bytes;
}

// Says whether the next ShareRange freezes `source` while mappings of it may hide stores.
bool FreezesMapped(Filesystem& fs, Handle& source, Handle& target) {
  if (source.kind != Handle::Kind::kVolume || target.kind != Handle::Kind::kVolume) return false;
  auto& from = static_cast<VolumeHandle&>(source);
  Volume& to = *static_cast<VolumeHandle&>(target).volume;
  if (!MappedPages::MayExist(*from.volume)) return false;
  MutexLock lock(from.mu);
  return !GoesOn(to, from.snapshot_point.get()) && fs.store.MayShare(*from.volume, to);
}

Result<uint64_t> ShareRangeDurably(Filesystem& fs, Handle& source, Handle& target,
                                   const ByteRange& range) {
  ASSIGN_OR_RETURN(const uint64_t bytes, ShareRange(fs, source, target, range));
  const auto& handle = static_cast<VolumeHandle&>(target);
  RETURN_IF_ERROR(handle.volume->Conclude(fs.DurabilityOf(&handle)));
  return bytes;
}

// Any refusal is EXDEV, which makes the kernel copy the bytes (ENOSYS would, too, but for ever).
// That may go well; if it does not, its error is the right one for the user.
void ReplyShared(fuse_req_t req, const Result<uint64_t>& shared) {
  if (shared.ok()) {
    fuse_reply_write(req, shared.value());
  } else {
    fuse_reply_err(req, EXDEV);
  }
}

Watch WatchOfCopy(const Handle& source, const Handle& target) {
  Watch watch = WatchOn(target, "copy_file_range to", inode::IdOf(target.ino));
  watch.second_handle = &source;
  watch.source = source.node;
  return watch;
}

void CopyWrittenOut(fuse_req_t req, Filesystem& fs, Handle& source, Handle& target,
                    const ByteRange& range) {
  Serve(
      req, InPool{fs.names, WatchOfCopy(source, target)},
      [=, &fs, &source, &target] { return ShareRangeDurably(fs, source, target, range); },
      [req](const Result<uint64_t>& shared) { ReplyShared(req, shared); });
}

void WriteOutAndCopy(fuse_req_t req, Filesystem& fs, Handle& source, Handle& target,
                     const ByteRange& range) {
  Watch watch = WatchOfCopy(source, target);
  watch.changes = kNoId;  // not yet
  Serve(
      req, InPool{source.limiter->mapped(), watch},
      [&fs, &source]() -> Status {
        fs.mapped_pages.WriteOut(source.ino, {});
        return OkStatus();
      },
      [=, &fs, &source, &target](const Status& written_out) {
        if (!written_out.ok()) return ReplyShared(req, written_out.error());
        CopyWrittenOut(req, fs, source, target, range);
      });
}

// Returns nothing if the kernel is to write out mappings of the source first.
Result<std::optional<uint64_t>> ShareBelowMappings(Filesystem& fs, Handle& source, Handle& target,
                                                   const ByteRange& range) {
  if (FreezesMapped(fs, source, target)) return std::optional<uint64_t>();
  ASSIGN_OR_RETURN(const uint64_t bytes, ShareRangeDurably(fs, source, target, range));
  return std::optional(bytes);
}

}  // namespace

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
  Handle& source = HandleOf(fi_in);
  Handle& target = HandleOf(fi_out);
  Serve(
      req, InPool{fs.names, WatchOfCopy(source, target)},
      [=, &fs, &source, &target] { return ShareBelowMappings(fs, source, target, range); },
      [=, &fs, &source, &target](const Result<std::optional<uint64_t>>& shared) {
        if (!shared.ok()) return ReplyShared(req, shared.error());
        if (shared.value()) return ReplyShared(req, *shared.value());
        WriteOutAndCopy(req, fs, source, target, range);
      });
}

}  // namespace volfs::op
