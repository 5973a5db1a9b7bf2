#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <optional>

namespace volfs::catalog {

// What a recovery would make of a WAL's file as it is now (SQLite, "WAL-mode File Format").
struct WalState {
  uint64_t salts = 0;   // both; new ones whenever the WAL is begun anew
  uint64_t frames = 0;  // up to the end of the last transaction that is whole
  // Bits of it have changed since they were synced: a recovery would take the transactions from
  // there on for never committed, and say nothing. Found by what was built on them: a transaction
  // begins only when the one before it is durable, so where a frame does not fit, but a frame after
  // a later transaction's end does, no power loss has done that. (Of the last transaction damage
  // looks as if it had never been synced.)
  bool damaged = false;
};

inline constexpr uint64_t kWalFrameHeaderBytes = 24;

// Reads all of it. Nothing if it cannot be read. An empty or unusable WAL has no frames.
std::optional<WalState> ReadWal(sqlite3_file* wal);

// Only the salts.
std::optional<uint64_t> ReadWalSalts(sqlite3_file* wal);

}  // namespace volfs::catalog
