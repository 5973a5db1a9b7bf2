#include "blockstore/io/posix_node.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <system_error>

#include "blockstore/base/str_cat.h"
#include "blockstore/io/posix_file.h"

namespace volfs {
namespace {

constexpr char kLayersDirectory[] = "layers";

using Call = NodeCalls::Call;
using enum NodeCalls::Kind;

Error NotAPlainFile(std::string_view name, std::string_view where, std::string_view found) {
  return Error{Errc::kCorrupt, StrCat("open ", name, " on node directory ", where, ": it is ",
                                      found, ", not a plain file with one name")};
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

// btrfs allocates new space for overwritten data, which a full filesystem does not have. Without
// copy-on-write the catalog's files keep the space they have. They have checksums of their own.
void OverwriteInPlace(int fd) {
  struct statfs filesystem {};
  int flags = 0;
  if (::fstatfs(fd, &filesystem) != 0 || filesystem.f_type != BTRFS_SUPER_MAGIC) return;
  if (::ioctl(fd, FS_IOC_GETFLAGS, &flags) != 0) return;
  flags |= FS_NOCOW_FL;
  (void)::ioctl(fd, FS_IOC_SETFLAGS, &flags);  // works on an empty file
}

// The files that the node depends on besides single layers. The daemon keeps each of them open for
// as long as the node, so the filesystem gives the number of its inode to no other file.
constexpr const char* kVitalNames[] = {"lock", "catalog.db", "catalog.db-wal", kLayersDirectory};

// Returns whether an error of stat(2) leaves open if the file is still there.
bool TellsNothing(int os_errno) {
  return os_errno == EACCES || os_errno == ENOMEM || os_errno == ETIMEDOUT;
}

// Each subvolume of a btrfs has a device number of its own, but all share one room.
std::string BtrfsName(int root) {
  btrfs_ioctl_fs_info_args info{};
  if (::ioctl(root, BTRFS_IOC_FS_INFO, &info) != 0) return "";
  std::string name = "btrfs:";
  for (const uint8_t byte : info.fsid) {
    constexpr std::string_view kHex = "0123456789abcdef";
    name += kHex[byte >> 4];
    name += kHex[byte & 0xf];
  }
  return name;
}

// Returns "btrfs:UUID" or "MAJOR:MINOR" of the filesystem that the open directory `root` is on.
std::string NameOfFilesystem(int root) {
  struct statfs filesystem {};
  if (::fstatfs(root, &filesystem) == 0 && filesystem.f_type == BTRFS_SUPER_MAGIC) {
    if (std::string name = BtrfsName(root); !name.empty()) return name;
  }
  struct stat info {};
  if (::fstat(root, &info) != 0) return "";
  return StrCat(major(info.st_dev), ":", minor(info.st_dev));
}

// Returns a count of Documentation/block/stat.rst of the kernel; nothing if no block device has
// this number.
std::optional<uint64_t> CompletedByDisk(int root) {
  constexpr std::array<size_t, 3> kCompleted = {4, 11, 15};  // writes, discards, flushes
  struct stat info {};
  if (::fstat(root, &info) != 0 || major(info.st_dev) == 0) return std::nullopt;
  std::ifstream stat(
      StrCat("/sys/dev/block/", major(info.st_dev), ":", minor(info.st_dev), "/stat"));
  uint64_t completed = 0;
  uint64_t number = 0;
  size_t fields = 0;
  for (; stat >> number; ++fields) {
    const bool counts = std::find(kCompleted.begin(), kCompleted.end(), fields) != kCompleted.end();
    if (counts) completed += number;
  }
  return fields == 0 ? std::nullopt : std::optional(completed);
}

class PosixNode final : public NodeDirectory {
 public:
  PosixNode(Descriptor root, Descriptor layers, std::string display, std::string absolute,
            NodeAccess access)
      : access_(access),
        directories_(std::make_shared<const OpenDirectories>(
            OpenDirectories{std::move(root), std::move(layers)})),
        root_(directories_->root),
        layers_(directories_->layers),
        filesystem_(NameOfFilesystem(root_.get())),
        display_path_(std::move(display)),
        path_(std::move(absolute)) {}

  Result<std::unique_ptr<NodeFile>> Open(const std::string& name, OpenMode mode) override;
  Status Remove(const std::string& name) override;
  Status SyncNames() override;
  Result<std::vector<std::string>> ListLayers() override;
  Result<SpaceInfo> Space() override;
  std::string FilesystemName() const override { return filesystem_; }
  Result<uint64_t> AllocatedBytes(const std::string& name) override;
  Status CheckPresent() override VOLFS_EXCLUDES(vital_mu_);
  uint64_t Pulse() override;
  std::string catalog_path() const override { return path_ + "/catalog.db"; }
  const char* sqlite_vfs() const override { return nullptr; }
  const std::string& display_path() const override { return display_path_; }
  [[nodiscard]] bool ChecksNames() const override { return true; }

 private:
  // Returns the place of `fd`, opened by `name`. kCorrupt if it is no plain file.
  Result<FilePlace> CheckPlainFile(int fd, const std::string& name) const;
  // Returns the file that the name leads to; nothing if it cannot be told. A null name stands for
  // the directory itself, by its path.
  Result<std::optional<Identity>> LookAt(const char* name) const;
  // The directory, and each of kVitalNames.
  using Vital = std::array<Identity, 1 + std::size(kVitalNames)>;
  Status CheckVital(const Vital& vital) const;
  Result<std::optional<Vital>> FirstLook() const;
  [[nodiscard]] Error Gone(const std::string& why) const;
  // Returns the directory that has the file (the root or layers/) and the last part of its name.
  std::pair<int, std::string> Place(const std::string& name) const;
  void NoteChange(const std::string& name) {
    if (name.find('/') == std::string::npos) root_changed_ = true;
  }

  const NodeAccess access_;
  const std::shared_ptr<const OpenDirectories> directories_;
  const Descriptor& root_;
  const Descriptor& layers_;
  const std::string filesystem_;
  const std::string display_path_;
  const std::string path_;  // absolute
  // A name outside of layers/ may not be durable. True at first, as SQLite makes the catalog's
  // files by itself.
  std::atomic<bool> root_changed_{true};
  Mutex space_mu_;
  std::optional<SpaceInfo> last_space_ VOLFS_GUARDED_BY(space_mu_);
  Mutex vital_mu_;
  std::optional<Vital> vital_ VOLFS_GUARDED_BY(vital_mu_);  // as the first look found it
};

Error PosixNode::Gone(const std::string& why) const {
  return Error{Errc::kIo, StrCat("node directory ", display_path_, " is gone: ", why)};
}

Result<std::optional<Identity>> PosixNode::LookAt(const char* name) const {
  struct stat info {};
  const int done = name == nullptr ? ::stat(path_.c_str(), &info)
                                   : ::fstatat(root_.get(), name, &info, AT_SYMLINK_NOFOLLOW);
  if (done == 0) return std::optional(Identity{info.st_dev, info.st_ino});
  if (TellsNothing(errno)) return std::optional<Identity>();
  const std::string what = name == nullptr ? "its path" : StrCat("its ", name);
  const std::string reason = std::error_code(errno, std::generic_category()).message();
  return Gone(StrCat(what, " was removed or moved away, or its filesystem failed (", reason, ")"));
}

// A file that is not there at the first look is not missed later.
Result<std::optional<PosixNode::Vital>> PosixNode::FirstLook() const {
  Vital vital{};
  for (size_t i = 0; i < vital.size(); ++i) {
    const auto found = LookAt(i == 0 ? nullptr : kVitalNames[i - 1]);
    if (i == 0 && !found.ok()) return found.error();
    if (!found.ok()) continue;
    if (!found.value()) return std::optional<Vital>();
    vital[i] = *found.value();
  }
  struct stat root {};
  if (::fstat(root_.get(), &root) != 0) return std::optional<Vital>();
  if (vital[0] != Identity{root.st_dev, root.st_ino}) {
    return Gone(StrCat("another directory is at ", path_));
  }
  return std::optional(vital);
}

Status PosixNode::CheckVital(const Vital& vital) const {
  for (size_t i = 0; i < vital.size(); ++i) {
    const char* const name = i == 0 ? nullptr : kVitalNames[i - 1];
    if (vital[i] == Identity{}) continue;
    ASSIGN_OR_RETURN(const auto found, LookAt(name));
    if (!found || *found == vital[i]) continue;
    if (name != nullptr) return Gone(StrCat("its ", name, " is another file now"));
    return Gone(StrCat(path_,
                       " is another directory now: this one was replaced or moved away, or its "
                       "filesystem was unmounted or mounted over"));
  }
  return OkStatus();
}

// A hung node cannot be checked and passes; its waiting requests are told that it hangs.
Status PosixNode::CheckPresent() {
  if (calls()->hung()) return OkStatus();
  const Call call(*calls(), kLook);
  std::optional<Vital> vital;
  {
    MutexLock lock(vital_mu_);
    vital = vital_;
  }
  if (vital) return CheckVital(*vital);
  ASSIGN_OR_RETURN(vital, FirstLook());
  MutexLock lock(vital_mu_);
  vital_ = vital;
  return OkStatus();
}

// Counts the writes, discards and flushes that the disk has completed, as the kernel tells for a
// block device. A filesystem without one (NFS, CephFS, another FUSE mount) is asked for its room,
// which its server answers.
uint64_t PosixNode::Pulse() {
  if (const std::optional<uint64_t> completed = CompletedByDisk(root_.get())) return *completed;
  const Call call(*calls(), kLook);
  struct statvfs info {};
  (void)::fstatvfs(root_.get(), &info);
  return NodeDirectory::Pulse();
}

Result<std::unique_ptr<NodeFile>> PosixNode::Open(const std::string& name, OpenMode mode) {
  // O_NONBLOCK: a fifo or a device in the place of a layer must not block the daemon or start an
  // action.
  uint64_t flags = O_NONBLOCK | O_NOCTTY;
  flags |= mode == OpenMode::kReadOnly ? O_RDONLY : O_RDWR;
  if (mode == OpenMode::kCreateNew) flags |= O_CREAT | O_EXCL;
  const Call call(*calls(), kLook);
  Descriptor fd;
  // O_NOATIME: the kernel refuses it to all but the file's owner and root.
  if (access_ == NodeAccess::kReadOnly) {
    fd = Descriptor(OpenBeneath(root_.get(), name, flags | O_NOATIME, 0));
  }
  if (!fd.ok()) {
    fd = Descriptor(OpenBeneath(root_.get(), name, flags, mode == OpenMode::kCreateNew ? 0600 : 0));
  }
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
        return SystemError(os_errno, StrCat("open ", name), display_path_);
    }
  }
  ASSIGN_OR_RETURN(FilePlace place, CheckPlainFile(fd.get(), name));
  if (mode == OpenMode::kCreateNew) {
    NoteChange(name);
    if (name.find('/') == std::string::npos) OverwriteInPlace(fd.get());
  }
  return std::unique_ptr<NodeFile>(
      std::make_unique<PosixFile>(std::move(fd), std::move(place), name, display_path_, calls()));
}

Result<FilePlace> PosixNode::CheckPlainFile(int fd, const std::string& name) const {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return SystemError(errno, StrCat("fstat ", name), display_path_);
  if (S_ISDIR(info.st_mode)) return NotAPlainFile(name, display_path_, "a directory");
  if (!S_ISREG(info.st_mode)) return NotAPlainFile(name, display_path_, "a fifo, socket or device");
  if (info.st_nlink != 1) {
    return NotAPlainFile(name, display_path_, StrCat("a file with ", info.st_nlink, " names"));
  }
  auto [directory, last] = Place(name);
  return FilePlace{directories_,
                   directory,
                   std::move(last),
                   {info.st_dev, info.st_ino},
                   static_cast<uint64_t>(info.st_size)};
}

std::pair<int, std::string> PosixNode::Place(const std::string& name) const {
  const std::string prefix = std::string(kLayersDirectory) + "/";
  const bool layer = name.starts_with(prefix);
  std::string last = layer ? name.substr(prefix.size()) : name;
  assert(last.find('/') == std::string::npos);
  return {layer ? layers_.get() : root_.get(), std::move(last)};
}

Result<uint64_t> PosixNode::AllocatedBytes(const std::string& name) {
  if (calls()->hung()) return NotTried(*calls(), StrCat("stat ", name), display_path_);
  const auto [directory, last] = Place(name);
  const Call call(*calls(), kLook);
  struct stat info {};
  if (::fstatat(directory, last.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    return SystemError(errno, StrCat("stat ", name), display_path_);
  }
  return static_cast<uint64_t>(info.st_blocks) * kStatBlockBytes;
}

Status PosixNode::Remove(const std::string& name) {
  // unlinkat does not follow a link in the last part.
  const auto [directory, last] = Place(name);
  const Call call(*calls(), kFree);
  if (::unlinkat(directory, last.c_str(), 0) != 0) {
    return SystemError(errno, StrCat("unlink ", name), display_path_);
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
  // A descriptor of its own, because the position in a directory belongs to the open file.
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

// `df` and `status` ask this of all nodes, and must not hang with one of them.
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
                        uint64_t{info.f_bavail} * info.f_frsize, (info.f_flag & ST_RDONLY) != 0};
  MutexLock lock(space_mu_);
  last_space_ = space;
  return space;
}

// Makes layers/ durable before any file is made in it: a crash that forgets a directory also loses
// the synced files in it.
Result<Descriptor> OpenLayers(int root, const std::string& path, NodeAccess access) {
  const bool may_make = access == NodeAccess::kReadWrite;
  const bool made = may_make && ::mkdirat(root, kLayersDirectory, 0700) == 0;
  if (may_make && !made && errno != EEXIST) return SystemError(errno, "mkdir layers", path);
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
    case ENOMEM:
      return Errc::kNoMemory;
    case EMFILE:
    case ENFILE:
      return Errc::kNoFiles;
    default:
      return Errc::kIo;
  }
}

Result<std::unique_ptr<NodeDirectory>> OpenPosixNode(const std::string& path, NodeAccess access) {
  Descriptor root(
      static_cast<int>(Retry([&] { return ::open(path.c_str(), O_DIRECTORY | O_CLOEXEC); })));
  if (root.get() < 0) return SystemError(errno, "open", path);
  // Asked of the descriptor, so that both are the same directory even after a rename.
  std::array<char, PATH_MAX> absolute{};
  const std::string link = StrCat("/proc/self/fd/", root.get());
  const ssize_t length = ::readlink(link.c_str(), absolute.data(), absolute.size());
  if (length <= 0 || absolute[0] != '/' || static_cast<size_t>(length) == absolute.size()) {
    if (length >= 0) errno = ENAMETOOLONG;
    return SystemError(errno, "find the absolute path", path);
  }
  ASSIGN_OR_RETURN(Descriptor layers, OpenLayers(root.get(), path, access));
  auto node = std::make_unique<PosixNode>(std::move(root), std::move(layers), path,
                                          std::string(absolute.data(), static_cast<size_t>(length)),
                                          access);
  RETURN_IF_ERROR(node->Space());  // remembers an answer for when the node hangs
  return std::unique_ptr<NodeDirectory>(std::move(node));
}

namespace {

enum class Trust { kOwner, kOwnerAndMode };

Status CheckFile(int root, const std::string& name, const std::string& path, Trust trust) {
  struct stat info {};
  if (::fstatat(root, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return OkStatus();
    return SystemError(errno, StrCat("stat ", name), path);
  }
  const bool itself = name == ".";
  const std::string file = itself ? path : StrCat(path, "/", name);
  if (info.st_uid != 0 && info.st_uid != ::geteuid()) {
    return Error{Errc::kDenied,
                 StrCat("node directory ", path, ": ", itself ? "it" : name, " belongs to user ",
                        info.st_uid, ", who is neither root nor the user who mounts (", ::geteuid(),
                        ") and could exchange every volume on it; if its contents can be trusted, "
                        "run `chown -R ",
                        ::geteuid(), " ", path, "` first")};
  }
  const bool open = (info.st_mode & (S_IWGRP | S_IWOTH)) != 0 && !S_ISLNK(info.st_mode);
  if (!open || trust == Trust::kOwner) return OkStatus();
  return Error{Errc::kDenied, StrCat("node directory ", path, ": group or others may write ",
                                     itself ? "it" : name, "; run `chmod go-w ", file, "` first")};
}

Status CheckFiles(const std::string& path, Trust trust) {
  const Descriptor root(static_cast<int>(
      Retry([&] { return ::open(path.c_str(), O_DIRECTORY | O_PATH | O_CLOEXEC); })));
  if (!root.ok()) return SystemError(errno, "open", path);
  for (const char* name : {".", kLayersDirectory, "catalog.db", "catalog.db-wal"}) {
    RETURN_IF_ERROR(CheckFile(root.get(), name, path, trust));
  }
  return OkStatus();
}

}  // namespace

Status CheckTrusted(const std::string& path) { return CheckFiles(path, Trust::kOwnerAndMode); }

Status CheckOwners(const std::string& path) { return CheckFiles(path, Trust::kOwner); }

}  // namespace volfs
