#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <optional>

namespace volfs::catalog {

// How a failed commit is classified (rule 2.5 of the order of writes):
//   - refused (kExists, kInvalid): by a constraint, before COMMIT. As pages never spill, nothing of
//     it was written. It is rolled back; nothing happened.
//   - no room (kNoSpace, kQuota): a write of COMMIT into the WAL failed. A recovery must never take
//     the written part for a commit. An extended file would be cut off, but where the WAL is used
//     again there are old bytes, which may equal the bytes that would have been written, and SQLite
//     may have failed after the last frame. So the WAL is read as a recovery would read it (a
//     transaction is a chain of frames with a checksum over all of them, and counts only as a
//     whole). If the transaction is whole, its first frame is overwritten by another, the "seal": a
//     transaction of one page that was never written before. If that fails, the outcome is unknown.
//     Otherwise nothing happened, and the commit is tried again: first after a checkpoint, with the
//     WAL from its beginning, then with one piece of the ballast after the other given away, as far
//     as its Room allows.
//   - anything else: outcome unknown; fenced.

// The result that a recovery would get from a WAL's file as it is now (SQLite, "WAL-mode File
// Format").
struct WalState {
  uint64_t salts = 0;   // both; new ones whenever the WAL is begun anew
  uint64_t frames = 0;  // up to the end of the last transaction that is whole
  // Bits of the log have changed since they were synced: a recovery would take the transactions
  // from there on for never committed, and report nothing. They are found by their successors. A
  // transaction begins only when the one before it is durable, so if a frame does not fit, but a
  // frame after a later transaction's end does, no power loss has done that. (Damage in the last
  // transaction looks as if that had never been synced.)
  bool damaged = false;
};

inline constexpr uint64_t kWalFrameHeaderBytes = 24;

// Reads all of it. Nothing if it cannot be read. An empty or unusable WAL has no frames.
std::optional<WalState> ReadWal(sqlite3_file* wal);

// Only the salts.
std::optional<uint64_t> ReadWalSalts(sqlite3_file* wal);

}  // namespace volfs::catalog
