#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <optional>

namespace volfs::catalog {

// How a commit that fails is told apart (rule 2.5 of the order of writes):
//   - refused (kExists, kInvalid): by a constraint, before COMMIT. As pages never spill, nothing of
//     it was written. Rolled back; nothing happened.
//   - no room (kNoSpace, kQuota): a write of COMMIT into the WAL failed. What was written of it
//   must
//     never be taken for a commit by a recovery: if the file were extended, it would be cut off,
//     but where the WAL is used again there are old bytes, which may be what would have been
//     written; and SQLite may have failed after the last frame. So the WAL is read as a recovery
//     would (a transaction is a chain of frames with a checksum over all of them, and counts only
//     as a whole). If the transaction is whole, its first frame is overwritten by another, the
//     "seal": a transaction of one page that was never written before. If that fails: outcome
//     unknown. Otherwise nothing happened, and it is tried again: first after a checkpoint, with
//     the WAL from its beginning, then with one piece of the ballast after the other given away, as
//     far as its Room allows.
//   - anything else: outcome unknown; fenced.

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
