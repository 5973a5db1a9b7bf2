#include "tests/sim/vfs.h"

#include <sqlite3.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "tests/sim/machine.h"

namespace volfs::sim {
namespace {

Machine* machine = nullptr;
Random salts(0);

struct VfsFile {
  sqlite3_file base;
  int disk;
  int step_bytes;    // a cut leaves a multiple of it; 0: any size
  bool name_is_new;  // of a journal or WAL that this open made: synced with its first sync
  // Behind a pointer, because SQLite allocates these bytes and calls no constructors.
  struct Body {
    std::string name;
    std::shared_ptr<DiskFile> file;
  } * body;
};

VfsFile* Self(sqlite3_file* file) { return reinterpret_cast<VfsFile*>(file); }

Machine::Verdict Before(sqlite3_file* file, Call call, uint64_t offset, uint64_t length) {
  return machine->BeforeCall(Self(file)->disk, call, Self(file)->body->name, offset, length);
}

int CodeOf(Machine::Verdict verdict, int io_error) {
  return verdict == Machine::Verdict::kIo ? io_error : SQLITE_FULL;
}

int Close(sqlite3_file* file) {
  delete Self(file)->body;
  Self(file)->body = nullptr;
  return SQLITE_OK;
}

int Read(sqlite3_file* file, void* out, int length, sqlite3_int64 offset) {
  const auto verdict =
      Before(file, Call::kRead, static_cast<uint64_t>(offset), static_cast<uint64_t>(length));
  if (verdict != Machine::Verdict::kGoOn) return SQLITE_IOERR_READ;
  const auto& bytes = Self(file)->body->file->now().bytes;
  const auto size = static_cast<sqlite3_int64>(bytes.size());
  const sqlite3_int64 there = offset >= size ? 0 : std::min<sqlite3_int64>(length, size - offset);
  if (there > 0) std::memcpy(out, bytes.data() + offset, static_cast<size_t>(there));
  if (there == length) return SQLITE_OK;
  std::memset(static_cast<char*>(out) + there, 0, static_cast<size_t>(length - there));
  return SQLITE_IOERR_SHORT_READ;
}

int Write(sqlite3_file* file, const void* data, int length, sqlite3_int64 offset) {
  const auto verdict =
      Before(file, Call::kWrite, static_cast<uint64_t>(offset), static_cast<uint64_t>(length));
  const std::span bytes(static_cast<const std::byte*>(data), static_cast<size_t>(length));
  Disk& disk = machine->disk(Self(file)->disk);
  if (verdict == Machine::Verdict::kHalf) {
    Self(file)->body->file->Write(disk.NextSeq(), static_cast<uint64_t>(offset),
                                  bytes.first(HalfOf(static_cast<uint64_t>(offset), bytes.size())));
  }
  if (verdict != Machine::Verdict::kGoOn) return CodeOf(verdict, SQLITE_IOERR_WRITE);
  if (!disk.Fits(*Self(file)->body->file, static_cast<uint64_t>(offset), bytes.size())) {
    return SQLITE_FULL;
  }
  Self(file)->body->file->Write(disk.NextSeq(), static_cast<uint64_t>(offset), bytes);
  return SQLITE_OK;
}

int Truncate(sqlite3_file* file, sqlite3_int64 size) {
  const auto verdict = Before(file, Call::kSetSize, static_cast<uint64_t>(size), 0);
  if (verdict != Machine::Verdict::kGoOn) return SQLITE_IOERR_TRUNCATE;
  // As in the stock VFS, a longer file keeps its length.
  if (const sqlite3_int64 step = Self(file)->step_bytes; step > 0) {
    size = (size + step - 1) / step * step;
    const auto now = static_cast<sqlite3_int64>(Self(file)->body->file->now().bytes.size());
    if (size > now) size = now;
  }
  Self(file)->body->file->SetSize(machine->disk(Self(file)->disk).NextSeq(),
                                  static_cast<uint64_t>(size));
  return SQLITE_OK;
}

int Sync(sqlite3_file* file, int) {
  VfsFile* const self = Self(file);
  const auto verdict = Before(file, Call::kSync, 0, 0);
  Disk& disk = machine->disk(self->disk);
  if (verdict != Machine::Verdict::kGoOn) {
    if (disk.powered()) self->body->file->LosePending(machine->random());
    return SQLITE_IOERR_FSYNC;
  }
  disk.SyncFile(*self->body->file);
  if (self->name_is_new) {
    if (Before(file, Call::kSyncNames, 0, 0) != Machine::Verdict::kGoOn) {
      return SQLITE_IOERR_DIR_FSYNC;
    }
    disk.SyncName(self->body->name);
    self->name_is_new = false;
  }
  return SQLITE_OK;
}

int FileSize(sqlite3_file* file, sqlite3_int64* size) {
  if (Before(file, Call::kLook, 0, 0) != Machine::Verdict::kGoOn) return SQLITE_IOERR_FSTAT;
  *size = static_cast<sqlite3_int64>(Self(file)->body->file->now().bytes.size());
  return SQLITE_OK;
}

// Two stores never run on one simulated node, so locks always succeed.
int Lock(sqlite3_file*, int) { return SQLITE_OK; }
int CheckReservedLock(sqlite3_file*, int* reserved) {
  *reserved = 0;
  return SQLITE_OK;
}
int FileControl(sqlite3_file* file, int what, void* value) {
  if (what != SQLITE_FCNTL_CHUNK_SIZE) return SQLITE_NOTFOUND;
  Self(file)->step_bytes = *static_cast<int*>(value);
  return SQLITE_OK;
}
int SectorSize(sqlite3_file*) { return static_cast<int>(kSectorBytes); }
// As in the stock VFS: a torn write does not change the bytes beside it.
int DeviceCharacteristics(sqlite3_file*) { return SQLITE_IOCAP_POWERSAFE_OVERWRITE; }

// Version 1 has no shared memory: with an exclusive lock the WAL's index is on the heap.
const sqlite3_io_methods kMethods = {
    1,
    Close,
    Read,
    Write,
    Truncate,
    Sync,
    FileSize,
    Lock,
    Lock,
    CheckReservedLock,
    FileControl,
    SectorSize,
    DeviceCharacteristics,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

// In "/a/catalog.db-wal", the first part is the disk and the rest is the name on it.
int DiskOf(const char* path) { return path[1] - 'a'; }
std::string NameIn(const char* path) { return path + 3; }

int Open(sqlite3_vfs*, const char* path, sqlite3_file* file, int flags, int* out_flags) {
  file->pMethods = nullptr;
  if (path == nullptr) return SQLITE_CANTOPEN;  // temporary files are in memory
  const int disk = DiskOf(path);
  const std::string name = NameIn(path);
  std::shared_ptr<DiskFile> found = machine->disk(disk).Find(name);
  const bool make = found == nullptr;
  if (make && (flags & SQLITE_OPEN_CREATE) == 0) return SQLITE_CANTOPEN;
  if (machine->BeforeCall(disk, make ? Call::kOpen : Call::kLook, name, 0, 0) !=
      Machine::Verdict::kGoOn) {
    return SQLITE_CANTOPEN;
  }
  if (make) found = machine->disk(disk).Create(name);
  VfsFile* const self = Self(file);
  self->disk = disk;
  self->step_bytes = 0;
  self->name_is_new = make && (flags & SQLITE_OPEN_MAIN_DB) == 0;
  self->body = new VfsFile::Body{name, std::move(found)};
  file->pMethods = &kMethods;
  if (out_flags != nullptr) *out_flags = flags;
  return SQLITE_OK;
}

int Delete(sqlite3_vfs*, const char* path, int sync_names) {
  const int disk = DiskOf(path);
  const std::string name = NameIn(path);
  if (machine->BeforeCall(disk, Call::kRemove, name, 0, 0) != Machine::Verdict::kGoOn) {
    return SQLITE_IOERR_DELETE;
  }
  if (machine->disk(disk).Find(name) == nullptr) return SQLITE_IOERR_DELETE_NOENT;
  machine->disk(disk).Remove(name);
  if (sync_names == 0) return SQLITE_OK;
  if (machine->BeforeCall(disk, Call::kSyncNames, name, 0, 0) != Machine::Verdict::kGoOn) {
    return SQLITE_IOERR_DIR_FSYNC;
  }
  machine->disk(disk).SyncName(name);
  return SQLITE_OK;
}

int Access(sqlite3_vfs*, const char* path, int, int* there) {
  const int disk = DiskOf(path);
  const std::string name = NameIn(path);
  if (machine->BeforeCall(disk, Call::kLook, name, 0, 0) != Machine::Verdict::kGoOn) {
    return SQLITE_IOERR_ACCESS;
  }
  *there = machine->disk(disk).Find(name) != nullptr ? 1 : 0;
  return SQLITE_OK;
}

int FullPathname(sqlite3_vfs*, const char* path, int room, char* out) {
  std::snprintf(out, static_cast<size_t>(room), "%s", path);
  return SQLITE_OK;
}

int Randomness(sqlite3_vfs*, int length, char* out) {
  for (int i = 0; i < length; ++i) out[i] = static_cast<char>(salts.Next());
  return length;
}

int Sleep(sqlite3_vfs*, int microseconds) {
  machine->runtime().Sleep(std::chrono::microseconds(microseconds));
  return microseconds;
}

int CurrentTime(sqlite3_vfs*, double* julian_day) {
  *julian_day = 2460000.5;
  return SQLITE_OK;
}

int GetLastError(sqlite3_vfs*, int, char*) { return 0; }

}  // namespace

std::string CatalogPath(int disk) {
  return std::string("/") + static_cast<char>('a' + disk) + "/catalog.db";
}

void InstallVfs() {
  static sqlite3_vfs vfs = {
      1,           static_cast<int>(sizeof(VfsFile)),
      64,          nullptr,
      kVfsName,    nullptr,
      Open,        Delete,
      Access,      FullPathname,
      nullptr,     nullptr,
      nullptr,     nullptr,
      Randomness,  Sleep,
      CurrentTime, GetLastError,
      nullptr,     nullptr,
      nullptr,     nullptr,
  };
  if (sqlite3_config(SQLITE_CONFIG_SINGLETHREAD) != SQLITE_OK ||
      sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0) != SQLITE_OK ||
      sqlite3_initialize() != SQLITE_OK || sqlite3_vfs_register(&vfs, 1) != SQLITE_OK) {
    std::abort();
  }
}

void SetVfsMachine(Machine* now, unsigned long long seed) {
  machine = now;
  salts = Random(seed * 3 + 1);
  sqlite3_randomness(0, nullptr);
}

}  // namespace volfs::sim
