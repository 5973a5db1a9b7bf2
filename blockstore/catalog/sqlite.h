#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "blockstore/base/error.h"
#include "blockstore/base/sabotage.h"
#include "blockstore/base/str_cat.h"
#include "blockstore/catalog/wal.h"

namespace volfs {
class NodeDirectory;
}

// The catalog's interface to SQLite, with our errors in the place of its result codes.
namespace volfs::catalog {

class Statement;

// One connection to a node's database. No other connection can use the database while it is open.
//
// Invariants:
//   Q1  WAL, synchronous=FULL, exclusive: SQLite holds the file's lock from the first read on and
//       keeps the index of the WAL in memory (no shared-memory file);
//   Q2  nothing is written to the WAL but by COMMIT: pages never spill before;
//   Q3  the WAL is checkpointed only by Checkpoint(), and stays when the connection is closed;
//   Q4  after MakeRoom and Commit the database's file has real room for all of its pages, so that
//       no checkpoint needs any (on a filesystem that overwrites in place).
//
// Thread-safety: none; the catalog's connection lock covers it and every Statement of it.
class Connection {
 public:
  enum class Mode { kOpenExisting, kMakeIfMissing };
  // kNotFound, kLocked (another process or Connection has it), kReadOnly, kCorrupt, kIo.
  static Result<std::unique_ptr<Connection>> Open(NodeDirectory& directory, Mode mode);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Status Execute(const char* sql);
  Result<int64_t> QueryInteger(const char* sql);

  // Returns SQLite's last error as an Error. kExists: a unique name is taken. kInvalid: another
  // constraint. kNoSpace, kQuota: a write found no room. kCorrupt: SQLite found damage.
  [[nodiscard]] Error LastError(int code, std::string_view what) const;
  [[nodiscard]] Error Corrupt(std::string_view what) const;

  // Switches to the WAL (Q1) where it is not in use yet. After the format was checked, as it
  // writes.
  Status UseWal();
  Status Checkpoint();

  // If Checkpoint has moved all: makes the log's header zeros, so that the next mount need not read
  // the log and bits of it that change at rest mean nothing, and frees the log's file beyond
  // kLogKeptBytes. Cost: one sync.
  void EmptyWal();
  [[nodiscard]] uint64_t wal_bytes() const {  // that are in use
    return Sabotaged(Sabotage::kLogUnbounded) ? 0 : wal_bytes_;
  }
  [[nodiscard]] uint64_t WalFileBytes() const;
  // The log's file has kLogKeptBytes at least, if there is room.
  void ReserveWal();

  // In a transaction before its Commit, or without one: gives the database's file room for its
  // pages and kSparePages more. kNoSpace, kQuota: there is none for the pages and `min_spare` of
  // these. Cost: one statement; rarely a write of zeros at the file's end.
  Status MakeRoom(uint64_t min_spare);

  // Remembers where the WAL ends. Before the first transaction.
  void NoteWal();
  // kCorrupt if the database's header says that it may only be read (ours never does), or if bits
  // of the WAL have changed at rest. Else the WAL is durable when it returns. After the first read,
  // before anything is written.
  Status CheckFiles();
  // True if it is certain that no recovery can take anything of a COMMIT that has just failed, and
  // was rolled back, for a transaction.
  [[nodiscard]] bool FailedCommitIsTorn() const;

  [[nodiscard]] sqlite3* handle() const { return db_; }
  [[nodiscard]] const std::string& where() const { return where_; }

 private:
  explicit Connection(std::string where);
  Status OpenDatabase(NodeDirectory& directory, Mode mode);
  Status Configure();
  [[nodiscard]] bool NoteCommit(uint64_t frames);  // false: the log is not as it must be
  Status SyncWal();
  Status ExtendDatabase(uint64_t bytes);
  Status WriteZeros(sqlite3_file* file, uint64_t from, uint64_t to) const;
  [[nodiscard]] sqlite3_file* WalFile() const;  // null: there is none yet

  const std::string where_;  // "catalog of node directory /x"
  sqlite3* db_ = nullptr;
  std::optional<WalState> wal_;   // as the last successful commit left it; nothing: not known
  bool wal_begins_anew_ = false;  // with the next commit
  bool wal_is_moved_ = false;     // all of it is in the database
  bool wal_is_empty_ = false;     // EmptyWal was the last that wrote to it
  uint64_t wal_bytes_ = 0;
  uint64_t database_bytes_ = 0;  // of its file; 0: to be asked
  std::unique_ptr<Statement> page_count_;
};

// A statement that is prepared at its first use and then kept. Use it through Query.
class Statement {
 public:
  Statement(Connection& connection, std::string sql)
      : connection_(connection), sql_(std::move(sql)) {}
  ~Statement() { sqlite3_finalize(prepared_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

 private:
  friend class Query;
  Connection& connection_;
  const std::string sql_;
  sqlite3_stmt* prepared_ = nullptr;
};

// One execution of a Statement: bind every parameter in order, then Run() or Next() until false.
// Bound text and bytes must live until the Query ends. The bytes of a column live until the next
// call.
class Query {
 public:
  explicit Query(Statement& statement);
  ~Query();
  Query(const Query&) = delete;
  Query& operator=(const Query&) = delete;

  Query& Integer(int64_t value);
  Query& Integer(uint64_t value) { return Integer(static_cast<int64_t>(value)); }
  Query& Text(std::string_view value);
  Query& Bytes(std::span<const uint8_t> value);

  Status Run();         // a statement without rows
  Result<bool> Next();  // true: at a row

  [[nodiscard]] bool IsInteger(int column) const;
  [[nodiscard]] bool IsText(int column) const;
  [[nodiscard]] bool IsBytes(int column) const;
  [[nodiscard]] int64_t IntegerAt(int column) const;
  [[nodiscard]] std::string_view TextAt(int column) const;
  [[nodiscard]] std::span<const uint8_t> BytesAt(int column) const;

 private:
  void Note(int code) {
    if (code_ == SQLITE_OK) code_ = code;
  }
  Statement& statement_;
  int next_parameter_ = 1;
  int code_ = SQLITE_OK;  // the first failure of preparing or binding
};

}  // namespace volfs::catalog
