#include "blockstore/posix_node.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <system_error>

#include "blockstore/log.h"

namespace volfs {
namespace {

constexpr char kLayersDirectory[] = "layers";

// Calls `call` until it is not interrupted by a signal.
template <typename Call>
auto Retry(Call call) {
  for (;;) {
    const auto result = call();
    if (result != -1 || errno != EINTR) return result;
  }
}

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    // Nothing is lost if this fails: who needs durability has synced.
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Error SystemError(int os_errno, std::string_view what, std::string_view where) {
  const std::string reason = std::error_code(os_errno, std::generic_category()).message();
  return Error{ErrcFromErrno(os_errno), Text(what, " on node directory ", where, ": ", reason),
               os_errno};
}

using Call = NodeCalls::Call;
using enum NodeCalls::Kind;

// Not tried, as the node does not answer: nothing has happened.
Error NotTried(const NodeCalls& calls, std::string_view what, std::string_view where) {
  return Error{Errc::kIo, Text(what, " on node directory ", where,
                               ": not tried, as it does not answer: ", calls.Trouble())};
}

Error NotAPlainFile(std::string_view name, std::string_view where, std::string_view found) {
  return Error{Errc::kCorrupt, Text("open ", name, " on node directory ", where, ": it is ", found,
                                    ", not a plain file with one name")};
}

// openat2 has no wrapper in glibc.
int OpenBeneath(int directory, const std::string& name, uint64_t flags, uint64_t mode) {
  open_how how{};
  how.flags = flags | O_CLOEXEC | O_NOFOLLOW;
  how.mode = mode;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV;
  return static_cast<int>(
      Retry([&] { return ::syscall(SYS_openat2, directory, name.c_str(), &how, sizeof how); }));
}

constexpr int kDontCache = 0x80;  // RWF_DONTCACHE of Linux 6.14, which older headers lack

class PosixFile final : public NodeFile {
 public:
  PosixFile(Descriptor fd, std::string name, std::string where, std::shared_ptr<NodeCalls> calls)
      : once_flags_(kDontCache),
        fd_(std::move(fd)),
        name_(std::move(name)),
        where_(std::move(where)),
        calls_(std::move(calls)) {}

  Status ReadAt(std::span<std::byte> out, uint64_t offset_bytes) override;
  Status WriteAt(std::span<const std::byte> data, uint64_t offset_bytes) override;
  Status ReadOnce(std::span<std::byte> out, uint64_t offset_bytes) override;
  Status WriteOnce(std::span<const std::byte> data, uint64_t offset_bytes) override;
  Status WaitWritten(const ByteRange& range) override;
  void DropWritten(const ByteRange& range) override;
  Result<bool> ShareFrom(NodeFile& source, const ByteRange& range) override;
  Status SyncData() override;
  Status Punch(const ByteRange& range) override;
  Status SetSize(uint64_t size_bytes) override;
  Result<uint64_t> Size() override;
  Result<uint64_t> AllocatedBytes() override;
  Result<std::optional<ByteRange>> NextData(uint64_t offset_bytes) override;
  void DropCache(const ByteRange& range) override;

 private:
  [[nodiscard]] Error Failed(std::string_view call) const {
    return SystemError(errno, Text(call, " ", name_), where_);
  }
  [[nodiscard]] Error FailedAt(std::string_view call, uint64_t offset_bytes) const {
    return SystemError(errno, Text(call, " ", name_, " at byte ", offset_bytes), where_);
  }
  Status WriteZeros(const ByteRange& range);
  Status Read(std::span<std::byte> out, uint64_t offset_bytes, int flags);
  Status Write(std::span<const std::byte> data, uint64_t offset_bytes, int flags);

  std::atomic<int> once_flags_;  // of ReadOnce and WriteOnce: what the filesystem can
  const Descriptor fd_;
  const std::string name_;
  const std::string where_;
  const std::shared_ptr<NodeCalls> calls_;  // the directory's
};

constexpr uint64_t kMaxOffset = std::numeric_limits<off_t>::max();

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
  if (calls_->stuck()) return NotTried(*calls_, Text("pread ", name_), where_);
  const Call call(*calls_, kRead);
  while (!out.empty()) {
    const iovec part{out.data(), out.size()};
    const ssize_t got = Retry(
        [&] { return ::preadv2(fd_.get(), &part, 1, static_cast<off_t>(offset_bytes), flags); });
    if (got < 0) return FailedAt("pread", offset_bytes);
    if (got == 0) {  // past the end
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
  if (calls_->stuck()) return NotTried(*calls_, Text("pwrite ", name_), where_);
  const Call call(*calls_, kWrite);
  while (!data.empty()) {
    const iovec part{const_cast<std::byte*>(data.data()), data.size()};  // which it only reads
    const ssize_t put = Retry(
        [&] { return ::pwritev2(fd_.get(), &part, 1, static_cast<off_t>(offset_bytes), flags); });
    if (put == 0) errno = EIO;  // a filesystem that takes nothing and says so for ever
    if (put <= 0) return FailedAt("pwrite", offset_bytes);
    data = data.subspan(static_cast<size_t>(put));
    offset_bytes += static_cast<uint64_t>(put);
  }
  return OkStatus();
}

// FICLONERANGE, as copy_file_range would copy where it cannot share, and not say so.
Result<bool> PosixFile::ShareFrom(NodeFile& source, const ByteRange& range) {
  const auto* const from = dynamic_cast<const PosixFile*>(&source);
  if (from == nullptr) return false;
  const file_clone_range request{from->fd_.get(), range.offset_bytes, range.length_bytes,
                                 range.offset_bytes};
  if (Retry([&] { return ::ioctl(fd_.get(), FICLONERANGE, &request); }) == 0) return true;
  switch (errno) {
    case EXDEV:  // two filesystems, or two disks of one
    case EOPNOTSUPP:
    case ENOTTY:  // it does not know the request
    case EINVAL:  // not whole blocks of that filesystem
      return false;
    default:
      return FailedAt("FICLONERANGE", range.offset_bytes);
  }
}

Status PosixFile::SyncData() {
  const Call call(*calls_, kSync);
  if (Retry([&] { return ::fdatasync(fd_.get()); }) != 0) return Failed("fdatasync");
  return OkStatus();
}

Status PosixFile::Punch(const ByteRange& range) {
  VOLFS_ASSIGN(const uint64_t size_bytes, Size());
  if (range.offset_bytes >= size_bytes || range.length_bytes == 0) return OkStatus();
  const Call call(*calls_, kFree);
  // Clipped not to the size, but to the end of its block (at most 64 KiB on Linux): of a block that
  // is only zeroed up to the size ext4 would keep the space.
  constexpr uint64_t kBlock = 64 * 1024;
  const uint64_t most_bytes = (size_bytes / kBlock + 1) * kBlock - range.offset_bytes;
  const int done = Retry([&] {
    return ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                       static_cast<off_t>(range.offset_bytes),
                       static_cast<off_t>(std::min(range.length_bytes, most_bytes)));
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
    VOLFS_TRY(WriteAt(std::span(kZeros).first(piece), at));
    at += piece;
  }
  return OkStatus();
}

Status PosixFile::SetSize(uint64_t size_bytes) {
  assert(size_bytes <= kMaxOffset);
  const Call call(*calls_, kFree);
  if (Retry([&] { return ::ftruncate(fd_.get(), static_cast<off_t>(size_bytes)); }) != 0) {
    return FailedAt("ftruncate", size_bytes);
  }
  return OkStatus();
}

Result<uint64_t> PosixFile::Size() {
  const Call call(*calls_, kLook);
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) return Failed("fstat");
  return static_cast<uint64_t>(info.st_size);
}

Result<uint64_t> PosixFile::AllocatedBytes() {
  if (calls_->stuck()) return NotTried(*calls_, Text("fstat ", name_), where_);
  const Call call(*calls_, kLook);
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) return Failed("fstat");
  return static_cast<uint64_t>(info.st_blocks) * 512;  // st_blocks: always units of 512 bytes
}

// The file's own position is moved by lseek, which harms nobody: all I/O names its offset.
Result<std::optional<ByteRange>> PosixFile::NextData(uint64_t offset_bytes) {
  if (offset_bytes > kMaxOffset) return std::optional<ByteRange>();
  if (calls_->stuck()) return NotTried(*calls_, Text("lseek ", name_), where_);
  const Call call(*calls_, kLook);
  const off_t data = ::lseek(fd_.get(), static_cast<off_t>(offset_bytes), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return std::optional<ByteRange>();
  if (data < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {  // it cannot tell: all is data
    VOLFS_ASSIGN(const uint64_t size_bytes, Size());
    if (offset_bytes >= size_bytes) return std::optional<ByteRange>();
    return std::optional<ByteRange>(ByteRange{offset_bytes, size_bytes - offset_bytes});
  }
  if (data < 0) return FailedAt("lseek(SEEK_DATA)", offset_bytes);
  const off_t hole = ::lseek(fd_.get(), data, SEEK_HOLE);
  // ENXIO: the file was made shorter meanwhile.
  if (hole < 0 && errno == ENXIO) return std::optional<ByteRange>();
  if (hole < 0) return FailedAt("lseek(SEEK_HOLE)", static_cast<uint64_t>(data));
  if (hole <= data) return std::optional<ByteRange>();
  return std::optional<ByteRange>(
      ByteRange{static_cast<uint64_t>(data), static_cast<uint64_t>(hole - data)});
}

void PosixFile::DropCache(const ByteRange& range) {
  if (range.length_bytes == 0) return;  // 0 would mean: to the end of the file
  const auto offset = static_cast<off_t>(range.offset_bytes);
  const auto length = static_cast<off_t>(range.length_bytes);
  const Call call(*calls_, kSync);
  (void)::sync_file_range(fd_.get(), offset, length, SYNC_FILE_RANGE_WRITE);
  (void)::posix_fadvise(fd_.get(), offset, length, POSIX_FADV_DONTNEED);
}

class PosixNode final : public NodeDirectory {
 public:
  PosixNode(Descriptor root, Descriptor layers, std::string display, std::string absolute)
      : root_(std::move(root)),
        layers_(std::move(layers)),
        display_path_(std::move(display)),
        catalog_path_(std::move(absolute) + "/catalog.db") {}

  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override;
  Status Remove(const std::string& name) override;
  Status SyncNames() override;
  Result<std::vector<std::string>> ListLayers() override;
  Result<SpaceInfo> Space() override;
  std::string catalog_path() const override { return catalog_path_; }
  const char* sqlite_vfs() const override { return nullptr; }
  const std::string& display_path() const override { return display_path_; }

 private:
  Status CheckPlainFile(int fd, const std::string& name) const;
  void NoteChange(const std::string& name) {
    if (name.find('/') == std::string::npos) root_changed_ = true;
  }

  const Descriptor root_;
  const Descriptor layers_;
  const std::string display_path_;
  const std::string catalog_path_;
  // A name outside of layers/ may not be durable. True at first: SQLite makes the catalog's files
  // without telling us.
  std::atomic<bool> root_changed_{true};
  Mutex space_mu_;
  std::optional<SpaceInfo> last_space_ VOLFS_GUARDED_BY(space_mu_);
};

Result<std::unique_ptr<NodeFile>> PosixNode::Open(const std::string& name, OpenMode mode) {
  // O_NONBLOCK: a fifo or a device in the place of a layer must not make us wait or do something.
  uint64_t flags = O_NONBLOCK | O_NOCTTY;
  flags |= mode == OpenMode::kReadOnly ? O_RDONLY : O_RDWR;
  if (mode == OpenMode::kCreateNew) flags |= O_CREAT | O_EXCL;
  const Call call(*calls(), kLook);
  Descriptor fd(OpenBeneath(root_.get(), name, flags, mode == OpenMode::kCreateNew ? 0600 : 0));
  if (fd.get() < 0) {
    const int os_errno = errno;
    switch (os_errno) {
      case ELOOP:
        return NotAPlainFile(name, display_path_, "reached over a symbolic link");
      case EXDEV:
        return NotAPlainFile(name, display_path_, "on another filesystem");
      case EISDIR:
        return NotAPlainFile(name, display_path_, "a directory");
      case ENXIO:
        return NotAPlainFile(name, display_path_, "a socket or device");
      case ENOTDIR:
        return NotAPlainFile(name, display_path_, "below something else");
      default:
        return SystemError(os_errno, Text("open ", name), display_path_);
    }
  }
  VOLFS_TRY(CheckPlainFile(fd.get(), name));
  if (mode == OpenMode::kCreateNew) NoteChange(name);
  return std::unique_ptr<NodeFile>(
      std::make_unique<PosixFile>(std::move(fd), name, display_path_, calls()));
}

Status PosixNode::CheckPlainFile(int fd, const std::string& name) const {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return SystemError(errno, Text("fstat ", name), display_path_);
  if (S_ISDIR(info.st_mode)) return NotAPlainFile(name, display_path_, "a directory");
  if (!S_ISREG(info.st_mode)) return NotAPlainFile(name, display_path_, "a fifo, socket or device");
  if (info.st_nlink != 1) {
    return NotAPlainFile(name, display_path_, Text("a file with ", info.st_nlink, " names"));
  }
  return OkStatus();
}

Status PosixNode::Remove(const std::string& name) {
  // unlinkat follows no link in the last part, and the only other part a name has is layers/.
  const std::string prefix = std::string(kLayersDirectory) + "/";
  const bool layer = name.starts_with(prefix);
  const std::string last = layer ? name.substr(prefix.size()) : name;
  assert(last.find('/') == std::string::npos);
  const Call call(*calls(), kFree);
  if (::unlinkat(layer ? layers_.get() : root_.get(), last.c_str(), 0) != 0) {
    return SystemError(errno, Text("unlink ", name), display_path_);
  }
  NoteChange(name);
  return OkStatus();
}

Status PosixNode::SyncNames() {
  const Call call(*calls(), kSync);
  if (Retry([&] { return ::fsync(layers_.get()); }) != 0) {
    return SystemError(errno, "fsync of layers/", display_path_);
  }
  if (root_changed_.exchange(false)) {
    if (Retry([&] { return ::fsync(root_.get()); }) != 0) {
      root_changed_ = true;
      return SystemError(errno, "fsync", display_path_);
    }
  }
  return OkStatus();
}

Result<std::vector<std::string>> PosixNode::ListLayers() {
  const Call call(*calls(), kLook);
  // A descriptor of its own: the position in a directory belongs to the open file.
  Descriptor fd(OpenBeneath(layers_.get(), ".", O_RDONLY | O_DIRECTORY, 0));
  if (fd.get() < 0) return SystemError(errno, "open layers/", display_path_);
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(fd.get()), &::closedir);
  if (!listing) return SystemError(errno, "list layers/", display_path_);
  (void)fd.release();  // closedir closes it
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(listing.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return SystemError(errno, "list layers/", display_path_);
  return names;
}

// `df` and `status` ask for it of all nodes: who looks shall not join those who hang.
Result<SpaceInfo> PosixNode::Space() {
  if (calls()->slow()) {
    MutexLock lock(space_mu_);
    if (last_space_) return *last_space_;
    return NotTried(*calls(), "statvfs", display_path_);
  }
  const Call call(*calls(), kLook);
  struct statvfs info {};
  if (Retry([&] { return ::fstatvfs(root_.get(), &info); }) != 0) {
    return SystemError(errno, "statvfs", display_path_);
  }
  const SpaceInfo space{uint64_t{info.f_blocks} * info.f_frsize,
                        uint64_t{info.f_bavail} * info.f_frsize};
  MutexLock lock(space_mu_);
  last_space_ = space;
  return space;
}

// Makes layers/ durable before anything is put into it: a synced file in a directory that a crash
// forgets is lost.
Result<Descriptor> OpenLayers(int root, const std::string& path) {
  const bool made = ::mkdirat(root, kLayersDirectory, 0700) == 0;
  if (!made && errno != EEXIST) return SystemError(errno, "mkdir layers", path);
  Descriptor layers(OpenBeneath(root, kLayersDirectory, O_RDONLY | O_DIRECTORY, 0));
  if (layers.get() < 0) {
    Error error = SystemError(errno, "open layers", path);
    if (error.os_errno == ELOOP || error.os_errno == ENOTDIR) error.code = Errc::kCorrupt;
    return error;
  }
  if (made && Retry([&] { return ::fsync(root); }) != 0) {
    return SystemError(errno, "fsync", path);
  }
  return layers;
}

}  // namespace

Errc ErrcFromErrno(int os_errno) {
  switch (os_errno) {
    case ENOSPC:
      return Errc::kNoSpace;
    case EDQUOT:
      return Errc::kQuota;
    case EROFS:
      return Errc::kReadOnly;
    case ENOENT:
      return Errc::kNotFound;
    case EEXIST:
      return Errc::kExists;
    case EFBIG:
      return Errc::kFileTooBig;  // the host's own limit; ext4: 16 TiB
    case EACCES:
    case EPERM:
      return Errc::kDenied;
    default:
      return Errc::kIo;
  }
}

Result<std::unique_ptr<NodeDirectory>> OpenPosixNode(const std::string& path) {
  Descriptor root(
      static_cast<int>(Retry([&] { return ::open(path.c_str(), O_DIRECTORY | O_CLOEXEC); })));
  if (root.get() < 0) return SystemError(errno, "open", path);
  // Asked of the descriptor, so that both are the same directory whoever renames what meanwhile.
  std::array<char, PATH_MAX> absolute{};
  const std::string link = Text("/proc/self/fd/", root.get());
  const ssize_t length = ::readlink(link.c_str(), absolute.data(), absolute.size());
  if (length <= 0 || absolute[0] != '/' || static_cast<size_t>(length) == absolute.size()) {
    if (length >= 0) errno = ENAMETOOLONG;
    return SystemError(errno, "find the absolute path", path);
  }
  VOLFS_ASSIGN(Descriptor layers, OpenLayers(root.get(), path));
  auto node =
      std::make_unique<PosixNode>(std::move(root), std::move(layers), path,
                                  std::string(absolute.data(), static_cast<size_t>(length)));
  VOLFS_TRY(node->Space());  // so that there is an answer when it hangs
  return std::unique_ptr<NodeDirectory>(std::move(node));
}

}  // namespace volfs
