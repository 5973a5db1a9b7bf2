#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <optional>

namespace volfs::catalog {

// What a recovery would make of a WAL's file as it is now (SQLite, "WAL-mode File Format").
struct WalState {
  uint64_t salts = 0;   // both; new ones whenever the WAL is begun anew
  uint64_t frames = 0;  // up to the end of the last transaction that is whole
};

// Reads all of it. Nothing if it cannot be read. An empty or unusable WAL has no frames.
std::optional<WalState> ReadWal(sqlite3_file* wal);

// Only the salts.
std::optional<uint64_t> ReadWalSalts(sqlite3_file* wal);

}  // namespace volfs::catalog
