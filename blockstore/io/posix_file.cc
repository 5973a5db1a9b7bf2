#include "blockstore/io/posix_file.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>
#include <limits>
#include <system_error>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_node.h"

namespace volfs {
namespace {

using Call = NodeCalls::Call;
using enum NodeCalls::Kind;

// ext4 keeps the bytes of one write(2) in one folio of the page cache, up to 2 MiB. A later write
// of 4 KiB in it goes through all of its buffer heads, under the inode's lock (Linux 6.16 on,
// ext4_block_write_begin). With writes of this size at most, random writes after writes of 1 MiB
// are three times as fast. The writes of 1 MiB have 0.88 of their speed on a disk, and the same on
// tmpfs (measured with Linux 6.18).
constexpr size_t kLargestCachedWrite = size_t{64} << 10;
constexpr int kDontCache = 0x80;  // RWF_DONTCACHE of Linux 6.14, which older headers lack
constexpr uint64_t kMaxOffset = std::numeric_limits<off_t>::max();

}  // namespace

Error SystemError(int os_errno, std::string_view what, std::string_view where) {
  const std::string reason = std::error_code(os_errno, std::generic_category()).message();
  return Error{ErrcFromErrno(os_errno), StrCat(what, " on node directory ", where, ": ", reason),
               os_errno};
}

Error NotTried(const NodeCalls& calls, std::string_view what, std::string_view where) {
  return Error{Errc::kIo, StrCat(what, " on node directory ", where,
                                 ": not tried, as it does not answer: ", calls.Trouble())};
}

PosixFile::PosixFile(Descriptor fd, FilePlace place, std::string name, std::string where,
                     std::shared_ptr<NodeCalls> calls)
    : min_bytes_(place.size_bytes),
      once_flags_(kDontCache),
      fd_(std::move(fd)),
      place_(std::move(place)),
      name_(std::move(name)),
      where_(std::move(where)),
      calls_(std::move(calls)) {}

Error PosixFile::Failed(std::string_view call) const {
  return SystemError(errno, StrCat(call, " ", name_), where_);
}

Error PosixFile::FailedAt(std::string_view call, uint64_t offset_bytes) const {
  return SystemError(errno, StrCat(call, " ", name_, " at byte ", offset_bytes), where_);
}

Status PosixFile::ReadAt(std::span<std::byte> out, uint64_t offset_bytes) {
  return Read(out, offset_bytes, 0);
}

Status PosixFile::WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) {
  return Write(data, offset_bytes, 0);
}

Status PosixFile::ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) {
  const Status done = Read(out, offset_bytes, once_flags_);
  if (done.ok() || done.error().os_errno != EOPNOTSUPP) return done;
  once_flags_ = 0;
  return Read(out, offset_bytes, 0);
}

Status PosixFile::WriteOnce(std::span<const std::byte> data, uint64_t offset_bytes) {
  const Status done = Write(data, offset_bytes, once_flags_);
  if (done.ok() || done.error().os_errno != EOPNOTSUPP) return done;
  once_flags_ = 0;
  return Write(data, offset_bytes, 0);
}

Status PosixFile::WaitWritten(const ByteRange& range) {
  constexpr unsigned kWriteAndWait =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const Call call(*calls_, kSync);
  const int done = Retry([&] {
    return ::sync_file_range(fd_.get(), static_cast<off_t>(range.offset_bytes),
                             static_cast<off_t>(range.length_bytes), kWriteAndWait);
  });
  return done == 0 ? OkStatus() : FailedAt("sync_file_range", range.offset_bytes);
}

void PosixFile::DropWritten(const ByteRange& range) {
  if (once_flags_ == 0) DropCache(range);
}

Status PosixFile::Read(std::span<std::byte> out, uint64_t offset_bytes, int flags) {
  assert(offset_bytes <= kMaxOffset && out.size() <= kMaxOffset - offset_bytes);
  if (calls_->hung()) return NotTried(*calls_, StrCat("pread ", name_), where_);
  const Call call(*calls_, kRead);
  while (!out.empty()) {
    const iovec part{out.data(), out.size()};
    const ssize_t got = Retry(
        [&] { return ::preadv2(fd_.get(), &part, 1, static_cast<off_t>(offset_bytes), flags); });
    if (got < 0) return FailedAt("pread", offset_bytes);
    if (got == 0) {  // past the end of the file
      RETURN_IF_ERROR(CheckHasByte(offset_bytes));
      std::memset(out.data(), 0, out.size());
      break;
    }
    out = out.subspan(static_cast<size_t>(got));
    offset_bytes += static_cast<uint64_t>(got);
  }
  return OkStatus();
}

Status PosixFile::Write(std::span<const std::byte> data, uint64_t offset_bytes, int flags) {
  assert(offset_bytes <= kMaxOffset && data.size() <= kMaxOffset - offset_bytes);
  if (calls_->hung()) return NotTried(*calls_, StrCat("pwrite ", name_), where_);
  const Call call(*calls_, kWrite);
  const size_t most = flags == 0 ? kLargestCachedWrite : data.size();
  while (!data.empty()) {
    const iovec part{const_cast<std::byte*>(data.data()),  // pwritev2 only reads it
                     std::min(data.size(), most)};
    const ssize_t put = Retry(
        [&] { return ::pwritev2(fd_.get(), &part, 1, static_cast<off_t>(offset_bytes), flags); });
    if (put == 0) errno = EIO;  // a filesystem that takes no bytes, for ever
    if (put <= 0) return FailedAt("pwrite", offset_bytes);
    data = data.subspan(static_cast<size_t>(put));
    offset_bytes += static_cast<uint64_t>(put);
  }
  return OkStatus();
}

// FICLONERANGE and not copy_file_range, which silently copies where it cannot share.
Result<bool> PosixFile::ShareFrom(NodeFile& source, const ByteRange& range) {
  const auto* const from = dynamic_cast<const PosixFile*>(&source);
  return from == nullptr ? Result<bool>(false) : Share(*from, range);
}

// FICLONERANGE with a length of 0 clones up to the end, wherever that is once it has the file's
// locks.
Result<bool> PosixFile::CloneFrom(NodeFile& source) {
  auto* const from = dynamic_cast<PosixFile*>(&source);
  if (from == nullptr || from->InManyPieces()) return false;
  ASSIGN_OR_RETURN(const bool shared, Share(*from, {0, 0}));
  // After it, so that no cut comes between: bytes that were cut off would be a hole of this file.
  if (shared) RETURN_IF_ERROR(from->CheckSize());
  return shared;
}

// XFS takes 27 us for each piece (measured), and writes of the file wait for all of them.
bool PosixFile::InManyPieces() const {
  constexpr uint32_t kMany = 4096;
  fiemap request;
  std::memset(&request, 0, sizeof request);  // it ends in an array of no size: {} will not do
  request.fm_length = FIEMAP_MAX_OFFSET;
  const Call call(*calls_, kLook);
  return ::ioctl(fd_.get(), FS_IOC_FIEMAP, &request) == 0 && request.fm_mapped_extents > kMany;
}

Result<bool> PosixFile::Share(const PosixFile& source, const ByteRange& range) {
  const file_clone_range request{source.fd_.get(), range.offset_bytes, range.length_bytes,
                                 range.offset_bytes};
  const Call call(*calls_, kSync);
  if (Retry([&] { return ::ioctl(fd_.get(), FICLONERANGE, &request); }) == 0) return true;
  switch (errno) {
    case EXDEV:  // two filesystems, or two devices of one
    case EOPNOTSUPP:
    case ENOTTY:  // the filesystem does not know the request
    case EINVAL:  // not whole blocks of that filesystem
      return false;
    default:
      return FailedAt("FICLONERANGE", range.offset_bytes);
  }
}

Status PosixFile::SyncData() {
  const Call call(*calls_, kSync);
  if (Retry([&] { return ::fdatasync(fd_.get()); }) != 0) return Failed("fdatasync");
  return CheckStillNamed();  // after the sync, so that the answer is as new as it can be
}

Status PosixFile::CheckNamed() {
  if (calls_->hung()) return OkStatus();
  const Call call(*calls_, kLook);
  return CheckStillNamed();
}

// An error of stat(2) other than ENOENT tells nothing about the name.
Status PosixFile::CheckStillNamed() {
  struct stat info {};
  if (::fstatat(place_.directory, place_.last.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno != ENOENT) return OkStatus();
  } else if (place_.identity == Identity{info.st_dev, info.st_ino}) {
    return CheckHasByte(static_cast<uint64_t>(info.st_size));
  }
  return Error{
      Errc::kIo,
      StrCat(name_, " on node directory ", where_,
             " was removed, moved away or replaced under the daemon; copy what is needed of it "
             "before the store is unmounted, then put the file back or restore it from a backup"),
      EIO};
}

// A load first: readers past the end of a file, who are many, shall not meet at a lock.
Status PosixFile::CheckHasByte(uint64_t offset_bytes) {
  return offset_bytes < min_bytes_ ? CheckSize() : OkStatus();
}

Status PosixFile::CheckSize() {
  MutexLock lock(size_mu_);
  return CheckSizeLocked(min_bytes_);
}

Status PosixFile::CheckSizeLocked(uint64_t min_bytes) {
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) return Failed("fstat");
  const auto size_bytes = static_cast<uint64_t>(info.st_size);
  return size_bytes < min_bytes ? Status(Shortened(size_bytes)) : OkStatus();
}

Error PosixFile::Shortened(uint64_t size_bytes) const {
  return Error{Errc::kCorrupt, StrCat(name_, " on node directory ", where_, " has ", size_bytes,
                                      " bytes and had ", min_bytes_.load(),
                                      ": it was cut under the daemon; restore it from a backup")};
}

Status PosixFile::Punch(const ByteRange& range) {
  ASSIGN_OR_RETURN(const uint64_t size_bytes, Size());
  if (range.offset_bytes >= size_bytes || range.length_bytes == 0) return OkStatus();
  const Call call(*calls_, kFree);
  // Clipped to the end of the size's block (at most 64 KiB on Linux) and not to the size: ext4
  // would keep the space of a block that is only zeroed up to the size.
  constexpr uint64_t kBlock = 64 * 1024;
  const uint64_t max_bytes = (size_bytes / kBlock + 1) * kBlock - range.offset_bytes;
  const int done = Retry([&] {
    return ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       static_cast<off_t>(range.offset_bytes),
                       static_cast<off_t>(std::min(range.length_bytes, max_bytes)));
  });
  if (done == 0) return OkStatus();
  if (errno == EOPNOTSUPP || errno == ENOSYS) {
    return WriteZeros(
        {range.offset_bytes, std::min(range.length_bytes, size_bytes - range.offset_bytes)});
  }
  return FailedAt("punch", range.offset_bytes);
}

Status PosixFile::WriteZeros(const ByteRange& range) {
  static constexpr std::array<std::byte, 256 * 1024> kZeros{};
  uint64_t at = range.offset_bytes;
  while (at < range.end()) {
    const uint64_t piece = std::min<uint64_t>(kZeros.size(), range.end() - at);
    RETURN_IF_ERROR(WriteAt(std::span(kZeros).first(piece), at));
    at += piece;
  }
  return OkStatus();
}

Status PosixFile::SetSize(uint64_t size_bytes) {
  assert(size_bytes <= kMaxOffset);
  const Call call(*calls_, kFree);
  MutexLock lock(size_mu_);
  // Bytes that were cut off would come back as zeros.
  RETURN_IF_ERROR(CheckSizeLocked(std::min(min_bytes_.load(), size_bytes)));
  // Before the file becomes shorter, and after it has become longer: a reader that looks meanwhile
  // finds no damage.
  min_bytes_ = std::min(min_bytes_.load(), size_bytes);
  if (Retry([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size_bytes)); }) != 0) {
    return FailedAt("ftruncate", size_bytes);
  }
  min_bytes_ = size_bytes;
  return OkStatus();
}

Result<uint64_t> PosixFile::Size() {
  const Call call(*calls_, kLook);
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) return Failed("fstat");
  return static_cast<uint64_t>(info.st_size);
}

Result<NodeFile::State> PosixFile::Stat() {
  const Call call(*calls_, kLook);
  MutexLock lock(size_mu_);
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) return Failed("fstat");
  const auto size_bytes = static_cast<uint64_t>(info.st_size);
  if (size_bytes < min_bytes_) return Shortened(size_bytes);
  min_bytes_ = size_bytes;  // the kernel may have made it longer, by itself (native_serving.h)
  return State{size_bytes, int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
}

Result<uint64_t> PosixFile::AllocatedBytes() {
  if (calls_->hung()) return NotTried(*calls_, StrCat("fstat ", name_), where_);
  const Call call(*calls_, kLook);
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) return Failed("fstat");
  return static_cast<uint64_t>(info.st_blocks) * kStatBlockBytes;
}

// lseek moves the file's own position, which is not used: all I/O names its offset.
Result<std::optional<uint64_t>> PosixFile::FirstData(uint64_t offset_bytes) {
  if (offset_bytes > kMaxOffset) return std::optional<uint64_t>();
  if (calls_->hung()) return NotTried(*calls_, StrCat("lseek ", name_), where_);
  const Call call(*calls_, kLook);
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(offset_bytes), SEEK_DATA);
  if (data >= 0) return std::optional(static_cast<uint64_t>(data));
  if (errno == ENXIO) return NoMoreData(offset_bytes);
  if (errno != EINVAL && errno != EOPNOTSUPP) return FailedAt("lseek(SEEK_DATA)", offset_bytes);
  ASSIGN_OR_RETURN(const uint64_t size_bytes, Size());  // no SEEK_DATA here: all is data
  return offset_bytes < size_bytes ? std::optional(offset_bytes) : NoMoreData(offset_bytes);
}

// A file that was cut has no data past the cut, and no holes either.
Result<std::optional<uint64_t>> PosixFile::NoMoreData(uint64_t offset_bytes) {
  RETURN_IF_ERROR(CheckHasByte(offset_bytes));
  return std::optional<uint64_t>();
}

Result<std::optional<ByteRange>> PosixFile::NextData(uint64_t offset_bytes) {
  ASSIGN_OR_RETURN(const std::optional<uint64_t> data, FirstData(offset_bytes));
  if (!data) return std::optional<ByteRange>();
  const Call call(*calls_, kLook);
  const off_t hole = ::lseek(fd_.get(), static_cast<off_t>(*data), SEEK_HOLE);
  if (hole < 0 && errno == ENXIO) {  // the file became shorter meanwhile
    RETURN_IF_ERROR(CheckHasByte(*data));
    return std::optional<ByteRange>();
  }
  if (hole < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {
    ASSIGN_OR_RETURN(const uint64_t size_bytes, Size());
    if (*data >= size_bytes) return std::optional<ByteRange>();
    return std::optional<ByteRange>(ByteRange{*data, size_bytes - *data});
  }
  if (hole < 0) return FailedAt("lseek(SEEK_HOLE)", *data);
  const auto end = static_cast<uint64_t>(hole);
  if (end <= *data) return std::optional<ByteRange>();
  return std::optional<ByteRange>(ByteRange{*data, end - *data});
}

void PosixFile::DropCache(const ByteRange& range) {
  if (range.length_bytes == 0) return;  // 0 would mean: to the end of the file
  const auto offset = static_cast<off_t>(range.offset_bytes);
  const auto length = static_cast<off_t>(range.length_bytes);
  const Call call(*calls_, kSync);
  (void)::sync_file_range(fd_.get(), offset, length, SYNC_FILE_RANGE_WRITE);
  (void)::posix_fadvise(fd_.get(), offset, length, POSIX_FADV_DONTNEED);
}

// The kernel grants a lease for reading only if no process has the file open for writing.
bool PosixFile::WrittenElsewhere() {
  if (::fcntl(fd_.get(), F_SETLEASE, F_RDLCK) != 0) return errno == EAGAIN;
  (void)::fcntl(fd_.get(), F_SETLEASE, F_UNLCK);
  return false;
}

Descriptor PosixFile::Duplicate() { return Descriptor(::fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0)); }

}  // namespace volfs
