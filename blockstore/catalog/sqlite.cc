#include "blockstore/catalog/sqlite.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <utility>

#include "blockstore/base/memory.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/format.h"
#include "blockstore/io/node_directory.h"
#include "blockstore/io/posix_node.h"

namespace volfs::catalog {
namespace {

sqlite3_mem_methods allocator{};  // SQLite's own

void* Allocate(int bytes) {
  for (;;) {
    void* const memory = allocator.xMalloc(bytes);
    if (memory != nullptr || !AwaitMemory()) return memory;
  }
}

void* Reallocate(void* old, int bytes) {
  for (;;) {
    void* const memory = allocator.xRealloc(old, bytes);
    if (memory != nullptr || !AwaitMemory()) return memory;
  }
}

// A COMMIT that SQLite gives up for want of memory would fence the node. Only before SQLite's first
// use in the process; after it this does nothing.
bool WaitForMemory() {
  if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &allocator) != SQLITE_OK) return false;
  sqlite3_mem_methods waiting = allocator;
  waiting.xMalloc = Allocate;
  waiting.xRealloc = Reallocate;
  return sqlite3_config(SQLITE_CONFIG_MALLOC, &waiting) == SQLITE_OK;
}

// After a failed sync of an earlier mount the page cache may show frames of the WAL that are not on
// disk. Taken for real they would be built on, and a power loss would cut off all that follows
// them. So they are forgotten, before SQLite has a descriptor of these files: closing one of ours
// later would drop its locks.
void ForgetCache(NodeDirectory& directory) {
  for (const char* name : {kDatabaseName, kWalName}) {
    const auto file = directory.Open(name, OpenMode::kReadOnly);
    if (!file.ok()) continue;  // SQLite meets the same error, and tells it
    const Result<uint64_t> size_bytes = file.value()->Size();
    if (size_bytes.ok()) file.value()->DropCache({0, size_bytes.value()});
  }
}

}  // namespace

Connection::Connection(std::string where) : where_(std::move(where)) {}

Result<std::unique_ptr<Connection>> Connection::Open(NodeDirectory& directory, Mode mode) {
  [[maybe_unused]] static const bool waits = WaitForMemory();
  std::unique_ptr<Connection> connection(
      new Connection(StrCat("catalog of node directory ", directory.display_path())));
  if (mode == Mode::kOpenExisting) ForgetCache(directory);
  RETURN_IF_ERROR(connection->OpenDatabase(directory, mode));
  RETURN_IF_ERROR(connection->Configure());
  return connection;
}

Status Connection::OpenDatabase(NodeDirectory& directory, Mode mode) {
  const std::string path = directory.catalog_path();
  sqlite3_vfs* vfs = sqlite3_vfs_find(directory.sqlite_vfs());
  assert(vfs != nullptr);
  if (mode == Mode::kOpenExisting) {
    // Asked first because SQLite's own answer is the same for "missing" and "may not".
    int exists = 0;
    if (vfs->xAccess(vfs, path.c_str(), SQLITE_ACCESS_EXISTS, &exists) != SQLITE_OK) {
      return Error{Errc::kIo, StrCat(where_, ": looking for the database failed")};
    }
    if (exists == 0) return Error{Errc::kNotFound, StrCat(where_, ": there is none")};
  }
  int flags =
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_NOFOLLOW;
  if (mode == Mode::kMakeIfMissing) flags |= SQLITE_OPEN_CREATE;
  const int code = sqlite3_open_v2(path.c_str(), &db_, flags, directory.sqlite_vfs());
  if (code != SQLITE_OK) return LastError(code, "open");
  if (sqlite3_db_readonly(db_, "main") != 0) {
    return Error{Errc::kReadOnly, StrCat(where_, ": it may not be written to")};
  }
  return OkStatus();
}

Status Connection::Configure() {
  // The database is data, not a program: code planted in its schema never runs.
  (void)sqlite3_db_config(db_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  (void)sqlite3_db_config(db_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  (void)sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  (void)sqlite3_db_config(db_, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  (void)sqlite3_db_config(db_, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  int keep_wal = 1;
  (void)sqlite3_file_control(db_, "main", SQLITE_FCNTL_PERSIST_WAL, &keep_wal);
  // Before the first read: from then on the lock is held and the WAL's index is in memory.
  RETURN_IF_ERROR(Execute("PRAGMA locking_mode = EXCLUSIVE"));
  RETURN_IF_ERROR(
      Execute("PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;"
              "PRAGMA cache_spill = OFF; PRAGMA cell_size_check = ON;"
              "PRAGMA cache_size = -8192; PRAGMA journal_size_limit = -1"));
  if (Sabotaged(Sabotage::kCatalogNotSynced))
    RETURN_IF_ERROR(Execute("PRAGMA synchronous = NORMAL"));
  // Means something only while the database is empty.
  RETURN_IF_ERROR(Execute(StrCat("PRAGMA page_size = ", kPageBytes).c_str()));
  // A checkpoint cuts the file to a multiple of this, so the room for spare pages stays.
  int step = static_cast<int>(kDatabaseStepBytes);
  (void)sqlite3_file_control(db_, "main", SQLITE_FCNTL_CHUNK_SIZE, &step);
  // A hook of our own also takes the place of SQLite's automatic checkpoints.
  sqlite3_wal_hook(
      db_,
      [](void* self, sqlite3*, const char*, int frames) {
        const bool fine = static_cast<Connection*>(self)->NoteCommit(static_cast<uint64_t>(frames));
        return fine ? SQLITE_OK : SQLITE_IOERR;
      },
      this);
  return OkStatus();
}

Connection::~Connection() {
  if (db_ == nullptr) return;
  page_count_.reset();
  [[maybe_unused]] const int code = sqlite3_close(db_);
  assert(code == SQLITE_OK);  // else a Statement outlived its connection
}

Status Connection::Execute(const char* sql) {
  const int code = sqlite3_exec(db_, sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return LastError(code, sql);
  return OkStatus();
}

Result<int64_t> Connection::QueryInteger(const char* sql) {
  Statement statement(*this, sql);
  Query query(statement);
  ASSIGN_OR_RETURN(const bool found, query.Next());
  return found ? query.IntegerAt(0) : int64_t{0};
}

Error Connection::LastError(int code, std::string_view what) const {
  const int os_errno = db_ == nullptr ? 0 : sqlite3_system_errno(db_);
  Error error{Errc::kIo, StrCat(where_, ": ", what, ": ",
                                db_ == nullptr ? sqlite3_errstr(code) : sqlite3_errmsg(db_),
                                " (SQLite code ", code, ")")};
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
      error.code = code == SQLITE_CONSTRAINT_UNIQUE ? Errc::kExists : Errc::kInvalid;
      return error;
    case SQLITE_TOOBIG:
      error.code = Errc::kInvalid;
      return error;
    case SQLITE_NOMEM:
      error.code = Errc::kNoMemory;
      return error;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      error.code = Errc::kLocked;
      return error;
    case SQLITE_FULL:
      error.code = Errc::kNoSpace;
      break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      error.code = Errc::kCorrupt;
      return error;
    case SQLITE_READONLY:
      error.code = Errc::kReadOnly;
      break;
    case SQLITE_IOERR:
      // SQLite knows ENOSPC, but takes a full quota for a broken disk.
      // And so it does for a limit on the size of files, which is one on the room, too.
      if (code == SQLITE_IOERR_WRITE && os_errno == EFBIG) error.code = Errc::kNoSpace;
      if (code == SQLITE_IOERR_WRITE && ErrcFromErrno(os_errno) == Errc::kQuota) {
        error.code = Errc::kQuota;
      }
      break;
    default:
      break;
  }
  error.os_errno = os_errno;
  return error;
}

Error Connection::Corrupt(std::string_view what) const {
  return Error{Errc::kCorrupt, StrCat(where_, ": ", what)};
}

Status Connection::UseWal() {
  Statement statement(*this, "PRAGMA journal_mode = WAL");
  Query query(statement);
  ASSIGN_OR_RETURN(const bool answered, query.Next());
  if (answered && query.TextAt(0) == "wal") return OkStatus();
  return Error{Errc::kIo, StrCat(where_, ": SQLite cannot use a WAL here")};
}

Status Connection::Checkpoint() {
  int frames = 0;
  int moved = 0;
  const int code =
      sqlite3_wal_checkpoint_v2(db_, "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &moved);
  if (code != SQLITE_OK) return LastError(code, "checkpoint");
  wal_begins_anew_ = true;
  wal_is_moved_ = frames == moved;
  if (wal_is_moved_) wal_bytes_ = 0;
  database_bytes_ = 0;  // SQLite has cut the file
  (void)MakeRoom(0);
  return OkStatus();
}

// The header first, and synced: of a log that was cut, but has its header, a recovery would read
// the older transactions only, and lay their pages over the newer ones of the database.
void Connection::EmptyWal() {
  sqlite3_file* const wal = WalFile();
  if (wal == nullptr || !wal_is_moved_) return;
  const std::array<uint8_t, 32> zeros{};
  if (wal->pMethods->xWrite(wal, zeros.data(), zeros.size(), 0) != SQLITE_OK) return;
  wal_is_empty_ = true;
  const bool syncs = !Sabotaged(Sabotage::kLogCutUnsynced);
  if (syncs && wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL) != SQLITE_OK) return;
  if (WalFileBytes() > kLogKeptBytes) {
    (void)wal->pMethods->xTruncate(wal, static_cast<sqlite3_int64>(kLogKeptBytes));
  }
}

uint64_t Connection::WalFileBytes() const {
  sqlite3_file* const wal = WalFile();
  sqlite3_int64 bytes = 0;
  if (wal == nullptr || wal->pMethods->xFileSize(wal, &bytes) != SQLITE_OK) return 0;
  return static_cast<uint64_t>(bytes);
}

void Connection::ReserveWal() {
  sqlite3_file* const wal = WalFile();
  const uint64_t bytes = WalFileBytes();
  if (wal != nullptr && bytes < kLogKeptBytes) (void)WriteZeros(wal, bytes, kLogKeptBytes);
}

// A transaction that is not written yet has its pages in memory, so the bytes behind the end of the
// file are unused. SQLite believes the page count in the database's header, not the file's size.
Status Connection::MakeRoom(uint64_t min_spare) {
  if (page_count_ == nullptr) {
    page_count_ = std::make_unique<Statement>(*this, "PRAGMA page_count");
  }
  Query query(*page_count_);
  ASSIGN_OR_RETURN(const bool found, query.Next());
  const uint64_t needed = (found ? static_cast<uint64_t>(query.IntegerAt(0)) : 0) * kPageBytes;
  const uint64_t wanted = needed + kSparePages * kPageBytes;
  if (database_bytes_ >= wanted) return OkStatus();
  const Status extended = ExtendDatabase(wanted);
  const bool will_do = database_bytes_ >= needed + min_spare * kPageBytes;
  if (!extended.ok() && extended.error().code != Errc::kIo && will_do) return OkStatus();
  return extended;
}

Status Connection::ExtendDatabase(uint64_t bytes) {
  sqlite3_file* file = nullptr;
  sqlite3_int64 now = 0;
  if (sqlite3_file_control(db_, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
      file == nullptr || file->pMethods == nullptr ||
      file->pMethods->xFileSize(file, &now) != SQLITE_OK) {
    return Error{Errc::kIo, StrCat(where_, ": its size cannot be asked")};
  }
  database_bytes_ = static_cast<uint64_t>(now);
  if (database_bytes_ >= bytes) return OkStatus();
  const uint64_t end = (bytes + kDatabaseStepBytes - 1) / kDatabaseStepBytes * kDatabaseStepBytes;
  RETURN_IF_ERROR(WriteZeros(file, database_bytes_, end));
  database_bytes_ = end;
  return OkStatus();
}

Status Connection::WriteZeros(sqlite3_file* file, uint64_t from, uint64_t to) const {
  static constexpr std::array<uint8_t, kDatabaseStepBytes> kZeros{};
  while (from < to) {
    const uint64_t part = std::min<uint64_t>(kZeros.size(), to - from);
    const int code = file->pMethods->xWrite(file, kZeros.data(), static_cast<int>(part),
                                            static_cast<sqlite3_int64>(from));
    if (code != SQLITE_OK) {
      Error error{Errc::kIo, StrCat(where_, ": making it longer: ", sqlite3_errstr(code))};
      // Only SQLite's own calls leave their errno with the connection.
      sqlite3_vfs* vfs = nullptr;
      (void)sqlite3_file_control(db_, "main", SQLITE_FCNTL_VFS_POINTER, &vfs);
      if (vfs != nullptr) error.os_errno = vfs->xGetLastError(vfs, 0, nullptr);
      if (code == SQLITE_FULL) {
        error.code = Errc::kNoSpace;
      } else if (ErrcFromErrno(error.os_errno) == Errc::kQuota) {
        error.code = Errc::kQuota;
      }
      return error;
    }
    from += part;
  }
  return OkStatus();
}

sqlite3_file* Connection::WalFile() const {
  sqlite3_file* wal = nullptr;
  const int code = sqlite3_file_control(db_, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal);
  return code == SQLITE_OK && wal != nullptr && wal->pMethods != nullptr ? wal : nullptr;
}

// Commits that a killed mount has written, but not synced, are read from the page cache. They must
// be on disk before anything follows them, or a power loss could keep the follower alone.
Status Connection::SyncWal() {
  sqlite3_file* const wal = WalFile();
  if (wal == nullptr || !wal_ || wal_->frames == 0) return OkStatus();
  if (wal->pMethods->xSync(wal, SQLITE_SYNC_NORMAL) == SQLITE_OK) return OkStatus();
  return Error{Errc::kIo, StrCat(where_, ": syncing its log failed")};
}

Status Connection::CheckFiles() {
  if (sqlite3_db_readonly(db_, "main") != 0) {
    return Corrupt("its header says that it may only be read; restore the node from a backup");
  }
  NoteWal();
  if (!wal_ || !wal_->damaged) return SyncWal();
  return Corrupt(StrCat("its log (catalog.db-wal) is damaged after frame ", wal_->frames,
                        ": commits after it cannot be read; restore the node from a backup, "
                        "or look at both files with sqlite3 on a copy"));
}

void Connection::NoteWal() {
  if (wal_) return;
  if (sqlite3_file* wal = WalFile()) wal_ = ReadWal(wal);
  if (wal_) wal_bytes_ = wal_->frames * (kPageBytes + kWalFrameHeaderBytes);
  // An empty one gets its salts with the next commit.
  if (wal_ && wal_->frames == 0) wal_begins_anew_ = true;
}

bool Connection::NoteCommit(uint64_t frames) {
  wal_is_moved_ = false;
  wal_bytes_ = frames * (kPageBytes + kWalFrameHeaderBytes);
  const bool was_empty = std::exchange(wal_is_empty_, false);
  if (!wal_) return true;
  wal_->frames = frames;
  if (!std::exchange(wal_begins_anew_, false)) return true;
  sqlite3_file* wal = WalFile();
  const std::optional<uint64_t> salts = wal == nullptr ? std::nullopt : ReadWalSalts(wal);
  if (salts) {
    wal_->salts = *salts;
  } else {
    wal_.reset();
  }
  // SQLite begins a log anew that is in the database; had it not, this commit would be behind a
  // header of zeros, where no recovery finds it.
  return !was_empty || !salts || *salts != 0;
}

// It reads the bytes that a recovery would read. A power loss can only take written bytes back, so
// bytes that are not those the commit needs will not be so after it either.
bool Connection::FailedCommitIsTorn() const {
  sqlite3_file* wal = WalFile();
  if (!wal_ || wal == nullptr) return false;
  const std::optional<WalState> now = ReadWal(wal);
  if (!now) return false;
  return now->frames <= (now->salts == wal_->salts ? wal_->frames : 0);
}

Query::Query(Statement& statement) : statement_(statement) {
  if (statement.prepared_ != nullptr) return;
  const std::string& sql = statement.sql_;
  Note(sqlite3_prepare_v3(statement.connection_.handle(), sql.c_str(),
                          static_cast<int>(sql.size() + 1), SQLITE_PREPARE_PERSISTENT,
                          &statement.prepared_, nullptr));
}

Query::~Query() { (void)sqlite3_reset(statement_.prepared_); }

Query& Query::Integer(int64_t value) {
  Note(sqlite3_bind_int64(statement_.prepared_, next_parameter_++, value));
  return *this;
}

// A null pointer would be bound as NULL; an empty view may have one.
Query& Query::Text(std::string_view value) {
  Note(sqlite3_bind_text64(statement_.prepared_, next_parameter_++,
                           value.empty() ? "" : value.data(), value.size(), SQLITE_STATIC,
                           SQLITE_UTF8));
  return *this;
}

Query& Query::Bytes(std::span<const uint8_t> value) {
  const void* data = value.empty() ? static_cast<const void*>("") : value.data();
  Note(sqlite3_bind_blob64(statement_.prepared_, next_parameter_++, data, value.size(),
                           SQLITE_STATIC));
  return *this;
}

Result<bool> Query::Next() {
  const int code = code_ == SQLITE_OK ? sqlite3_step(statement_.prepared_) : code_;
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  // The statement's beginning names the verb and the table.
  return statement_.connection_.LastError(code, statement_.sql_.substr(0, 40));
}

Status Query::Run() {
  ASSIGN_OR_RETURN([[maybe_unused]] const bool row, Next());
  assert(!row);
  return OkStatus();
}

bool Query::IsInteger(int column) const {
  return sqlite3_column_type(statement_.prepared_, column) == SQLITE_INTEGER;
}

bool Query::IsText(int column) const {
  return sqlite3_column_type(statement_.prepared_, column) == SQLITE_TEXT;
}

bool Query::IsBytes(int column) const {
  return sqlite3_column_type(statement_.prepared_, column) == SQLITE_BLOB;
}

int64_t Query::IntegerAt(int column) const {
  return sqlite3_column_int64(statement_.prepared_, column);
}

std::string_view Query::TextAt(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_.prepared_, column);
  const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_.prepared_, column));
  return text == nullptr ? std::string_view()
                         : std::string_view(reinterpret_cast<const char*>(text), size);
}

std::span<const uint8_t> Query::BytesAt(int column) const {
  const auto* bytes =
      static_cast<const uint8_t*>(sqlite3_column_blob(statement_.prepared_, column));
  const auto size = static_cast<size_t>(sqlite3_column_bytes(statement_.prepared_, column));
  return bytes == nullptr ? std::span<const uint8_t>() : std::span(bytes, size);
}

}  // namespace volfs::catalog
