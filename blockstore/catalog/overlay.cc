#include "blockstore/catalog/overlay.h"

#include <sqlite3.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <span>

#include "blockstore/base/runtime.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/format.h"
#include "blockstore/io/node_directory.h"

namespace volfs::catalog {

// One file: a page is the node's until it is written.
class OverlayFile {
 public:
  explicit OverlayFile(std::unique_ptr<NodeFile> base, uint64_t size_bytes)
      : base_(std::move(base)), base_bytes_(size_bytes), size_bytes_(size_bytes) {}

  [[nodiscard]] uint64_t size_bytes() const { return size_bytes_; }

  // Bytes past the end read as zeros.
  Status Read(std::span<std::byte> out, uint64_t offset_bytes) {
    return ForEachPage(offset_bytes, out.size(), [&](const Piece& piece) {
      const std::span<std::byte> part = out.subspan(piece.done, piece.length);
      const auto written = pages_.find(piece.page);
      if (written == pages_.end()) return ReadBase(part, piece.page * kPage + piece.in_page);
      std::memcpy(part.data(), written->second.data() + piece.in_page, piece.length);
      return OkStatus();
    });
  }

  Status Write(std::span<const std::byte> data, uint64_t offset_bytes) {
    const Status written =
        ForEachPage(offset_bytes, data.size(), [&](const Piece& piece) -> Status {
          const auto [place, fresh] = pages_.try_emplace(piece.page);
          if (fresh) RETURN_IF_ERROR(ReadBase(place->second, piece.page * kPage));
          std::memcpy(place->second.data() + piece.in_page, data.data() + piece.done, piece.length);
          return OkStatus();
        });
    if (written.ok()) size_bytes_ = std::max(size_bytes_, offset_bytes + data.size());
    return written;
  }

  void SetSize(uint64_t size_bytes) {
    size_bytes_ = size_bytes;
    base_bytes_ = std::min(base_bytes_, size_bytes);
    pages_.erase(pages_.lower_bound((size_bytes + kPage - 1) / kPage), pages_.end());
    const auto last = pages_.find(size_bytes / kPage);
    if (last == pages_.end()) return;
    std::fill(last->second.begin() + static_cast<ptrdiff_t>(size_bytes % kPage), last->second.end(),
              std::byte{0});
  }

 private:
  static constexpr uint64_t kPage = 4096;
  using Page = std::array<std::byte, kPage>;
  struct Piece {
    uint64_t page;
    uint64_t in_page;
    size_t done;  // bytes of the request before it
    size_t length;
  };

  template <typename Body>
  static Status ForEachPage(uint64_t offset_bytes, size_t length_bytes, const Body& body) {
    for (size_t done = 0; done < length_bytes;) {
      const uint64_t at = offset_bytes + done;
      const uint64_t in_page = at % kPage;
      const size_t length = std::min<size_t>(kPage - in_page, length_bytes - done);
      RETURN_IF_ERROR(body(Piece{at / kPage, in_page, done, length}));
      done += length;
    }
    return OkStatus();
  }

  Status ReadBase(std::span<std::byte> out, uint64_t offset_bytes) {
    const uint64_t there = offset_bytes >= base_bytes_
                               ? 0
                               : std::min<uint64_t>(out.size(), base_bytes_ - offset_bytes);
    std::fill(out.begin() + static_cast<ptrdiff_t>(there), out.end(), std::byte{0});
    return there == 0 ? OkStatus() : base_->ReadAt(out.first(there), offset_bytes);
  }

  const std::unique_ptr<NodeFile> base_;  // null: the node has no such file
  uint64_t base_bytes_;                   // the part of it that still counts
  uint64_t size_bytes_;
  std::map<uint64_t, Page> pages_;
};

namespace {

constexpr char kPrefix[] = "/volfs-overlay/";

struct OverlayTable {
  Mutex mu;
  uint64_t next VOLFS_GUARDED_BY(mu) = 0;
  std::map<uint64_t, Overlay*> overlays VOLFS_GUARDED_BY(mu);
};

OverlayTable& AllOverlays() {
  static OverlayTable table;
  return table;
}

// "/volfs-overlay/7/catalog.db-wal": the Overlay, and the name in it.
struct OverlayPlace {
  Overlay* overlay = nullptr;
  std::string name;
};

OverlayPlace PlaceOf(const char* path) {
  const std::string_view text(path);
  if (!text.starts_with(kPrefix)) return {};
  const char* const digits = path + std::strlen(kPrefix);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits, path + text.size(), number);
  if (error != std::errc() || *end != '/') return {};
  OverlayTable& table = AllOverlays();
  MutexLock lock(table.mu);
  const auto found = table.overlays.find(number);
  return {found == table.overlays.end() ? nullptr : found->second, end + 1};
}

struct OpenOverlayFile {
  sqlite3_file base;
  // Behind a pointer, as SQLite allocates these bytes and knows no constructors.
  std::shared_ptr<OverlayFile>* file;
};

OverlayFile& FileOf(sqlite3_file* file) { return **reinterpret_cast<OpenOverlayFile*>(file)->file; }

int OverlayCloseFile(sqlite3_file* file) {
  auto* const self = reinterpret_cast<OpenOverlayFile*>(file);
  delete self->file;
  self->file = nullptr;
  return SQLITE_OK;
}

int OverlayReadFromFile(sqlite3_file* file, void* out, int length, sqlite3_int64 offset) {
  const auto at = static_cast<uint64_t>(offset);
  const std::span bytes(static_cast<std::byte*>(out), static_cast<size_t>(length));
  if (!FileOf(file).Read(bytes, at).ok()) return SQLITE_IOERR_READ;
  const bool whole = at + bytes.size() <= FileOf(file).size_bytes();
  return whole ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

int OverlayWriteToFile(sqlite3_file* file, const void* data, int length, sqlite3_int64 offset) {
  const std::span bytes(static_cast<const std::byte*>(data), static_cast<size_t>(length));
  const Status written = FileOf(file).Write(bytes, static_cast<uint64_t>(offset));
  return written.ok() ? SQLITE_OK : SQLITE_IOERR_WRITE;
}

int OverlayTruncateFile(sqlite3_file* file, sqlite3_int64 size) {
  FileOf(file).SetSize(static_cast<uint64_t>(size));
  return SQLITE_OK;
}

// The overlay is in memory: a sync has nothing to make durable.
int OverlaySyncFile(sqlite3_file*, int) { return SQLITE_OK; }

int OverlayFileSize(sqlite3_file* file, sqlite3_int64* size) {
  *size = static_cast<sqlite3_int64>(FileOf(file).size_bytes());
  return SQLITE_OK;
}

// An Overlay is private: the node's lock keeps out every writer of the files under it.
int OverlayLockFile(sqlite3_file*, int) { return SQLITE_OK; }
int OverlayCheckReservedLock(sqlite3_file*, int* reserved) {
  *reserved = 0;
  return SQLITE_OK;
}
int OverlayControlFile(sqlite3_file*, int, void*) { return SQLITE_NOTFOUND; }
int OverlaySectorSize(sqlite3_file*) { return 4096; }
int OverlayCharacteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

// Version 1 has no shared memory: with an exclusive lock the log's index is on the heap.
const sqlite3_io_methods kOverlayMethods = {
    1,
    OverlayCloseFile,
    OverlayReadFromFile,
    OverlayWriteToFile,
    OverlayTruncateFile,
    OverlaySyncFile,
    OverlayFileSize,
    OverlayLockFile,
    OverlayLockFile,
    OverlayCheckReservedLock,
    OverlayControlFile,
    OverlaySectorSize,
    OverlayCharacteristics,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

int OverlayOpenFile(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  file->pMethods = nullptr;
  if (path == nullptr) return SQLITE_CANTOPEN;  // temporary files are in memory
  const OverlayPlace place = PlaceOf(path);
  if (place.overlay == nullptr) return SQLITE_CANTOPEN;
  const auto there = place.overlay->Find(place.name);
  if (!there.ok()) return SQLITE_CANTOPEN;
  std::shared_ptr<OverlayFile> found = there.value();
  if (found == nullptr && (flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
  if (found == nullptr) found = place.overlay->Make(place.name);
  reinterpret_cast<OpenOverlayFile*>(file)->file =
      new std::shared_ptr<OverlayFile>(std::move(found));
  file->pMethods = &kOverlayMethods;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

int OverlayDeleteFile(sqlite3_vfs*, const char* path, int) {
  const OverlayPlace place = PlaceOf(path);
  if (place.overlay == nullptr) return SQLITE_IOERR_DELETE_NOENT;
  const auto found = place.overlay->Find(place.name);
  if (!found.ok()) return SQLITE_IOERR_DELETE;
  if (found.value() == nullptr) return SQLITE_IOERR_DELETE_NOENT;
  place.overlay->Remove(place.name);
  return SQLITE_OK;
}

int OverlayAccessFile(sqlite3_vfs*, const char* path, int, int* there) {
  const OverlayPlace place = PlaceOf(path);
  *there = 0;
  if (place.overlay == nullptr) return SQLITE_OK;
  const auto found = place.overlay->Find(place.name);
  if (!found.ok()) return SQLITE_IOERR_ACCESS;
  *there = found.value() != nullptr ? 1 : 0;
  return SQLITE_OK;
}

int OverlayFullPath(sqlite3_vfs*, const char* path, int room, char* out) {
  const int length = std::snprintf(out, static_cast<size_t>(room), "%s", path);
  return length < room ? SQLITE_OK : SQLITE_CANTOPEN;
}

int OverlayLastError(sqlite3_vfs*, int, char*) { return 0; }

// Random numbers, sleep and time are the default VFS's.
void RegisterOverlayVfs() {
  const sqlite3_vfs* const other = sqlite3_vfs_find(nullptr);
  static sqlite3_vfs vfs{};
  vfs.iVersion = 1;
  vfs.szOsFile = static_cast<int>(sizeof(OpenOverlayFile));
  vfs.mxPathname = 64;
  vfs.zName = Overlay::kVfsName;
  vfs.xOpen = OverlayOpenFile;
  vfs.xDelete = OverlayDeleteFile;
  vfs.xAccess = OverlayAccessFile;
  vfs.xFullPathname = OverlayFullPath;
  vfs.xRandomness = other->xRandomness;
  vfs.xSleep = other->xSleep;
  vfs.xCurrentTime = other->xCurrentTime;
  vfs.xGetLastError = OverlayLastError;
  (void)sqlite3_vfs_register(&vfs, 0);
}

uint64_t AddOverlay(Overlay* overlay) {
  static const bool once = (RegisterOverlayVfs(), true);
  (void)once;
  OverlayTable& table = AllOverlays();
  MutexLock lock(table.mu);
  table.overlays[++table.next] = overlay;
  return table.next;
}

}  // namespace

Overlay::Overlay(NodeDirectory& node) : node_(node), number_(AddOverlay(this)) {}

Overlay::~Overlay() {
  OverlayTable& table = AllOverlays();
  MutexLock lock(table.mu);
  table.overlays.erase(number_);
}

std::string Overlay::path() const { return StrCat(kPrefix, number_, "/", kDatabaseName); }

Result<std::shared_ptr<OverlayFile>> Overlay::Find(const std::string& name) {
  const auto known = files_.find(name);
  if (known != files_.end()) return known->second;
  Result<std::unique_ptr<NodeFile>> file = node_.Open(name, OpenMode::kReadOnly);
  if (!file.ok() && file.error().code == Errc::kNotFound) return std::shared_ptr<OverlayFile>();
  if (!file.ok()) return file.error();
  ASSIGN_OR_RETURN(const uint64_t size_bytes, file.value()->Size());
  // shared_ptr: SQLite may close a file and open it again, and must find what it wrote.
  auto found = std::make_shared<OverlayFile>(std::move(file.value()), size_bytes);
  files_[name] = found;
  return found;
}

std::shared_ptr<OverlayFile> Overlay::Make(const std::string& name) {
  return files_[name] = std::make_shared<OverlayFile>(nullptr, 0);
}

void Overlay::Remove(const std::string& name) { files_[name] = nullptr; }

}  // namespace volfs::catalog
